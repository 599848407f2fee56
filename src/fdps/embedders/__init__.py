"""Models by path or by name: where they are, what is known about them, and what they are for.

:func:`load` is the one place where a path or a name becomes an embedder: our network, or the
detector and the re-ID network of a card. Only what is loaded is imported: to find a model, to read
its licence or to describe it (:mod:`fdps.embedders.info`) takes neither torch nor ONNX Runtime.

Public are the names in ``__all__``; the modules behind them are internal and may change.
"""

from pathlib import Path

from fdps.embedders.licences import check_licence, licence_of
from fdps.embedders.places import (
    calibration_file,
    find_model,
    is_bundled,
    is_card,
    is_exported,
    models_folder,
)
from fdps.embedders.regions import read_regions
from fdps.errors import MissingDataError
from fdps.query import Searcher, check_min_score

__all__ = [
    "calibration_file",
    "check_licence",
    "find_model",
    "is_bundled",
    "is_card",
    "is_exported",
    "licence_of",
    "load",
    "models_folder",
]


def load(path: Path | str, *, min_score: float | None = None, device: str = "cpu") -> Searcher:
    """Load a model that finds and embeds people.

    Args:
        path: A run folder, a weights file, the card of a two-step embedder, the folder of an
            exported network, or a name that ``fdps models list`` shows, such as ``drawn-people``.
        min_score: Least score of a detection, in [0, 1]; the default is that of the recipe or card.
        device: Device to run on, as :func:`~fdps.devices.check_device` takes it.

    Where ``fdps models regions`` has learnt which proposals a network looks at, it looks at those.

    Raises:
        MissingDataError: There is no such model.
        ModelError: A file is not what it should be, or the licence is not among
            ``FDPS_ALLOWED_LICENSES``.
        UsageError: The score is not in [0, 1], the device is not here, or the model does not run
            on it or needs a package that is missing.
    """
    check_min_score(min_score)
    place = find_model(path)
    if not place.exists() and not place.suffix and len(place.parts) == 1:
        raise MissingDataError(f"no model {path}", hint="fdps models list shows what there is")
    check_licence(licence_of(place), path)
    if is_card(place):
        from fdps.embedders.parts import Networks
        from fdps.runtime.card import load_card  # does not need torch, unless a part is of fdps

        return load_card(place, min_score=min_score, device=device, networks=Networks())
    if is_exported(place):
        from fdps.runtime.exported import load_exported  # nor does this

        return load_exported(place, min_score=min_score, device=device)
    from fdps.searcher import load as load_network

    searcher = load_network(place, min_score=min_score, device=device)
    limits = read_regions(place, searcher.model_hash)
    if limits is not None:
        searcher.regions = limits
    return searcher
