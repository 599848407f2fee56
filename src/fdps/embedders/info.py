"""List models, describe one, and check that it is whole.

``list_models`` reads the headers of files, so that a large folder is listed at once; ``describe``
reads all bytes to name the model by its hash; only ``verify`` opens a network, and looks at a
picture with it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fdps.bundled import NAMES, bundled_card, bundled_name
from fdps.embedders import load
from fdps.embedders.licences import (
    RECIPE_FILE,
    check_licence,
    licence_of,
    origin_of,
    told_data,
    training_data,
)
from fdps.embedders.places import (
    CARD_FILE,
    CARD_SUFFIX,
    WEIGHTS_SUFFIX,
    calibration_file,
    find_model,
    is_card,
    is_exported,
    models_folder,
)
from fdps.errors import FdpsError, ModelError
from fdps.query import Searcher
from fdps.runtime.card import card_hash, check_files, read_card
from fdps.runtime.exported import EXPORTED_FILE, check_exported, read_exported
from fdps.search.results.calibration import Calibration, from_json
from fdps.weights_file import WEIGHTS_FILE, describe_weights, file_hash

if TYPE_CHECKING:
    from fdps.search.index import Index

_EPOCHS_FILE = "epochs.jsonl"
_FIGURES = ("recall", "ap", "mAP", "top1")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Everything that is known about a model.

    Args:
        name: Name of the model in lists.
        kind: ``network`` for one of ours, ``two_step``, the runtime and the precision of an export,
            or empty for a file that cannot be read.
        place: Path of the weights or the card.
        licence: Licence of the model: its SPDX name, ``research-only`` or ``unknown``.
        data: Data that it was trained on, as far as known.
        data_licence: Terms of those data, where a card states them.
        metrics: Figures by name.
        model_hash: Hash with which archives are stamped; empty in a list, where it is not computed.
        notes: Anything else that users should know.
        is_calibrated: Whether a calibration lies beside it; outside of lists, whether it is one of
            this very model.
        problem: The reason why it cannot be used; empty if nothing is known against it.
    """

    name: str
    kind: str
    place: Path
    licence: str = "unknown"
    data: str = ""
    data_licence: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    model_hash: str = ""
    notes: str = ""
    is_calibrated: bool = False
    problem: str = ""


def describe(model: Path | str) -> ModelInfo:
    """Return what is known about a model, without opening it.

    Raises:
        MissingDataError: The model, or a part of it, is not there.
        ModelError: The file is neither weights nor a card.
    """
    place = find_model(model)
    info = _read_header(place)
    model_hash = _hash_of(place)
    is_calibrated = info.is_calibrated and _is_calibrated(place, model_hash)
    return dataclasses.replace(info, model_hash=model_hash, is_calibrated=is_calibrated)


def _hash_of(place: Path) -> str:
    if is_card(place):
        return card_hash(read_card(place), place.parent)
    if is_exported(place):
        exported = read_exported(place)
        check_exported(place, exported)
        return exported.model_hash
    return file_hash(place)


def list_models(folders: Iterable[Path] = ()) -> list[ModelInfo]:
    """List bundled weights, the folder of models, then other folders with run folders and models.

    A file that looks like a model but is not one is listed with its problem. Only headers are read:
    the hash is left empty, and a calibration counts without being compared with it.
    """
    places = [find_model(name) for name in NAMES]
    for folder in (models_folder(), *folders):
        places.extend(_models_in(folder))
    return [_described(place) for place in dict.fromkeys(places)]


def verify(model: Path | str) -> ModelInfo:
    """Read every byte, compare the hashes that are pinned, load the model and let it look.

    Raises:
        MissingDataError: The model, or a part of it, is not there.
        ModelError: A hash is not the pinned one, the model cannot be loaded, its output is not an
            embedding, its licence is not allowed, or the calibration beside it is of another model.
        UsageError: onnxruntime is needed and not installed.
    """
    place = find_model(model)
    info = describe(place)
    check_licence(info.licence, model)
    name = bundled_name(place)
    if name and hashlib.sha256(place.read_bytes()).hexdigest() != bundled_card(name).sha256:
        raise ModelError(f"{place} is not the file that came with fdps", hint="install fdps again")
    searcher = load(place)
    if searcher.model_hash != info.model_hash:
        raise ModelError(f"{place} changed while it was read")
    _look(searcher, place)
    read_calibration(place, info.model_hash)
    return info


def read_calibration(place: Path, model_hash: str | None) -> Calibration | None:
    """Read the calibration beside a model; ``None`` if there is none.

    Args:
        place: The place that :func:`find_model` returns.
        model_hash: Hash of the model; ``None`` takes a calibration of any model.

    Raises:
        ModelError: The calibration is malformed, or of another model.
    """
    file = calibration_file(place)
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    return from_json(text, where=file, model_hash=model_hash)


def calibration_of(index: "Index", model: Path | str) -> tuple[Calibration | None, str]:
    """Return the calibration of an archive, else that of its model; if there is none, say why.

    Args:
        index: The archive.
        model: Place or name of its model.

    Raises:
        ModelError: What the archive remembers is malformed.
    """
    if index.calibration is not None:
        return index.calibration, ""
    try:
        return read_calibration(find_model(model), index.info.model_hash), ""
    except ModelError as error:
        return None, str(error)


def _read_header(place: Path) -> ModelInfo:
    """Return what the first bytes of a model and the small files beside it say."""
    if is_card(place):
        card = read_card(place)
        check_files(card, place.parent)
        is_named = card.name != Path(CARD_FILE).stem
        return ModelInfo(
            name=card.name if is_named else place.absolute().parent.name,
            kind=card.kind,
            place=place,
            licence=licence_of(place),
            data=card.data,
            data_licence=card.data_licence,
            metrics=card.metrics,
            notes=card.notes,
            is_calibrated=_is_calibrated(place),
        )
    if is_exported(place):
        exported = read_exported(place)
        return ModelInfo(
            name=place.absolute().parent.name,
            kind=f"{exported.runtime} {exported.precision}",
            place=place,
            licence=exported.licence,
            notes=f"exported from {exported.source} ({exported.source_hash})",
            is_calibrated=_is_calibrated(place),
        )
    describe_weights(place)  # refuses a file that is not weights
    name = bundled_name(place)
    if name:
        bundled = bundled_card(name)
        return ModelInfo(
            name=name,
            kind="network",
            place=place,
            licence=bundled.licence,
            data=bundled.data,
            data_licence=bundled.data_licence,
            metrics=bundled.metrics,
            notes=bundled.notes,
            is_calibrated=_is_calibrated(place),
        )
    return ModelInfo(
        name=place.absolute().parent.name if place.name == WEIGHTS_FILE else place.stem,
        kind="network",
        place=place,
        licence=licence_of(place),
        data=_trained_on(place),
        metrics=_validated(place),
        notes=_converted_from(place),
        is_calibrated=_is_calibrated(place),
    )


def _converted_from(place: Path) -> str:
    origin = origin_of(place)
    if not origin.system:
        return ""
    return f"{origin.system}, converted from a checkpoint of {origin.source} ({origin.sha256})"


def _is_calibrated(place: Path, model_hash: str | None = None) -> bool:
    """Tell whether a calibration lies beside a model; given a hash, it has to be of that model."""
    try:
        return read_calibration(place, model_hash) is not None
    except ModelError:
        return False


def _described(place: Path) -> ModelInfo:
    try:
        return _read_header(place)
    except (FdpsError, OSError) as error:  # OSError: the file must not be read
        return ModelInfo(name=place.stem, kind="", place=place, problem=str(error))


def _models_in(folder: Path) -> list[Path]:
    """List weights and cards in a folder, and in the folders right below it."""
    if not folder.is_dir():
        return []
    found = []
    for path in (folder, *sorted(folder.iterdir())):
        if path.name.startswith(".") and path != folder:
            continue  # a download that has not ended
        if path.is_dir():
            names = (CARD_FILE, EXPORTED_FILE, WEIGHTS_FILE)
            found += [path / name for name in names if (path / name).is_file()]
        elif path.suffix == WEIGHTS_SUFFIX or (path.suffix == CARD_SUFFIX and _says_card(path)):
            found.append(path)
    return found


def _says_card(path: Path) -> bool:
    """Tell whether a TOML file is meant as a card; recipes are TOML as well."""
    try:
        return path.name != RECIPE_FILE and "[detector]" in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _trained_on(place: Path) -> str:
    data = training_data(place)
    return "" if data is None else told_data(data)


def _validated(place: Path) -> dict[str, float]:
    """Return the figures of the latest validation of a run; empty if it had none."""
    file = place.with_name(_EPOCHS_FILE)
    latest: dict[str, float] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            record = json.loads(line)
        except ValueError:  # the line was cut short
            continue
        figures = {f"validation {name}": record[name] for name in _FIGURES if name in record}
        latest = figures or latest
    return latest


def _look(searcher: Searcher, place: Path) -> None:
    """Let a model look at noise, and check that boxes and unit embeddings come out."""
    picture = np.random.default_rng(0).integers(0, 256, size=(96, 128, 3), dtype=np.uint8)
    boxes = np.array([[8, 8, 48, 88]], dtype=np.float32)
    rows = np.concatenate(
        [searcher.detect(picture).embeddings, searcher.embed(picture, boxes)]
    ).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    if rows.shape[1] != searcher.dim or not (np.abs(lengths - 1) < 1e-3).all():
        raise ModelError(f"{place}: its embeddings are not {searcher.dim} numbers of unit length")
