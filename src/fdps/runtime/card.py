"""A card: a small TOML file that makes one embedder from a detector and a re-ID network.

Either part is an ONNX file, or a network of fdps (``kind = "network"``).

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
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from fdps.config import from_dict
from fdps.devices import check_device_name, n_threads
from fdps.errors import ConfigError, MissingDataError, ModelError, UsageError
from fdps.query import check_min_score
from fdps.runtime.detr import (
    RfDetrDetector,
    RfDetrSettings,
    RtDetrDetector,
    RtDetrSettings,
)
from fdps.runtime.guided import Guidance, guided, guided_hash
from fdps.runtime.network_input import digest_of
from fdps.runtime.reid import ReidNetwork, ReidSettings
from fdps.runtime.two_step import (
    Describer,
    Detector,
    TwoStep,
    joined_hash,
)
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


@dataclass(frozen=True, kw_only=True)
class NetworkDetectorPart:
    """The section ``[detector]`` of a network of fdps, which finds people and embeds none here."""

    file: str
    """Its weights; a relative path starts at the card."""
    sha256: str = ""
    """The hash of that file; where it is given, another file is refused."""
    kind: Literal["network"] = "network"
    """A network of fdps."""
    min_score: float | None = None
    """Least score of a person, in [0, 1]; by default that of its recipe."""

    def hash_with(self, path: Path) -> str:
        """Name the part that a file makes with these settings."""
        return digest_of(path.read_bytes(), f"network {self.min_score}".encode())


DetectorPart: TypeAlias = YoloxPart | RfDetrPart | RtDetrPart | NetworkDetectorPart
"""The section ``[detector]``; its ``kind`` tells which, and without one it is a YOLOX network."""


@dataclass(frozen=True, kw_only=True)
class ReidPart(ReidSettings):
    """The section ``[reid]`` of an ONNX network."""

    file: str
    """ONNX file; a relative path starts at the card."""
    sha256: str = ""
    """The hash of that file; where it is given, another file is refused."""
    kind: Literal["onnx"] = "onnx"
    """An ONNX network."""


@dataclass(frozen=True, kw_only=True)
class NetworkReidPart:
    """The section ``[reid]`` of a network on crops that fdps has trained."""

    file: str
    """Its weights; a relative path starts at the card."""
    sha256: str = ""
    """The hash of that file; where it is given, another file is refused."""
    kind: Literal["network"] = "network"
    """A network of fdps."""

    def hash_with(self, path: Path) -> str:
        """Name the part that a file makes."""
        return digest_of(path.read_bytes(), b"network")


@dataclass(frozen=True, kw_only=True)
class HeadReidPart:
    """The section ``[reid]`` of a head that fdps has trained on what another network says."""

    file: str
    """The weights of the head; a relative path starts at the card."""
    on: ReidPart | NetworkReidPart
    """The other network."""
    sha256: str = ""
    """The hash of that file; where it is given, another file is refused."""
    kind: Literal["head"] = "head"
    """A head of fdps."""

    def hash_with(self, path: Path) -> str:
        """Name the head alone."""
        return digest_of(path.read_bytes(), b"head")


AnyReidPart: TypeAlias = ReidPart | NetworkReidPart | HeadReidPart
"""The section ``[reid]``; without a ``kind`` it is an ONNX network."""


@runtime_checkable
class Networks(Protocol):
    """What opens networks of fdps, which this package knows nothing of: it does without torch."""

    def detector(
        self, path: Path, model_hash: str, *, min_score: float | None, device: str
    ) -> Detector:
        """Open a network as a detector."""

    def describer(self, path: Path, model_hash: str, *, device: str) -> Describer:
        """Open a network on crops."""

    def head(self, on: Describer, path: Path, model_hash: str, *, device: str) -> Describer:
        """Open a head on what another network says."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """The content of a card."""

    kind: Literal["two_step"]
    """The kind of embedder: a detector, then a re-ID network."""
    detector: DetectorPart
    """The detector that finds people."""
    reid: AnyReidPart
    """The re-ID network that describes them."""
    guidance: Guidance | None = None
    """How a query guides the detector, which has to know whom people are like; left out: not."""
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

    sections = asdict(card)
    detector = {name: value for name, value in sections["detector"].items() if value is not None}
    told = {name: value for name, value in sections.items() if value is not None}
    return tomli_w.dumps(told | {"detector": detector})


def card_hash(card: Card, folder: Path) -> str:
    """Return the hash of the model that a card in a folder makes, without opening the networks.

    Raises:
        MissingDataError: A file is not there.
        ModelError: A file is not the one that the card pins, or not an ONNX network.
    """
    for part in _parts(card):
        network_file(part, folder)  # refuses what is not pinned, before any file is parsed
    detector = card.detector.hash_with(network_file(card.detector, folder))
    plain = joined_hash(detector, _reid_hash(card.reid, folder))
    return plain if card.guidance is None else guided_hash(plain, card.guidance)


def _reid_hash(part: AnyReidPart, folder: Path) -> str:
    own = part.hash_with(network_file(part, folder))
    return joined_hash(_reid_hash(part.on, folder), own) if isinstance(part, HeadReidPart) else own


def check_files(card: Card, folder: Path) -> None:
    """Check that the networks of a card are there; they are not read.

    Raises:
        MissingDataError: A file is not there.
    """
    for part in _parts(card):
        _place(part, folder)


def load_card(
    path: Path,
    *,
    min_score: float | None = None,
    device: str = "cpu",
    networks: Networks | None = None,
) -> TwoStep:
    """Make the embedder of a card.

    Args:
        path: Path of the card.
        min_score: Least score of a detection, in [0, 1]; the default is that of the card. Another
            value does not make another model.
        device: Where networks of fdps run; ONNX networks run on the CPU. Of a card without any of
            ours, ``cpu``, or ``auto``, which is the same then.
        networks: Opens networks of fdps.

    Raises:
        MissingDataError: The card or a file that it names is not there.
        ModelError: The card makes no sense, or a file is not what it says.
        UsageError: The device is another one, the score is not in [0, 1], or onnxruntime is not
            installed.
    """
    check_min_score(min_score)
    check_device_name(device)
    card, folder = read_card(path), path.parent
    ours = NetworkDetectorPart | NetworkReidPart | HeadReidPart
    if not any(isinstance(part, ours) for part in _parts(card)) and device not in {"cpu", "auto"}:
        raise UsageError(f"two-step embedders run on the CPU, got {device!r}", hint="choose cpu")
    detector = load_card_detector(
        card, folder, min_score=min_score, device=device, networks=networks
    )
    describer = load_card_describer(card.reid, folder, device=device, networks=networks)
    if card.guidance is None:
        return TwoStep(detector, describer)
    try:
        return guided(detector, describer, card.guidance)
    except ModelError as error:
        raise ModelError(f"{path}: {error}", hint=error.hint) from error


def load_card_describer(
    part: AnyReidPart, folder: Path, *, device: str = "cpu", networks: Networks | None = None
) -> Describer:
    """Make the describer of a card that lies in a folder.

    Args:
        part: Its section ``reid``.
        folder: That of the card.
        device: As for :func:`load_card`.
        networks: Likewise.
    """
    file = network_file(part, folder)
    if isinstance(part, ReidPart):
        return ReidNetwork(file, part, threads=n_threads())
    opened = _needed(networks, file)
    if isinstance(part, NetworkReidPart):
        return opened.describer(file, part.hash_with(file), device=device)
    on = load_card_describer(part.on, folder, device=device, networks=networks)
    return opened.head(on, file, part.hash_with(file), device=device)


def load_card_detector(
    card: Card,
    folder: Path,
    *,
    min_score: float | None = None,
    device: str = "cpu",
    networks: Networks | None = None,
) -> Detector:
    """Make the detector of a card that lies in a folder.

    The other arguments and the errors are those of :func:`load_card`.
    """
    part, file = card.detector, network_file(card.detector, folder)
    if isinstance(part, NetworkDetectorPart):
        least = part.min_score if min_score is None else min_score
        opened = _needed(networks, file)
        return opened.detector(file, part.hash_with(file), min_score=least, device=device)
    detector = _onnx_detector(part, file, n_threads())
    if min_score is not None:
        detector.min_score = min_score
    return detector


def _needed(networks: Networks | None, place: Path) -> Networks:
    if networks is None:
        raise UsageError(f"{place} needs networks of fdps", hint="load it with fdps.load")
    return networks


def _parts(card: Card) -> tuple[DetectorPart | AnyReidPart, ...]:
    """Return everything that is a file of its own."""
    below = (card.reid.on,) if isinstance(card.reid, HeadReidPart) else ()
    return card.detector, card.reid, *below


def _onnx_detector(
    part: YoloxPart | RfDetrPart | RtDetrPart, file: Path, threads: int
) -> YoloxDetector | RfDetrDetector | RtDetrDetector:
    if isinstance(part, RfDetrPart):
        return RfDetrDetector(file, part, threads=threads)
    if isinstance(part, RtDetrPart):
        return RtDetrDetector(file, part, threads=threads)
    return YoloxDetector(file, part, threads=threads)


def network_file(part: DetectorPart | AnyReidPart, folder: Path) -> Path:
    """Return the file of a part, after checking that it has the bytes that the card promises.

    Args:
        part: A section of a card.
        folder: That of the card.

    Raises:
        MissingDataError: The file is not there.
        ModelError: It has another hash.
    """
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


def _place(part: DetectorPart | AnyReidPart, folder: Path) -> Path:
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
        if value is None:
            continue
        if not low <= value <= high:
            raise ModelError(f"{path}: detector.{name} must be in {low}..{high}, got {value}")
    if card.guidance is not None and not -1 <= (least := card.guidance.min_similarity) <= 1:
        raise ModelError(f"{path}: guidance.min_similarity must be in -1.0..1.0, got {least}")
    for section, part in (("detector", card.detector), ("reid", card.reid)):
        std = getattr(part, "std", (1.0,))
        if not min(std) > 0:
            raise ModelError(f"{path}: {section}.std must be positive, got {list(std)}")
