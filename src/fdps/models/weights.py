"""A network becomes a weights file, and a weights file a network; no pickle is written or read.

:mod:`fdps.weights_file` describes the file.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fdps.config import LossConfig, ModelConfig, TwoStepConfig
from fdps.durable import write_file
from fdps.errors import ModelError
from fdps.models import PersonSearchNet, build_system
from fdps.models.reid import ReidNet, reid_system
from fdps.models.trainable import TrainableNet
from fdps.weights_file import (
    FORMAT,
    VERSION,
    Description,
    Origin,
    check_exists,
    described_by,
    file_hash,
    not_safetensors,
    weights_file,
)
from fdps.weights_file import describe_weights as describe_weights


def save_weights(
    model: TrainableNet,
    config: ModelConfig | TwoStepConfig,
    loss: LossConfig,
    n_persons: int,
    path: Path,
    origin: Origin | None = None,
) -> None:
    """Write weights and what is needed to build the network again.

    What the re-ID loss remembers of the training people stays in the checkpoint: who searches
    needs none of it, and who passes weights on should not pass that on. An older file at ``path``
    is replaced whole or not at all.

    Args:
        model: The network.
        config: The settings that it was built from.
        loss: The re-ID loss that it was trained with.
        n_persons: Training identities.
        path: The file to write.
        origin: Where the weights came from, if fdps did not train them.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "model": _known(config),
        "loss": _known(loss),
        "n_persons": n_persons,
        **({"origin": dataclasses.asdict(origin)} if origin else {}),
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.searching_state().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(tensors, metadata={"fdps": json.dumps(header)}))


def begin_from(net: TrainableNet, place: str) -> list[str]:
    """Give a network the weights of another one, for it to go on from.

    The other one may be smaller, if all that it has belongs here as well: NAE+ has the tensors of
    NAE, and QEEPS those of OIM-base beside its own.

    Args:
        net: The network that is to be trained.
        place: A weights file, a run folder, or a name of bundled weights.

    Returns:
        Parts of the network that the other one does not have; they stay as they were.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file, or it holds what the network has no place for.
    """
    given = _read(weights_file(place))[1]
    own = net.state_dict()
    wrong = [name for name in given if name not in own or own[name].shape != given[name].shape]
    if wrong:
        is_known = wrong[0] in own
        told = f"the shape of {wrong[0]} differs" if is_known else f"it has no {wrong[0]}"
        raise ModelError(
            f"a run cannot begin from {place}, which is another network: {told} "
            f"({len(wrong)} tensors do not fit)",
            hint="take over the [model] section of the recipe that it was trained by",
        )
    net.load_state_dict(own | given)
    return sorted({".".join(name.split(".")[:2]) for name in own if name not in given})


def load_weights(path: Path) -> tuple[PersonSearchNet, str]:
    """Build the network that a weights file describes, in evaluation mode on the CPU.

    Returns:
        The network, and the hash that names it: sixteen hexadecimal digits of the file's SHA-256.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file, of another version, or tensors do not fit the network.
    """
    described, tensors = _read(path)
    if isinstance(described.model, TwoStepConfig):
        raise ModelError(
            f"{path} holds the second half of a two-step model, which embeds people and finds none",
            hint="load the folder of the run, whose card names the detector, or write a card: "
            "docs/guides/models.md",
        )
    # The file has all weights: nothing is fetched to be overwritten.
    config = dataclasses.replace(described.model, backbone_weights="none")
    model, _ = build_system(config, described.loss, described.n_persons)
    _fill(model, tensors, path)
    return model.eval(), file_hash(path)


def load_reid(path: Path, *, n_features: int = 0) -> tuple[ReidNet, str]:
    """Build the network on crops that a weights file describes, in evaluation mode on the CPU.

    Args:
        path: The file.
        n_features: Numbers that a network outside says of each crop, where the weights were trained
            on those; else 0.

    Returns:
        The network, and the hash that names it: sixteen hexadecimal digits of the file's SHA-256.

    Raises:
        MissingDataError: No such file.
        ModelError: Not a weights file, of another version or of a network that is not on crops, or
            tensors do not fit the network.
    """
    described, tensors = _read(path)
    if not isinstance(described.model, TwoStepConfig):
        raise ModelError(
            f"{path} holds a network that finds people in scenes; expected one that embeds people "
            "who were cut out",
            hint="it is trained by a recipe with model.kind = 'two_step'",
        )
    config = dataclasses.replace(described.model, backbone_weights="none")
    net = reid_system(config).network(described.loss, n_features=n_features)
    _fill(net, tensors, path)
    net.eval()
    return net, file_hash(path)


def _read(path: Path) -> tuple[Description, dict[str, Tensor]]:
    """Read what a file says about itself, and its tensors."""
    check_exists(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error
    # Version 1 kept the memory of the re-ID loss beside the weights.
    kept = {k: v for k, v in tensors.items() if not k.startswith("roi_heads.criterion.")}
    return described_by(metadata, path), kept


def _fill(net: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path}: tensors do not fit its own description: {error}") from error


def _known(section: ModelConfig | TwoStepConfig | LossConfig) -> dict[str, Any]:
    """Return the fields of a section that have a value; the others read back as left out."""
    return {k: v for k, v in dataclasses.asdict(section).items() if v is not None}
