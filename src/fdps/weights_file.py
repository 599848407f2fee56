"""A weights file as it lies on the disk: where it is, and which network it is for.

One safetensors file holds the tensors; its metadata key ``fdps`` holds JSON: ``format``,
``version``, the ``model`` and ``loss`` sections of the recipe and ``n_persons``. To read that takes
no torch; :mod:`fdps.models.weights` builds the network.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fdps.bundled import bundled_weights
from fdps.config import LossConfig, ModelConfig, TwoStepConfig, from_dict
from fdps.errors import ConfigError, MissingDataError, ModelError

FORMAT, VERSION = "fdps-weights", 2
READABLE = (1, VERSION)  # the first also held what the re-ID loss remembered
WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True)
class Origin:
    """Where weights came from that fdps did not train.

    Args:
        system: Whose checkpoint it was, such as ``NAE``; empty for weights that fdps trained.
        source: The public code that wrote it.
        sha256: Of the checkpoint.
        licence: As SPDX names it, or ``research-only``.
    """

    system: str = ""
    source: str = ""
    sha256: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Description:
    """The settings of the network that a file holds, and what it was trained with.

    Of a two-step model a file holds the network on crops alone.
    """

    model: ModelConfig | TwoStepConfig
    loss: LossConfig
    n_persons: int
    """Training identities."""
    origin: Origin = Origin()
    """Where the weights came from, if fdps did not train them."""

    def __post_init__(self) -> None:
        if self.n_persons < 1:
            raise ConfigError(f"n_persons must be at least 1, got {self.n_persons}")


def weights_file(path: Path | str) -> Path:
    """Find the weights in a run folder, in the package, or at the path itself.

    A file or folder that is called like bundled weights comes first.
    """
    place = Path(path)
    if place.is_dir():
        return place / WEIGHTS_FILE
    return (None if place.exists() else bundled_weights(str(path))) or place


def describe_weights(path: Path) -> Description:
    """Read which network a weights file is for, without its tensors.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file, or of another version.
    """
    check_exists(path)
    try:
        with safe_open(path, framework="np") as file:
            return described_by(file.metadata() or {}, path)
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error


def file_hash(path: Path) -> str:
    """Name a file by sixteen hexadecimal digits of its SHA-256, as archives are stamped."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def described_by(metadata: dict[str, str], path: Path) -> Description:
    """Read the description out of the metadata of a file.

    Raises:
        ModelError: There is none, or it is of another version.
    """
    try:
        header: dict[str, Any] = json.loads(metadata["fdps"])
        found = header.pop("format"), header.pop("version")
        if found[0] != FORMAT or found[1] not in READABLE:
            raise ModelError(f"{path} holds {found[0]} {found[1]}, expected {FORMAT} {VERSION}")
        return from_dict(Description, header)
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise ModelError(
            f"{path} does not say which network it is for: {error}",
            hint="weights files are written by fdps train",
        ) from error


def check_exists(path: Path) -> None:
    """Refuse a path without a file.

    Raises:
        MissingDataError: There is none.
    """
    if path.is_file():
        return
    if path.with_name("recipe.toml").is_file():
        raise MissingDataError(
            f"no weights at {path}: the training in {path.parent} has not ended",
            hint=f"go on with it: fdps resume {path.parent}",
        )
    raise MissingDataError(f"no weights at {path}", hint="a run folder has weights.safetensors")


def not_safetensors(path: Path, error: Exception) -> ModelError:
    """Say that a file is no safetensors file."""
    return ModelError(
        f"{path} is not a safetensors file: {error}", hint="fdps never loads pickles (.pth, .pt)"
    )
