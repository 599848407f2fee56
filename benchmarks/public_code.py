"""Weights for networks of public code, for ``public_checkpoints.py``.

:mod:`fdps.bench.public` builds these networks, as ``fdps bench --against`` does. What stands here
are weights with which a network that was never trained looks at people as a trained one does.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdps.bench import public

N_PERSONS, QUEUE, BACKGROUND = 30, 40, 50
NORMS = nn.BatchNorm1d | nn.BatchNorm2d
UNLABELLED = 5555  # as the public code calls people without identity


def build(system: str, checkout: Path) -> Any:
    """Build a network by its own code, with random weights."""
    net = public.build(system, checkout, memory=public.Memory(N_PERSONS, QUEUE, BACKGROUND))
    for name in [*vars(net)]:
        if name.startswith("lw_"):
            setattr(net, name, 1.0)  # losses as they are; what a recipe weighs is not compared
    return net


def wear_in(net: Any, pictures: list[Tensor], *, regressor_std: float) -> None:
    """Give norms the statistics of frames, heads weights that tell regions apart, and a memory.

    Args:
        net: Of :func:`build`.
        pictures: Frames whose statistics the norms take.
        regressor_std: Of the weights with which SeqNet's first stage moves boxes, which no norm
            follows. Layers begin with 0.013 there, so that the random features of a network that
            was never trained would move boxes by a third of their width.
    """
    generator = torch.Generator().manual_seed(1)
    remember(net, generator)
    bias(net, generator)
    for projector in net.roi_heads.embedding_head.projectors.values():
        projector[1].weight.data.mul_(10)  # as long as the bias, or all lengths are nearly equal
    first = getattr(net.roi_heads, "faster_rcnn_predictor", None)
    if first is not None:
        first.cls_score.weight.data.mul_(0.1)  # or random weights find nobody
        first.cls_score.bias.data.copy_(torch.tensor([0.0, 0.5]))
        drawn = torch.randn(first.bbox_pred.weight.shape, generator=generator)
        first.bbox_pred.weight.data.copy_(drawn * regressor_std)
    take_statistics(net, pictures)  # last, so that they are those of all that goes before
    net.eval()


def remember(net: Any, generator: torch.Generator) -> None:
    """Fill the memory of the loss."""
    for name, buffer in net.named_buffers():
        if name.split(".")[-1] in ("lut", "cq", "cqb"):
            buffer.copy_(normalize(torch.randn(buffer.shape, generator=generator), dim=1))
        elif name.endswith("_omega"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator))


def bias(net: Any, generator: torch.Generator) -> None:
    """Move all biases away from zero."""
    norms = [layer for layer in net.modules() if isinstance(layer, NORMS)]
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in (*norms, *layers):
        if layer.bias is not None:
            layer.bias.data.copy_(torch.randn(layer.bias.shape, generator=generator) * 0.1)


def take_statistics(net: Any, pictures: list[Tensor]) -> None:
    """Give norms the statistics of small pictures."""
    norms = [layer for layer in net.modules() if isinstance(layer, NORMS)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    sizes = net.transform.min_size, net.transform.max_size
    net.transform.min_size, net.transform.max_size = (240,), 400
    people = torch.tensor([[20.0, 30, 80, 200], [200, 100, 260, 300]])
    targets = [{"boxes": people, "labels": torch.tensor([1, 2])} for _ in pictures]
    with torch.no_grad():
        net.train()(pictures, targets)
    net.transform.min_size, net.transform.max_size = sizes
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def embed(net: Any, image: Tensor, boxes: Tensor) -> Tensor:
    """Embed given people as the public code embeds queries."""
    targets = [{"boxes": boxes}]
    with torch.inference_mode():
        rows = net.ex_feat([image], targets) if hasattr(net, "ex_feat") else net([image], targets)
    return torch.cat([*rows])
