"""Person search: find a person in uncropped scenes with one network.

Importing ``fdps`` is instant: apart from the errors, every name is imported from its module when
it is first used, so neither torch nor numpy is loaded before something needs it.

Example:
    >>> import fdps
    >>> fdps.UNLABELLED
    -1
"""

from importlib import import_module
from typing import TYPE_CHECKING

from fdps.errors import (
    AnnotationError,
    ArchiveError,
    ConfigError,
    DataError,
    DownloadError,
    FdpsError,
    MissingDataError,
    ModelError,
    PictureError,
    PredictionsError,
    ResourceError,
    TrainingDiverged,
    UsageError,
)

if TYPE_CHECKING:
    from fdps.analysis.scored import Evaluation, evaluate
    from fdps.data import load_scenes
    from fdps.embedders import load
    from fdps.evaluation import EvaluationReport
    from fdps.predictions import Predictions, load_predictions, save_predictions
    from fdps.search import Index
    from fdps.searcher import PersonSearcher
    from fdps.structures import UNLABELLED, Detections, Embedder, Hit, Query, Scene, SceneSet

__version__ = "0.1.0.dev0"

__all__ = [
    "UNLABELLED",
    "AnnotationError",
    "ArchiveError",
    "ConfigError",
    "DataError",
    "Detections",
    "DownloadError",
    "Embedder",
    "Evaluation",
    "EvaluationReport",
    "FdpsError",
    "Hit",
    "Index",
    "MissingDataError",
    "ModelError",
    "PersonSearcher",
    "PictureError",
    "Predictions",
    "PredictionsError",
    "Query",
    "ResourceError",
    "Scene",
    "SceneSet",
    "TrainingDiverged",
    "UsageError",
    "__version__",
    "evaluate",
    "load",
    "load_predictions",
    "load_scenes",
    "save_predictions",
]

_HOME = {
    "UNLABELLED": "fdps.structures",
    "Detections": "fdps.structures",
    "Embedder": "fdps.structures",
    "Evaluation": "fdps.analysis.scored",
    "EvaluationReport": "fdps.evaluation",
    "Hit": "fdps.structures",
    "Index": "fdps.search",
    "PersonSearcher": "fdps.searcher",
    "Predictions": "fdps.predictions",
    "Query": "fdps.structures",
    "Scene": "fdps.structures",
    "SceneSet": "fdps.structures",
    "evaluate": "fdps.analysis.scored",
    "load": "fdps.embedders",
    "load_predictions": "fdps.predictions",
    "load_scenes": "fdps.data",
    "save_predictions": "fdps.predictions",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'fdps' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # the next access finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
