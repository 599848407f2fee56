"""The list of public models that ships with fdps.

.. code-block:: toml

    [[file]]                          # each is a PublicFile
    name = "yolox_nano.onnx"
    address = "https://…"
    revision = "3d4f1119…"
    size = 3_660_092
    sha256 = "695e750a…"
    licence = "Apache-2.0"
    data = "COCO"
    data_licence = "pictures under Flickr terms, annotations CC-BY-4.0"

    [[model]]                         # each makes a PublicModel
    name = "yolox-nano-retail-0248"
    [model.detector]                  # as in a card; the file is one of those above
    file = "yolox_nano.onnx"
    [model.reid]
    file = "person-reidentification-retail-0248.onnx"
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from fdps.bundled import NAMES
from fdps.config import from_dict
from fdps.embedders.licences import RESEARCH_ONLY
from fdps.errors import ConfigError, ModelError, UsageError
from fdps.runtime.card import KIND, Card, DetectorPart, ReidPart, card_text

CATALOGUE = Path(__file__).with_name("models.toml")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII | re.IGNORECASE)  # a name and nothing more
_PARTS = ("detector", "re-ID")
P = TypeVar("P", DetectorPart, ReidPart)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class PublicFile:
    """A file that others have published."""

    name: str
    """The name under which it is kept, without any folder."""
    address: str
    """Where it lies; ``https`` only."""
    revision: str
    """The commit or release in that address: what lies there does not change."""
    size: int
    """Number of its bytes."""
    sha256: str
    """The hash of its bytes, 64 hexadecimal digits; nothing else makes it trusted."""
    licence: str
    """The licence of the weights, as SPDX names it."""
    data: str
    """The pictures that the weights were trained on."""
    data_licence: str
    """The terms of those pictures: a licence, ``research-only``, ``unknown``, or a few words."""

    def __post_init__(self) -> None:
        address = urlsplit(self.address)
        checks = {
            f"its name must be of letters, digits, '.', '_' and '-', got {self.name!r}": (
                _NAME.fullmatch(self.name)
            ),
            f"its address must be https://HOST/…, got {self.address!r}": (
                address.scheme == "https" and address.hostname and "@" not in address.netloc
            ),
            f"its size must be positive, got {self.size}": self.size > 0,
            f"its sha256 must be 64 digits, got {self.sha256!r}": _SHA256.fullmatch(self.sha256),
            "licence, data, data_licence and revision must be given": (
                self.licence and self.data and self.data_licence and self.revision
            ),
        }
        _refuse_failed(checks.items(), f"file {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A model as the list writes it."""

    name: str
    detector: DetectorPart
    reid: ReidPart
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class _List:
    """The content of the list."""

    file: tuple[PublicFile, ...]
    model: tuple[_Entry, ...]


@dataclass(frozen=True)
class PublicModel:
    """A model made of public files.

    Args:
        card: How the files are read; their hashes are pinned in it.
        files: The detector, then the re-ID network.
    """

    card: Card
    files: tuple[PublicFile, ...]

    @property
    def name(self) -> str:
        """The name under which it is found, here and in the folder of models."""
        return self.card.name

    @property
    def size(self) -> int:
        """Number of the bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def card_text(self) -> str:
        """The card as a TOML file, the same bytes each time."""
        return card_text(self.card)


def read_catalogue(path: Path | None = None) -> dict[str, PublicModel]:
    """Read the list of public models.

    Args:
        path: Another list than that of fdps.

    Raises:
        ModelError: The list is not TOML, or says something that makes no sense.
    """
    path = path or CATALOGUE
    try:
        listed = from_dict(
            _List, tomllib.loads(path.read_text(encoding="utf-8")), what="list of models"
        )
        files = {file.name: file for file in listed.file}
        models = {entry.name: entry for entry in listed.model}
        checks = {
            "two files have the same name": len(files) == len(listed.file),
            "two models have the same name": len(models) == len(listed.model),
        }
        _refuse_failed(checks.items(), "the list")
        return {name: _model(entry, files) for name, entry in models.items()}
    except (ConfigError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}", hint=getattr(error, "hint", "")) from error


def public_model(name: str, models: dict[str, PublicModel]) -> PublicModel:
    """Return a model of the list.

    Raises:
        UsageError: There is none of that name; the nearest is named.
    """
    if name not in models:
        near = get_close_matches(name, models, n=1)
        raise UsageError(
            f"no public model {name!r}",
            hint=f"did you mean {near[0]}?" if near else "fdps models list --available shows all",
        )
    return models[name]


def _model(entry: _Entry, files: dict[str, PublicFile]) -> PublicModel:
    parts = (entry.detector, entry.reid)
    checks = {
        f"its name must be of letters, digits, '.', '_' and '-', got {entry.name!r}": (
            _NAME.fullmatch(entry.name)
        ),
        "weights that come with fdps have that name": entry.name not in NAMES,
        "both of its files must be in the list": all(part.file in files for part in parts),
        "hashes belong to its files": not any(part.sha256 for part in parts),
    }
    _refuse_failed(checks.items(), f"model {entry.name!r}")
    chosen = tuple(files[part.file] for part in parts)
    # A run that was trained on data for research is research-only, and so are weights of others.
    is_research = any(file.data_licence == RESEARCH_ONLY for file in chosen)
    licences = dict.fromkeys(file.licence for file in chosen)
    card = Card(
        kind=KIND,
        name=entry.name,
        licence=RESEARCH_ONLY if is_research else " AND ".join(licences),
        data=_by_part([file.data for file in chosen]),
        data_licence=_terms_of(chosen),
        notes=entry.notes,
        detector=_pinned(entry.detector, chosen[0]),
        reid=_pinned(entry.reid, chosen[1]),
    )
    return PublicModel(card, tuple(dict.fromkeys(chosen)))


def _pinned(part: P, file: PublicFile) -> P:
    return replace(part, sha256=file.sha256)


def _terms_of(files: tuple[PublicFile, ...]) -> str:
    """Tell under which terms the training pictures are, of each part where they differ."""
    terms = [file.data_licence for file in files]
    return terms[0] if len(set(terms)) == 1 else _by_part(terms)


def _by_part(texts: list[str]) -> str:
    return "; ".join(f"{part}: {text}" for part, text in zip(_PARTS, texts, strict=True))


def _refuse_failed(checks: Iterable[tuple[str, object]], what: str) -> None:
    failed = [message for message, is_met in checks if not is_met]
    if failed:
        raise ConfigError(f"{what}: {failed[0]}")
