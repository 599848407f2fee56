"""The classification networks that backbones are cut from, and how their weights get into them."""

from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fdps.errors import MissingDataError, ModelError

FETCHED = ("imagenet", "pretrained")
"""What ``backbone_weights`` may be for weights that the library of the network fetches."""

Cut = tuple[list[nn.Module], nn.Module, int, int]
"""Stages of the trunk, region head, channels of the trunk, channels of the region head."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict.

    Raises:
        MissingDataError: No such file.
        ModelError: It is not a safetensors file.
    """
    if not path.is_file():
        raise MissingDataError(
            f"no backbone weights at {path}",
            hint="give a safetensors file, a network of fdps, imagenet or none",
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is not a safetensors file: {error}",
            hint="pickled weights (.pth) are never loaded; convert them to safetensors",
        ) from error


def load_state(
    net: nn.Module,
    state: dict[str, Tensor],
    wanted: Iterable[str],
    *,
    weights: str,
    name: str,
    source: str,
) -> None:
    """Put the weights of a file into the parts of a classifier that a backbone consists of.

    Args:
        net: The classifier.
        state: What the file holds; what is not wanted is passed over.
        wanted: Names in the state dict of ``net`` that must be there.
        weights: What messages call the file.
        name: What messages call the classifier.
        source: What makes it, such as ``torchvision.models.resnet18``.

    Raises:
        ModelError: A tensor is missing or of another shape.
    """
    own = net.state_dict()
    shapes = {name: own[name].shape for name in wanted}
    missing = [name for name in shapes if name not in state]
    wrong = [name for name in shapes if name in state and state[name].shape != shapes[name]]
    if missing or wrong:
        named = f"missing {missing[0]}" if missing else f"shape of {wrong[0]} differs"
        raise ModelError(
            f"{weights} does not fit {name}: {named} "
            f"({len(missing)} missing, {len(wrong)} of another shape)",
            hint=f"the file must hold a {source} state dict",
        )
    net.load_state_dict({name: state[name] for name in shapes}, strict=False)
