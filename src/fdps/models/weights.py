"""A network becomes a weights file, and a weights file a network; no pickle is written or read.

:mod:`fdps.weights_file` describes the file.
"""

import dataclasses
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fdps.config import LossConfig, ModelConfig
from fdps.durable import write_file
from fdps.errors import ModelError
from fdps.models import PersonSearchNet, build_system
from fdps.weights_file import (
    FORMAT,
    VERSION,
    Origin,
    check_exists,
    described_by,
    file_hash,
    not_safetensors,
    weights_file,
)
from fdps.weights_file import describe_weights as describe_weights


def save_weights(
    model: PersonSearchNet,
    config: ModelConfig,
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
        "model": dataclasses.asdict(config),
        "loss": {k: v for k, v in dataclasses.asdict(loss).items() if v is not None},
        "n_persons": n_persons,
        **({"origin": dataclasses.asdict(origin)} if origin else {}),
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(tensors, metadata={"fdps": json.dumps(header)}))


def begin_from(net: PersonSearchNet, place: str) -> list[str]:
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
    given = load_weights(weights_file(place))[0].state_dict()
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
    check_exists(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error
    described = described_by(metadata, path)
    # The file has all weights: nothing is fetched to be overwritten.
    config = dataclasses.replace(described.model, backbone_weights="none")
    model, _ = build_system(config, described.loss, described.n_persons)
    # Version 1 kept the memory of the re-ID loss beside the weights.
    tensors = {k: v for k, v in tensors.items() if not k.startswith("roi_heads.criterion.")}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path}: tensors do not fit its own description: {error}") from error
    return model.eval(), file_hash(path)
