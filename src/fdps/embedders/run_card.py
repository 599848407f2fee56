"""The card that a two-step training leaves in its run folder, with the detector beside it.

A run folder is a whole model that may be moved: the detector is copied, not named from afar.
"""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

from fdps.config import CARD_PREFIX, Recipe, TwoStepConfig
from fdps.durable import write_file, written_whole
from fdps.embedders.licences import (
    RESEARCH_ONLY,
    UNKNOWN,
    is_research,
    licence_of,
    told_data,
)
from fdps.embedders.places import CARD_FILE, find_model, is_card, is_exported, regions_file
from fdps.errors import UsageError
from fdps.models.reid import reid_system
from fdps.runtime.card import (
    KIND,
    AnyReidPart,
    Card,
    DetectorPart,
    HeadReidPart,
    NetworkDetectorPart,
    NetworkReidPart,
    card_text,
    network_file,
    read_card,
)
from fdps.runtime.guided import Guidance
from fdps.runtime.onnx_session import external_files
from fdps.weights_file import WEIGHTS_FILE

DETECTOR, FEATURES = "detector", "features"
"""Names of the detector and of a network outside in a run folder, without their suffixes."""


def write_run_card(run: Path, recipe: Recipe, model: TwoStepConfig) -> Path:
    """Write the card of a run whose weights are there, and copy the detector.

    Args:
        run: The run folder.
        recipe: Its recipe.
        model: The section ``model`` of it.

    Returns:
        The card.

    Raises:
        MissingDataError: The detector is not there.
        UsageError: The detector cannot be taken along.
        OSError: The disk is full, read-only or failing.
    """
    place = find_model(model.detector)
    own = RESEARCH_ONLY if is_research(recipe.data) else UNKNOWN
    licences = dict.fromkeys((*licence_of(place).split(" AND "), own))
    is_limited = RESEARCH_ONLY in licences
    system = reid_system(model)
    likeness = system.least_likeness
    card = Card(
        kind=KIND,
        detector=_copied(place, run, model.detector_score),
        reid=_reid_part(model, run),
        guidance=None if likeness is None else Guidance(likeness, system.guided_by),
        name=recipe.name,
        licence=RESEARCH_ONLY if is_limited else " AND ".join(licences),
        data=told_data(recipe.data),
        notes=f"{model.system}, {model.backbone} behind {model.detector}",
    )
    write_file(run / CARD_FILE, card_text(card).encode())
    return run / CARD_FILE


def _copied(place: Path, run: Path, min_score: float | None) -> DetectorPart:
    """Copy a detector into a run folder, and return the part of the card that names it."""
    if is_exported(place):
        raise UsageError(
            f"{place} is an exported network, which a run cannot take along as its detector",
            hint="name the run or the weights that it was exported from",
        )
    if not is_card(place):
        _copy(place, run / f"{DETECTOR}.safetensors")
        limits = regions_file(place)
        if limits.is_file():
            _copy(limits, regions_file(run / f"{DETECTOR}.safetensors"))
        return NetworkDetectorPart(
            file=f"{DETECTOR}.safetensors", min_score=min_score, sha256=_hash(place)
        )
    part = read_card(place).detector
    source = network_file(part, place.parent)
    name = f"{DETECTOR}{source.suffix}"
    if source.suffix == ".onnx":
        for other in external_files(source):  # which the network names without a folder
            _copy(other, run / other.relative_to(source.parent.resolve()))
    _copy(source, run / name)
    part = replace(part, file=name, sha256=_hash(source))
    return part if min_score is None else replace(part, min_score=min_score)


def _reid_part(model: TwoStepConfig, run: Path) -> AnyReidPart:
    """Name the weights; where they are a head, copy the network that it is on."""
    if not model.backbone.startswith(CARD_PREFIX):
        return NetworkReidPart(file=WEIGHTS_FILE)
    place = find_model(model.backbone.removeprefix(CARD_PREFIX))
    part = read_card(place).reid
    if isinstance(part, HeadReidPart):
        raise UsageError(
            f"{place} has a head of its own, and no head is trained on another one",
            hint="name the card that it was trained on",
        )
    source = network_file(part, place.parent)
    _copy(source, run / f"{FEATURES}{source.suffix}")
    on = replace(part, file=f"{FEATURES}{source.suffix}", sha256=_hash(source))
    return HeadReidPart(file=WEIGHTS_FILE, on=on)


def _copy(source: Path, to: Path) -> None:
    """Copy a file, unless it is there already."""
    if to.is_file() and _hash(to) == _hash(source):
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(to) as aside:
        shutil.copyfile(source, aside)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
