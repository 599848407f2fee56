"""Weights on disk: one safetensors file that also says which network they are for.

The metadata key ``fdps`` holds JSON: ``format``, ``version``, the ``model`` and ``loss`` sections
of the recipe and ``n_persons``. No pickle is written or read.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fdps.config import LossConfig, ModelConfig, from_dict
from fdps.durable import write_file
from fdps.errors import ConfigError, MissingDataError, ModelError
from fdps.models import PersonSearchNet, build_model

FORMAT, VERSION = "fdps-weights", 1


@dataclass(frozen=True)
class Description:
    """What it takes to build the network that a file holds."""

    model: ModelConfig
    loss: LossConfig
    n_persons: int

    def __post_init__(self) -> None:
        if self.n_persons < 1:
            raise ConfigError(f"n_persons must be at least 1, got {self.n_persons}")


def save_weights(
    model: PersonSearchNet, config: ModelConfig, loss: LossConfig, n_persons: int, path: Path
) -> None:
    """Write weights, memory and what is needed to build the network again.

    An older file at ``path`` is replaced whole or not at all.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "model": dataclasses.asdict(config),
        "loss": {k: v for k, v in dataclasses.asdict(loss).items() if v is not None},
        "n_persons": n_persons,
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(tensors, metadata={"fdps": json.dumps(header)}))


def pack_weights(path: Path, out: Path) -> None:
    """Write weights to hand on: half precision, and nothing remembered of the training people.

    The re-ID loss keeps an embedding of every training identity. A network that is only searched
    with needs none, and who passes it on should not pass those on.

    Args:
        path: A weights file as :func:`save_weights` writes it.
        out: Replaced if it is there.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file.
    """
    trained, _ = load_weights(path)
    described = describe_weights(path)
    loss = dataclasses.replace(described.loss, queue_size=0)
    # Names no file of the machine that trained.
    config = dataclasses.replace(described.model, backbone_weights="none")
    packed = build_model(config, loss, 1)
    memory = "roi_heads.criterion."
    kept = {k: v for k, v in trained.state_dict().items() if not k.startswith(memory)}
    packed.load_state_dict(kept, strict=False)
    save_weights(packed.half(), config, loss, 1, out)


def describe_weights(path: Path) -> Description:
    """Read which network a weights file is for, without its tensors.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file, or of another version.
    """
    _check_exists(path)
    try:
        with safe_open(path, framework="pt") as file:
            return _describe(file.metadata() or {}, path)
    except (SafetensorError, OSError) as error:
        raise _not_safetensors(path, error) from error


def load_weights(path: Path) -> tuple[PersonSearchNet, str]:
    """Build the network that a weights file describes, in evaluation mode on the CPU.

    Returns:
        The network, and the hash that names it: sixteen hexadecimal digits of the file's SHA-256.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file, of another version, or tensors do not fit the network.
    """
    _check_exists(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _not_safetensors(path, error) from error
    described = _describe(metadata, path)
    # The file has all weights: nothing is fetched to be overwritten.
    config = dataclasses.replace(described.model, backbone_weights="none")
    model = build_model(config, described.loss, described.n_persons)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path}: tensors do not fit its own description: {error}") from error
    return model.eval(), hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _check_exists(path: Path) -> None:
    if path.is_file():
        return
    if path.with_name("recipe.toml").is_file():
        raise MissingDataError(
            f"no weights at {path}: the training in {path.parent} has not ended",
            hint=f"go on with it: fdps resume {path.parent}",
        )
    raise MissingDataError(f"no weights at {path}", hint="a run folder has weights.safetensors")


def _not_safetensors(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path} is not a safetensors file: {error}", hint="fdps never loads pickles (.pth, .pt)"
    )


def _describe(metadata: dict[str, str], path: Path) -> Description:
    try:
        header: dict[str, Any] = json.loads(metadata["fdps"])
        found = header.pop("format"), header.pop("version")
        if found != (FORMAT, VERSION):
            raise ModelError(f"{path} holds {found[0]} {found[1]}, expected {FORMAT} {VERSION}")
        return from_dict(Description, header)
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise ModelError(
            f"{path} does not say which network it is for: {error}",
            hint="weights files are written by fdps train",
        ) from error
