"""Backbones, cut in two: a trunk to stride 16 and a region head that halves a region map."""

import re
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

from fdps.errors import MissingDataError, ModelError
from fdps.models.norms import statistics_kept


class Trunk(nn.Module):
    """Picture to feature map of stride 16.

    Args:
        stages: Applied in order.
        out_channels: Channels of the map.
        frozen_stages: Leading stages that get no gradient; norms of a frozen stage keep moving
            their statistics unless they are frozen themselves.

    Attributes:
        is_recomputed: Keep only what goes into each stage and compute its maps again in the
            backward pass: less memory, one more forward pass. May be changed.
    """

    def __init__(self, stages: list[nn.Module], out_channels: int, frozen_stages: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.out_channels = out_channels
        self.frozen_stages = min(frozen_stages, len(stages))
        self.is_recomputed = False
        for stage in stages[: self.frozen_stages]:
            stage.requires_grad_(requires_grad=False)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Compute features; H and W are multiples of 16."""
        return self.part(images, 0, len(self.stages))

    def part(
        self, maps: Float[Tensor, "B _ _ _"], first: int, last: int
    ) -> Float[Tensor, "B _ _ _"]:
        """Apply the stages from ``first`` up to ``last``, which does not belong to them.

        Args:
            maps: What goes into the first of them: pictures, or what the stage before returned.
            first: Number of a stage, from 0.
            last: Number of a stage, or of stages.
        """
        frozen = max(first, min(last, self.frozen_stages))
        with torch.no_grad():
            for stage in self.stages[first:frozen]:
                maps = stage(maps)
        for stage in self.stages[frozen:last]:
            if self.is_recomputed and torch.is_grad_enabled():
                maps = _kept_small(stage, maps)
            else:
                maps = stage(maps)
        return maps


class CpuFloat32(nn.Module):
    """Run a module in float32 where autocast would run it in bf16 on a CPU.

    Args:
        module: For example a strided depthwise convolution, whose bf16 gradient takes forty times
            as long as the float32 one (``benchmarks/cpu_operators.py``).
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """Apply the module; the dtype of ``x`` comes back."""
        if x.device.type != "cpu":
            return self.module(x)  # type: ignore[no-any-return]
        with torch.autocast("cpu", enabled=False):
            return self.module(x.float()).to(x.dtype)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Backbone:
    """The two halves of a classification network.

    Args:
        trunk: Picture to stride 16.
        region_head: Region map to region map of half the size.
        region_channels: Channels that the region head returns.
    """

    trunk: Trunk
    region_head: nn.Module
    region_channels: int


def build_backbone(name: str, *, weights: str, frozen_stages: int, norm: str) -> Backbone:
    """Cut a torchvision classifier into trunk and region head.

    Args:
        name: A key of :data:`BACKBONES`.
        weights: ``none``, ``imagenet`` (fetched by torchvision) or a safetensors file of the
            classifier's state dict.
        frozen_stages: Leading trunk stages without gradient; stage 1 is the first convolution.
        norm: ``train`` or ``sync`` for batch norms as they are, or ``frozen`` to fold every one
            into the convolution before it: its statistics and its shift stay as they are, its cost
            is gone, and the product of its scale and the convolution is trained.

    Raises:
        MissingDataError: The weights file does not exist.
        ModelError: The weights cannot be fetched, read or do not fit the backbone.
    """
    cut, default_weights = BACKBONES[name]
    classifier = getattr(torchvision.models, name)(weights=None)
    if weights != "none":
        state = _fetch(name, default_weights) if weights == "imagenet" else _read(Path(weights))
        _load(classifier, state, name, weights)
    if norm == "frozen":
        _fold_norms(classifier)
    _keep_strided_depthwise_fast(classifier)
    stages, region_head, trunk_channels, region_channels = cut(classifier)
    return Backbone(Trunk(stages, trunk_channels, frozen_stages), region_head, region_channels)


Cut = tuple[list[nn.Module], nn.Module, int, int]


def _cut_resnet(net: torchvision.models.ResNet) -> Cut:
    # The first ReLU works in place. It belongs to the stage that makes its input: what goes into a
    # stage has to stay as it is where the stage is computed twice. Identity keeps the names.
    stem = nn.Sequential(net.conv1, net.bn1, net.relu)
    rest = nn.Sequential(nn.Identity(), net.maxpool, net.layer1)
    trunk_channels = net.fc.in_features // 2
    return [stem, rest, net.layer2, net.layer3], net.layer4, trunk_channels, net.fc.in_features


def _cut_mobilenet_v2(net: torchvision.models.MobileNetV2) -> Cut:
    # Blocks 1-3 reach stride 4, 4-6 stride 8, 7-13 stride 16; block 14 would halve again.
    f = net.features
    return [f[0], f[1:4], f[4:7], f[7:14]], f[14:], 96, net.last_channel


BACKBONES = {
    "resnet50": (_cut_resnet, "IMAGENET1K_V1"),
    "resnet18": (_cut_resnet, "IMAGENET1K_V1"),
    "mobilenet_v2": (_cut_mobilenet_v2, "IMAGENET1K_V1"),
}
"""How each backbone is cut, and which torchvision weights ``imagenet`` means."""


def _fetch(name: str, weights: str) -> dict[str, Tensor]:
    entry = torchvision.models.get_model_weights(name)[weights]
    try:
        # Torchvision's files are pickles: their hash is checked, and only tensors are read.
        state: dict[str, Tensor] = entry.get_state_dict(check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"ImageNet weights of {name} could not be fetched: {error}",
            hint="on a machine with a network, save torchvision's state dict of "
            f"{name} with safetensors.torch.save_file and pass the file: "
            "--backbone-weights FILE; or start from noise: --backbone-weights none",
        ) from error
    return state


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise MissingDataError(
            f"no backbone weights at {path}", hint="give a safetensors file, imagenet or none"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is not a safetensors file: {error}",
            hint="pickled weights (.pth) are never loaded; convert them to safetensors",
        ) from error


def _load(net: nn.Module, state: dict[str, Tensor], name: str, weights: str) -> None:
    # The classifier behind the features is not used, nor are the norms' counters of batches.
    unused = re.compile(r"(fc|classifier)\.|.*\.num_batches_tracked$")
    wanted = {k: v.shape for k, v in net.state_dict().items() if not unused.match(k)}
    missing = [k for k in wanted if k not in state]
    wrong = [k for k in wanted if k in state and state[k].shape != wanted[k]]
    if missing or wrong:
        named = f"missing {missing[0]}" if missing else f"shape of {wrong[0]} differs"
        raise ModelError(
            f"{weights} does not fit {name}: {named} "
            f"({len(missing)} missing, {len(wrong)} of another shape)",
            hint=f"the file must hold a torchvision.models.{name} state dict",
        )
    net.load_state_dict({k: state[k] for k in wanted}, strict=False)


def _fold_norms(module: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, with its statistics as they are."""
    previous = ""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            conv = module.get_submodule(previous)
            assert isinstance(conv, nn.Conv2d), f"batch norm {name} follows {previous}"
            setattr(module, previous, fuse_conv_bn_eval(conv.eval(), child.eval()).train())
            setattr(module, name, nn.Identity())
        else:
            _fold_norms(child)
        previous = name


def _kept_small(stage: nn.Module, x: Tensor) -> Tensor:
    """Apply a stage without keeping its maps; its norms move their statistics once, not twice."""
    kept: Tensor = checkpoint(
        stage,
        x,
        use_reentrant=False,
        preserve_rng_state=False,  # a trunk draws nothing
        context_fn=lambda: (nullcontext(), statistics_kept(stage)),
    )
    return kept


def _keep_strided_depthwise_fast(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1:
            if child.stride != (1, 1):
                setattr(module, name, CpuFloat32(child))
        else:
            _keep_strided_depthwise_fast(child)
