"""The model of an archive: the one given on the command line, else the one it remembers."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fdps.cli.progress import working
from fdps.errors import MissingDataError, ModelError

if TYPE_CHECKING:
    from fdps.query import Searcher
    from fdps.search import IndexInfo

MODEL_HELP = "Run folder, weights, card, or a name of fdps models list. [default: the archive's]"
MIN_SCORE_HELP = "Leave out detections of a lower score. [default: the recipe's]"
DEVICE_HELP = "Device to run on: cpu, cuda, cuda:1, mps or auto."


def remembered_as(model: Path) -> str:
    """Return the name of a model in an archive: its full path, or the name of bundled weights."""
    from fdps.embedders import find_model, is_bundled

    if is_bundled(model):
        return str(model)
    return str((model if model.exists() else find_model(model)).absolute())


def warn_of_limits(model_hash: str) -> None:
    """Say on stderr what bundled weights do not know, before anybody relies on what they find.

    Args:
        model_hash: Hash of the model in use; it also finds a copy of the weights at another place.
    """
    from fdps.bundled import NOTES, SHA256

    for name, sha256 in SHA256.items():
        if model_hash and sha256.startswith(model_hash):
            print(f"Warning {name} {NOTES[name]}", file=sys.stderr)


def load_model_of(
    archive: str,
    info: "IndexInfo",
    model: Path | None,
    *,
    min_score: float | None,
    device: str,
    quiet: bool = False,
) -> "Searcher":
    """Load the model that made an archive.

    Args:
        archive: The archive, for messages.
        info: Stamp of the archive.
        model: The model that the user gave; ``None`` for the place that the archive remembers.
        min_score: Detections below are dropped.
        device: Where to run.
        quiet: Show no sign of life while it is loaded.

    Raises:
        MissingDataError: The model is not where the archive remembers it.
        ArchiveError: ``model`` is not the one that made the archive.
        ModelError: The weights are refused.
    """
    from fdps.embedders import find_model, load
    from fdps.search.store import check_model

    if model is None and not info.model:
        raise ModelError(f"{archive} does not remember its model", hint="give it: --model RUN")
    if model is None and not find_model(info.model).exists():
        raise MissingDataError(
            f"the model of {archive} is no longer at {info.model}",
            hint="give the place where it is now: --model RUN",
        )
    with working(f"Loading {model or info.model}", hidden=quiet):
        searcher = load(model or info.model, min_score=min_score, device=device)
    check_model(info, searcher.model_hash, archive)
    return searcher
