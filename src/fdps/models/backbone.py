"""Backbones, cut in two: a trunk to stride 16 and a region head that halves a region map."""

import re
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fdps.errors import ModelError
from fdps.models.classifier import FETCHED, Cut, load_state, read_state
from fdps.models.norms import fold_norms, statistics_kept
from fdps.models.timm_backbone import PREFIX, cut_timm, is_transformer
from fdps.weights_file import describe_weights, weights_file


class Trunk(nn.Module):
    """Picture to feature map of stride 16.

    Args:
        stages: Applied in order. The first takes pictures and the last returns maps; what goes
            from one to the next is theirs to agree on.
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
        is_head_new: Whether no weights fit the region head, which then begins with random ones.
    """

    trunk: Trunk
    region_head: nn.Module
    region_channels: int
    is_head_new: bool = False


def build_backbone(name: str, *, weights: str, frozen_stages: int, norm: str) -> Backbone:
    """Cut a classifier of torchvision or timm into trunk and region head.

    Args:
        name: A key of :data:`BACKBONES`, or ``timm:`` and the name of a network of timm
            (:mod:`fdps.models.timm_backbone`).
        weights: ``none``, ``imagenet`` or ``pretrained`` (fetched by the library of the network), a
            safetensors file of the classifier's state dict, or a network of fdps: a weights file,
            a run folder or a name of bundled weights. Of a network of fdps the trunk is taken; its
            region head has learnt what one system asks of it, and a new one begins.
        frozen_stages: Leading trunk stages without gradient; stage 1 is the first convolution.
        norm: ``train`` or ``sync`` for batch norms as they are, or ``frozen`` to fold every one
            into the convolution before it: its statistics and its shift stay as they are, its cost
            is gone, and the product of its scale and the convolution is trained. Norms without
            statistics, such as layer norm, are the same under all three.

    Raises:
        MissingDataError: The weights file does not exist.
        ModelError: The weights cannot be fetched, read or do not fit the backbone; timm is not
            installed, or its network is unknown or cannot be cut.
    """
    trained = trained_network(weights)
    cut = cut_timm if name.startswith(PREFIX) else _cut_torchvision
    of_classifier = "none" if trained else weights
    stages, region_head, trunk_channels, region_channels = cut(name, of_classifier, norm)
    for part in (*stages, region_head):
        _keep_strided_depthwise_fast(part)
    trunk = Trunk(stages, trunk_channels, frozen_stages)
    if trained is not None:
        _take_trunk(trunk, trained, name)
    is_head_new = is_transformer(stages) or trained is not None
    return Backbone(trunk, region_head, region_channels, is_head_new)


def trained_network(weights: str) -> Path | None:
    """Find the weights file of a network of fdps that backbone weights mean.

    Args:
        weights: As for :func:`build_backbone`.

    Returns:
        ``None`` where they mean something else, or nothing that is there.
    """
    if weights in {"none", *FETCHED}:
        return None
    path = weights_file(weights)
    try:
        with safe_open(path, framework="np") as file:
            return path if "fdps" in (file.metadata() or {}) else None
    except (SafetensorError, OSError):
        return None


def _take_trunk(trunk: Trunk, path: Path, name: str) -> None:
    """Give a trunk the weights of a trained one."""
    described, prefix = describe_weights(path).model, "backbone."
    state = {
        key.removeprefix(prefix): tensor
        for key, tensor in read_state(path).items()
        if key.startswith(prefix)
    }
    own = trunk.state_dict()
    wanted = [key for key in own if not key.endswith("num_batches_tracked")]
    if any(key not in state or state[key].shape != own[key].shape for key in wanted):
        raise ModelError(
            f"the trunk of {path} is not that of {name}: it is of {described.backbone}, "
            f"norm = {described.norm!r}",
            hint="set model.backbone and model.norm as in the recipe that it was trained by",
        )
    trunk.load_state_dict(state, strict=False)


def _cut_torchvision(name: str, weights: str, norm: str) -> Cut:
    make_cut, default_weights = BACKBONES[name]
    classifier: nn.Module = getattr(torchvision.models, name)(weights=None)
    if weights != "none":
        fetched = weights in FETCHED
        state = _fetch(name, default_weights) if fetched else read_state(Path(weights))
        # The classifier behind the features is not used, nor are the norms' counters of batches.
        unused = re.compile(r"(fc|classifier)\.|.*\.num_batches_tracked$")
        wanted = [key for key in classifier.state_dict() if not unused.match(key)]
        source = f"torchvision.models.{name}"
        load_state(classifier, state, wanted, weights=weights, name=name, source=source)
    if norm == "frozen":
        fold_norms(classifier)
    return make_cut(classifier)


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
"""How each backbone of torchvision is cut, and which of its weights ``imagenet`` means."""


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


def _kept_small(stage: nn.Module, x: Any) -> Any:
    """Apply a stage without keeping its maps; its norms move their statistics once, not twice."""
    return checkpoint(
        stage,
        x,
        use_reentrant=False,
        preserve_rng_state=False,  # a trunk draws nothing
        context_fn=lambda: (nullcontext(), statistics_kept(stage)),
    )


def _keep_strided_depthwise_fast(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1:
            if child.stride != (1, 1):
                setattr(module, name, CpuFloat32(child))
        else:
            _keep_strided_depthwise_fast(child)
