"""Networks built by the public code of a checkout, for ``public_checkpoints.py``.

None of that code is here: it is imported from where its user has it. What stands here is what the
older of it needs to run under today's Python, and weights with which a network that was never
trained looks at people as a trained one does.
"""

import builtins
import importlib
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

N_PERSONS, QUEUE, BACKGROUND = 30, 40, 50
NORMS = nn.BatchNorm1d | nn.BatchNorm2d
UNLABELLED = 5555  # as the public code calls people without identity


def build(system: str, checkout: Path) -> Any:
    """Build a network by its own code, with random weights."""
    return BUILDERS[system](checkout)


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


@contextmanager
def as_in_python_2() -> Iterator[None]:
    """Let ``map`` return lists, which the older code counts on."""
    lazy = builtins.map
    builtins.map = lambda *arguments: [*lazy(*arguments)]  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        builtins.map = lazy


def whole_linear(n_in: float, n_out: float, **options: Any) -> nn.Linear:
    """Build a linear layer of sizes that an older division made."""
    return nn.Linear(int(n_in), int(n_out), **options)


def whole_convolution(n_in: float, n_out: float, **options: Any) -> nn.Conv2d:
    """Likewise a convolution."""
    return nn.Conv2d(int(n_in), int(n_out), **options)


def whole_norm(n: float, **options: Any) -> nn.BatchNorm1d:
    """Likewise a norm of vectors."""
    return nn.BatchNorm1d(int(n), **options)


def whole_norm_of_maps(n: float, **options: Any) -> nn.BatchNorm2d:
    """Likewise a norm of maps."""
    return nn.BatchNorm2d(int(n), **options)


def without_download(module: types.ModuleType) -> None:
    """Begin from random weights, as there is nothing to fetch."""
    import torchvision

    made = torchvision.models.resnet50
    torchvision.models.resnet.__dict__["resnet50"] = lambda *a, **k: made(weights=None)


def build_seqnet(checkout: Path) -> nn.Module:
    """Build SeqNet by its own code."""
    sys.path.insert(0, str(checkout))
    config = importlib.import_module("defaults").get_default_cfg()
    config.MODEL.LOSS.LUT_SIZE, config.MODEL.LOSS.CQ_SIZE = N_PERSONS, QUEUE
    without_download(importlib.import_module("models.resnet"))
    net = importlib.import_module("models.seqnet").SeqNet(config)
    for name in [*vars(net)]:
        if name.startswith("lw_"):
            setattr(net, name, 1.0)  # losses as they are; what a recipe weighs is not compared
    return net  # type: ignore[no-any-return]


def older(checkout: Path, module: str) -> Any:
    """Import a network of the older code, whose sizes are fractions now."""
    sys.path.insert(0, str(checkout))
    sys.modules.setdefault("cPickle", pickle)  # as Python 2 called it
    sys.modules.setdefault("huepy", types.ModuleType("huepy"))  # colours of messages
    loaded = importlib.import_module(module)
    loaded.nn = types.SimpleNamespace(**vars(nn))
    loaded.nn.Linear, loaded.nn.Conv2d = whole_linear, whole_convolution
    loaded.nn.BatchNorm1d, loaded.nn.BatchNorm2d = whole_norm, whole_norm_of_maps
    return loaded


def build_nae(checkout: Path) -> nn.Module:
    """Build NAE by its own code."""
    with as_in_python_2():
        code = older(checkout, "lib.model.faster_rcnn_norm_aware")
        backbone, head = backbone_of(code)
        embedding = code.NormAwareEmbeddingProj(["feat_res4", "feat_res5"], [1024, 2048], 256)
        loss = code.OIMLoss(256, N_PERSONS, QUEUE, 0.5, 30.0)
        return together(code, code.FasterRCNN_NormAware, backbone, head, embedding, loss)


def build_nae_plus(checkout: Path) -> nn.Module:
    """Build NAE+ by its own code, with the options that were published."""
    with as_in_python_2():
        regions = older(checkout, "lib.model.faster_rcnn_norm_aware")
        code = older(checkout, "lib.model.faster_rcnn_pixel_wise_norm_aware")
        backbone, head = backbone_of(code, GAP=False)
        maps = ["feat_res4", "feat_res5"]
        embedding = code.PixelWiseNormAwareEmbeddingProj(maps, [1024, 2048], 256)
        loss = regions.OIMLoss(256, N_PERSONS, QUEUE, 0.5, 30.0)
        net = together(regions, code.FasterRCNN_NormAware_PW, backbone, head, embedding, loss)
        net.roi_heads.focal, net.roi_heads.alpha_d, net.roi_heads.gamma_d = False, 0.25, 2.0
        return net


def build_hoim(checkout: Path) -> nn.Module:
    """Build HOIM by its own code."""
    with as_in_python_2():
        code = older(checkout, "lib.model.faster_rcnn_hoim")
        backbone, head = backbone_of(code)
        embedding = code.ReIDEmbeddingProj(["feat_res4", "feat_res5"], [1024, 2048], 256)
        loss = code.HOIMLoss(256, N_PERSONS, QUEUE, BACKGROUND, 0.5, 30.0)
        return together(code, code.FasterRCNN_HOIM, backbone, head, embedding, loss)


def backbone_of(code: Any, **options: bool) -> tuple[nn.Module, nn.Module]:
    """Build trunk and region head of the older code."""
    without_download(code)
    backbone, head = code.resnet_backbone("resnet50", False, **options)
    return backbone, head


def together(
    code: Any,
    network: Any,
    backbone: nn.Module,
    head: nn.Module,
    embedding: nn.Module,
    loss: nn.Module,
) -> Any:
    """Put the parts of an older network together."""
    net = network(
        backbone,
        feat_head=head,
        box_predictor=code.CoordRegressor(2048, 2),
        embedding_head=embedding,
        reid_loss=loss,
        box_score_thresh=0.5,
    )
    net.roi_heads.has_keypoint = False  # an attribute then, and a method today
    return net


BUILDERS = {
    "SeqNet": build_seqnet,
    "NAE": build_nae,
    "NAE+": build_nae_plus,
    "HOIM": build_hoim,
}
