"""The places of models: in the package, the folder of models, run folders, or anywhere else."""

import os
from pathlib import Path

from fdps.bundled import NAMES, bundled_name, bundled_weights
from fdps.runtime.exported import EXPORTED_FILE
from fdps.weights_file import WEIGHTS_FILE

MODELS_VARIABLE = "FDPS_MODELS"
CARD_SUFFIX = ".toml"
CARD_FILE = f"card{CARD_SUFFIX}"
WEIGHTS_SUFFIX = ".safetensors"
_CALIBRATION, _REGIONS = "calibration.json", "regions.json"


def models_folder() -> Path:
    """Return the folder of models: ``FDPS_MODELS``, by default ``~/.local/share/fdps/models``."""
    named = os.environ.get(MODELS_VARIABLE)
    if named:
        return Path(named)
    share = os.environ.get("XDG_DATA_HOME")
    return (Path(share) if share else Path.home() / ".local" / "share") / "fdps" / "models"


def find_model(path: Path | str) -> Path:
    """Find the weights or the card that a path or name means; the file may be missing.

    A file at the path comes first, then weights that come with fdps, then the folder of models with
    ``NAME``, ``NAME.toml`` and ``NAME.safetensors``.
    """
    place = Path(path)
    if place.exists():
        return _within(_whole(place))
    bundled = bundled_weights(str(path))
    if bundled is not None:
        return bundled
    if len(place.parts) == 1:
        there = models_folder() / place
        for found in (there, *(Path(f"{there}{s}") for s in (CARD_SUFFIX, WEIGHTS_SUFFIX))):
            if found.exists():
                return _within(found)
    return place


def is_bundled(path: Path | str) -> bool:
    """Tell whether a name means weights that come with fdps, and not a file of that name."""
    return str(path) in NAMES and not Path(path).exists()


def is_card(place: Path) -> bool:
    """Tell by its name whether a file is a card."""
    return place.suffix == CARD_SUFFIX


def is_exported(place: Path) -> bool:
    """Tell by its name whether a file describes an exported network."""
    return place.name == EXPORTED_FILE


def calibration_file(place: Path) -> Path:
    """Return where a calibration is kept: beside the model, or for bundled ones in their folder.

    Args:
        place: The place that :func:`find_model` returns.
    """
    return _beside(place, _CALIBRATION)


def regions_file(place: Path) -> Path:
    """Return where is kept which proposals a network looks at; see :func:`calibration_file`."""
    return _beside(place, _REGIONS)


def _beside(place: Path, name: str) -> Path:
    if bundled_name(place):
        return models_folder() / f"{place.stem}.{name}"
    if place.name in (WEIGHTS_FILE, CARD_FILE, EXPORTED_FILE):
        return place.with_name(name)
    return place.with_name(f"{place.stem}.{name}")


def _whole(place: Path) -> Path:
    """Return the folder of a two-step run for its weights, which are half of that model."""
    is_half = place.name == WEIGHTS_FILE and place.with_name(CARD_FILE).is_file()
    return place.parent if is_half else place


def _within(place: Path) -> Path:
    """Return the weights, the card or the description of an export in a folder."""
    if not place.is_dir():
        return place
    for name in (CARD_FILE, EXPORTED_FILE):
        if (place / name).is_file():
            return place / name
    return place / WEIGHTS_FILE
