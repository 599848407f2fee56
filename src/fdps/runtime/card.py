"""A card: a small TOML file that makes one embedder from a detector and a re-ID network.

.. code-block:: toml

    kind = "two_step"
    licence = "Apache-2.0"
    data = "COCO; a large re-ID set"

    [detector]
    kind = "yolox"
    file = "yolox_nano.onnx"     # beside the card

    [reid]
    file = "person_reid.onnx"

The other keys are the fields below. What the card says about itself (licence, data, metrics,
notes) is not part of the model; every setting and every byte of the networks is.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from fdps.config import from_dict
from fdps.devices import check_device_name
from fdps.errors import ConfigError, MissingDataError, ModelError, UsageError
from fdps.query import check_min_score
from fdps.runtime.detr import (
    RfDetrDetector,
    RfDetrSettings,
    RtDetrDetector,
    RtDetrSettings,
)
from fdps.runtime.onnx_session import n_threads
from fdps.runtime.reid import ReidNetwork, ReidSettings
from fdps.runtime.two_step import TwoStep, joined_hash
from fdps.runtime.yolox import YoloxDetector, YoloxSettings

KIND: Final = "two_step"


@dataclass(frozen=True, kw_only=True)
class YoloxPart(YoloxSettings):
    """The section ``[detector]`` of a YOLOX network."""

    file: str
    """ONNX file; a relative path starts at the card."""
    sha256: str = ""
    """The hash of that file; where it is given, another file is refused."""
    kind: Literal["yolox"] = "yolox"
    """The way in which its output is read."""


@dataclass(frozen=True, kw_only=True)
class RfDetrPart(RfDetrSettings):
    """The section ``[detector]`` of an RF-DETR network, or of another with its outputs."""

    file: str
    """ONNX file; a relative path starts at the card."""
    sha256: str = ""
    """The hash of that file; where it is given, another file is refused."""
    kind: Literal["rf_detr"] = "rf_detr"
    """The way in which its output is read."""


@dataclass(frozen=True, kw_only=True)
class RtDetrPart(RtDetrSettings):
    """The section ``[detector]`` of an RT-DETR or D-FINE network, which have the same outputs."""

    file: str
    """ONNX file; a relative path starts at the card."""
    sha256: str = ""
    """The hash of that file; where it is given, another file is refused."""
    kind: Literal["rt_detr", "d_fine"] = "rt_detr"
    """The way in which its output is read."""


DetectorPart: TypeAlias = YoloxPart | RfDetrPart | RtDetrPart
"""The section ``[detector]``; its ``kind`` tells which, and without one it is a YOLOX network."""


@dataclass(frozen=True, kw_only=True)
class ReidPart(ReidSettings):
    """The section ``[reid]``."""

    file: str
    """ONNX file; a relative path starts at the card."""
    sha256: str = ""
    """The hash of that file; where it is given, another file is refused."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """The content of a card."""

    kind: Literal["two_step"]
    """The kind of embedder: a detector, then a re-ID network."""
    detector: DetectorPart
    """The detector that finds people."""
    reid: ReidPart
    """The re-ID network that describes them."""
    name: str = ""
    """The name in lists; by default that of the file."""
    licence: str = "unknown"
    """The licence of the networks, as SPDX names it, or ``research-only``."""
    data: str = ""
    """The data that the networks were trained on."""
    data_licence: str = ""
    """The terms of those data: a licence, ``research-only``, ``unknown``, or a few words."""
    notes: str = ""
    """Anything else that users should know."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Figures by name."""


def read_card(path: Path) -> Card:
    """Read a card; the networks are not looked at.

    Raises:
        MissingDataError: There is no such file.
        ModelError: The file is not TOML or not a card, has an unknown or missing key (the nearest
            known one is named), or a value of the wrong type or out of range.
    """
    if not path.is_file():
        raise MissingDataError(f"no card at {path}", hint="docs/guides/models.md shows one")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not TOML: {error}") from error
    if values.get("kind") != KIND:
        raise ModelError(
            f"{path} is not a card: kind must be {KIND!r}, got {values.get('kind')!r}",
            hint="docs/guides/models.md shows a card",
        )
    metrics = _metrics(values.pop("metrics", {}), path)
    try:
        card = from_dict(Card, values, what="card")
    except ConfigError as error:
        raise ModelError(f"{path}: {error}", hint=error.hint) from error
    _check_ranges(card, path)
    return Card(**{**vars(card), "metrics": metrics, "name": card.name or path.stem})


def card_text(card: Card) -> str:
    """Write a card so that :func:`read_card` reads the same card back, with every setting."""
    import tomli_w  # a machine that only reads cards need not have it

    return tomli_w.dumps(asdict(card))


def card_hash(card: Card, folder: Path) -> str:
    """Return the hash of the model that a card in a folder makes, without opening the networks.

    Raises:
        MissingDataError: A file is not there.
        ModelError: A file is not the one that the card pins, or not an ONNX network.
    """
    detector, reid = _file(card.detector, folder), _file(card.reid, folder)
    return joined_hash(card.detector.hash_with(detector), card.reid.hash_with(reid))


def check_files(card: Card, folder: Path) -> None:
    """Check that the networks of a card are there; they are not read.

    Raises:
        MissingDataError: A file is not there.
    """
    for part in (card.detector, card.reid):
        _place(part, folder)


def load_card(path: Path, *, min_score: float | None = None, device: str = "cpu") -> TwoStep:
    """Make the embedder of a card.

    Args:
        path: Path of the card.
        min_score: Least score of a detection, in [0, 1]; the default is that of the card. Another
            value does not make another model.
        device: ``cpu``, or ``auto``, which is the same here.

    Raises:
        MissingDataError: The card or a file that it names is not there.
        ModelError: The card makes no sense, or a file is not what it says.
        UsageError: The device is another one, the score is not in [0, 1], or onnxruntime is not
            installed.
    """
    check_min_score(min_score)
    check_device_name(device)
    if device not in {"cpu", "auto"}:
        raise UsageError(f"two-step embedders run on the CPU, got {device!r}", hint="choose cpu")
    card = read_card(path)
    threads = n_threads()
    detector = _detector(card.detector, path.parent, threads)
    if min_score is not None:
        detector.min_score = min_score
    reid = ReidNetwork(_file(card.reid, path.parent), card.reid, threads=threads)
    return TwoStep(detector, reid)


def _detector(
    part: DetectorPart, folder: Path, threads: int
) -> YoloxDetector | RfDetrDetector | RtDetrDetector:
    file = _file(part, folder)
    if isinstance(part, RfDetrPart):
        return RfDetrDetector(file, part, threads=threads)
    if isinstance(part, RtDetrPart):
        return RtDetrDetector(file, part, threads=threads)
    return YoloxDetector(file, part, threads=threads)


def _file(part: DetectorPart | ReidPart, folder: Path) -> Path:
    """Return the network file of a part, after checking that it has the bytes the card promises."""
    path = _place(part, folder)
    if part.sha256:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != part.sha256.lower():
            raise ModelError(
                f"{path} has the SHA-256 {found}, the card says {part.sha256}",
                hint="this is another file than the card was written for",
            )
    return path


def _place(part: DetectorPart | ReidPart, folder: Path) -> Path:
    path = folder / part.file
    if not path.is_file():
        raise MissingDataError(
            f"no network at {path}", hint="the card names it; relative paths start at the card"
        )
    return path


def _metrics(values: Any, path: Path) -> dict[str, float]:
    is_table = isinstance(values, dict)
    if not is_table or not all(type(value) in (int, float) for value in values.values()):
        raise ModelError(f"{path}: metrics must be a table of numbers, got {values!r}")
    return {name: float(value) for name, value in values.items()}


def _check_ranges(card: Card, path: Path) -> None:
    limits = {
        "min_score": (0.0, 1.0),
        "max_iou": (0.0, 1.0),
        "letterbox": (0.0, 255.0),
        "person_class": (0, 100_000),
    }
    for name, (low, high) in limits.items():
        value = getattr(card.detector, name, low)  # not every kind has all of them
        if not low <= value <= high:
            raise ModelError(f"{path}: detector.{name} must be in {low}..{high}, got {value}")
    for section, part in (("detector", card.detector), ("reid", card.reid)):
        std = getattr(part, "std", (1.0,))
        if not min(std) > 0:
            raise ModelError(f"{path}: {section}.std must be positive, got {list(std)}")
