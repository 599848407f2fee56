"""Archives of people: index pictures, find a person again.

Public are the names in ``__all__``; the modules behind them are internal and may change. As in
``fdps`` itself, a name is imported from its module when it is first used: who only asks for a
calibration (:mod:`fdps.search.results.calibration`) need not load decoders and stores.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdps.search.index import Index
    from fdps.search.ingest.frames import Found, Frame, Skipped, find_pictures
    from fdps.search.ingest.ingest import IngestOptions, IngestSummary
    from fdps.search.ray.cluster import RayCluster
    from fdps.search.sqlite.store import SqliteStore
    from fdps.search.store import Appearance, ArchivedPerson, Filters, IndexInfo, SceneRecord, Store

__all__ = [
    "Appearance",
    "ArchivedPerson",
    "Filters",
    "Found",
    "Frame",
    "Index",
    "IndexInfo",
    "IngestOptions",
    "IngestSummary",
    "RayCluster",
    "SceneRecord",
    "Skipped",
    "SqliteStore",
    "Store",
    "find_pictures",
]

_HOME = {
    "Appearance": "store",
    "ArchivedPerson": "store",
    "Filters": "store",
    "Found": "ingest.frames",
    "Frame": "ingest.frames",
    "Index": "index",
    "IndexInfo": "store",
    "IngestOptions": "ingest.ingest",
    "IngestSummary": "ingest.ingest",
    "RayCluster": "ray.cluster",
    "SceneRecord": "store",
    "Skipped": "ingest.frames",
    "SqliteStore": "sqlite.store",
    "Store": "store",
    "find_pictures": "ingest.frames",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next access finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
