"""Which proposals a network looks at, kept in a small file beside its weights.

``fdps models regions`` learns and writes it, and :func:`fdps.embedders.load` follows it. It names
the weights by their hash, so that it is never applied to others: weights that were trained anew
look at all proposals until their own limits are learnt.
"""

import json
from pathlib import Path

from fdps.durable import write_file
from fdps.embedders.places import regions_file
from fdps.errors import ModelError
from fdps.structures import RegionLimits

FORMAT, VERSION = "fdps-regions", 1


def write_regions(place: Path, limits: RegionLimits, model_hash: str) -> Path:
    """Write the limits of a model and return the file.

    Args:
        place: The place that :func:`~fdps.embedders.find_model` returns.
        limits: Which proposals are looked at.
        model_hash: Hash of the model.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "model_hash": model_hash,
        "min_score": limits.min_score,
        "max_iou": limits.max_iou,
    }
    file = regions_file(place)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, (json.dumps(content, indent=2) + "\n").encode())
    return file


def read_regions(place: Path, model_hash: str) -> RegionLimits | None:
    """Read the limits beside a model; ``None`` if there are none, or only those of other weights.

    Raises:
        ModelError: The file is malformed.
    """
    file = regions_file(place)
    if not file.is_file():
        return None
    hint = f"learn them again with fdps models regions, or delete {file}"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        kind = content["format"], content["version"]
        limits = RegionLimits(float(content["min_score"]), float(content["max_iou"]))
        of = content["model_hash"]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{file} does not say which regions to look at: {error}", hint=hint
        ) from None
    if kind != (FORMAT, VERSION):
        raise ModelError(f"{file} holds {kind}, expected {(FORMAT, VERSION)}", hint=hint)
    if not (0 <= limits.min_score < 1 and 0 < limits.max_iou <= 1):
        raise ModelError(
            f"{file}: min_score must be in 0..1, below 1, and max_iou above 0 and at most 1, got "
            f"{limits.min_score} and {limits.max_iou}",
            hint=hint,
        )
    return limits if of == model_hash else None
