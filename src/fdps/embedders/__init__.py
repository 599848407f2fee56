"""Where a path or a name becomes an embedder: our network, or a detector and a re-ID network."""

from pathlib import Path

from fdps.embedders.licences import check_licence, licence_of
from fdps.embedders.places import calibration_file, find_model, is_bundled, is_card, models_folder
from fdps.query import Searcher
from fdps.runtime.card import load_card
from fdps.searcher import load as load_network

__all__ = [
    "calibration_file",
    "check_licence",
    "find_model",
    "is_bundled",
    "is_card",
    "licence_of",
    "load",
    "models_folder",
]


def load(path: Path | str, *, min_score: float | None = None, device: str = "cpu") -> Searcher:
    """Load what finds and embeds people.

    Args:
        path: A run folder, a weights file, the card of a two-step embedder, or a name that
            ``fdps models list`` shows, such as ``drawn-people``.
        min_score: Detections below are dropped; the default is that of the recipe or card.
        device: Where to run, as torch names it.

    Raises:
        MissingDataError: There is no such model.
        ModelError: A file is not what it should be, or the licence is not among
            ``FDPS_ALLOWED_LICENSES``.
        UsageError: The model does not run on this device, or needs a package that is missing.
    """
    place = find_model(path)
    check_licence(licence_of(place), path)
    if is_card(place):
        return load_card(place, min_score=min_score, device=device)
    return load_network(place, min_score=min_score, device=device)
