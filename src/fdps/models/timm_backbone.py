"""Backbones of timm (https://github.com/huggingface/pytorch-image-models; the extra ``timm``).

Two layouts can be cut. Networks whose stages follow each other (ResNet, MobileNet, EfficientNet,
RegNet, ConvNeXt, Swin) say by themselves which module ends at which stride: the trunk ends where
stride 16 does, and the region head is what follows up to stride 32, as with torchvision's. A vision
transformer (ViT, DINOv2) has one stride throughout: all of it is the trunk, and the region head is
a module of ours.

Whether the two halves compute what the network of timm does is not believed but tried, on a small
picture, whenever one is built. Nothing here draws random numbers in training: dropout and
stochastic depth are off, so that a stage may be computed again.

Axes: B pictures or regions, C channels, h and w of a map, N tokens.
"""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import gcd
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from torchvision.ops import Permute

from fdps.errors import ModelError
from fdps.models.classifier import FETCHED, Cut, load_state, read_state
from fdps.models.norms import fold_norms
from fdps.models.timm_hub import fetch_timm

PREFIX = "timm:"
"""What the name of a backbone of timm begins with in a recipe."""

STRIDE = 16

OPTIONS: dict[str, dict[str, Any]] = {
    "swin_transformer": {"strict_img_size": False},
    "swin_transformer_v2": {"strict_img_size": False},
    "vision_transformer": {"dynamic_img_size": True},
    "deit": {"dynamic_img_size": True},
}
"""What networks of a module of timm need in order to take pictures of any size."""


def cut_timm(name: str, weights: str, norm: str) -> Cut:
    """Build a network of timm and cut it.

    Args:
        name: ``timm:`` and its name there, with or without the tag of its weights, such as
            ``timm:convnext_tiny.in12k_ft_in1k``.
        weights: ``none``, ``imagenet`` or ``pretrained`` (those that timm fetches for the name), or
            a safetensors file of the state dict of ``timm.create_model(name)``.
        norm: ``frozen`` to fold batch norms into convolutions; else they stay as they are.

    Raises:
        MissingDataError: The weights file does not exist.
        ModelError: timm is not installed, the network is unknown or cannot be cut, or its weights
            cannot be fetched, read or do not fit.
    """
    timm = _timm()
    network = name.removeprefix(PREFIX)
    net: Any = _create(timm, network, weights)
    layout = _layout(timm, net, network)
    if weights not in ("none", *FETCHED):
        parts = tuple(f"{part}." for part in layout.parts)
        wanted = [k for k in net.state_dict() if k.startswith(parts) or k in layout.parts]
        wanted = [k for k in wanted if not k.endswith(".num_batches_tracked")]
        source = f"timm.create_model({network!r})"
        state = read_state(Path(weights))
        load_state(net, state, wanted, weights=weights, name=network, source=source)
    _switch_off_chance(timm, net.eval())
    colours = _Recolour.between(timm.data, net.pretrained_cfg)
    try:
        expected = layout.maps(net, lambda: net.forward_features(colours(_small_picture())))
        if norm == "frozen":
            fold_norms(net)
        _part_norms(timm, net)
        cut = layout.cut(net, colours)
        _check(cut, layout, net, expected)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        AssertionError,
    ) as error:
        # A network that is built in another way may fail in any of these.
        raise _uncuttable(network, f"{type(error).__name__}: {error}") from error
    return cut


def _timm() -> ModuleType:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise ModelError(
            f"backbones of timm need the package timm: {error}", hint='pip install "fdps[timm]"'
        ) from error
    return timm


def _create(timm: ModuleType, name: str, weights: str) -> nn.Module:
    """Build the whole network, without its last linear layer."""
    known = name.partition(".")[0]
    if not timm.is_model(known):
        near = difflib.get_close_matches(known, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ModelError(
            f"timm {timm.__version__} has no network {known!r}",
            hint=f"{hint}timm.list_models() names all",
        )
    tags = timm.list_pretrained(f"{known}.*")
    if name != known and name not in tags:
        raise ModelError(
            f"timm {timm.__version__} has no weights {name}",
            hint=f"it has {', '.join(tags) or 'none'}; without a tag it is {known}",
        )
    family = timm.model_entrypoint(known).__module__.rpartition(".")[2]
    create = partial(timm.create_model, name, num_classes=0, **OPTIONS.get(family, {}))
    try:
        net: nn.Module = (
            fetch_timm(timm, name, create) if weights in FETCHED else create(pretrained=False)
        )
    except (RuntimeError, TypeError) as error:
        raise _uncuttable(name, f"timm does not build it: {error}") from error
    return net


def _uncuttable(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} cannot be cut into a trunk of stride {STRIDE} and a region head: {why}",
        hint="networks of timm that can be are those of the families ResNet, MobileNet, "
        "EfficientNet, RegNet, ConvNeXt, Swin and plain ViT",
    )


@dataclass(frozen=True)
class _Layout:
    """How to cut a network.

    Args:
        parts: Modules and parameters that the backbone consists of, by their names.
        ends: Modules that end the trunk and the region head; of a ViT there are none.
        cut: Cuts the network, whose norms may have changed by then.
    """

    parts: list[str]
    ends: tuple[str, ...]
    cut: Callable[[nn.Module, nn.Module], Cut]

    @torch.no_grad()
    def maps(self, net: nn.Module, run: Callable[[], object]) -> list[Tensor]:
        """Maps (B, C, h, w) that come out of the ends while something runs, if they are reached."""
        maps: list[Tensor] = []
        is_last_axis = getattr(net, "output_fmt", "NCHW") == "NHWC"

        def note(_module: nn.Module, _given: object, seen: Tensor) -> None:
            maps.append(seen.permute(0, 3, 1, 2) if is_last_axis else seen)

        hooks = [net.get_submodule(end).register_forward_hook(note) for end in self.ends]
        if hooks:
            run()
        for hook in hooks:
            hook.remove()
        return maps


def _layout(timm: ModuleType, net: nn.Module, name: str) -> _Layout:
    if isinstance(net, timm.models.VisionTransformer):
        if type(net.patch_embed) is not timm.layers.PatchEmbed:
            raise _uncuttable(name, "its patches come from another network")
        parts = [k for k, _ in (*net.named_children(), *net.named_parameters(recurse=False))]
        return _Layout([p for p in parts if p not in ("head", "attn_pool")], (), _cut_vit)
    features = getattr(net, "feature_info", [])
    ends = {int(f["reduction"]): f["module"] for f in features}
    if not {STRIDE, 2 * STRIDE} <= ends.keys():
        raise _uncuttable(name, f"its features have the strides {sorted(ends) or 'unknown'}")
    inner = [f["module"] for f in features]
    names = [k for k, _ in _sequence(net, inner)]
    if not set(inner) <= set(names):
        raise _uncuttable(name, f"{inner[0]} and the like are not modules in a sequence")
    names = names[: names.index(ends[2 * STRIDE]) + 1]
    last_norm = _last_norm(net)
    parts = [*names, last_norm] if last_norm else names
    both = ends[STRIDE], ends[2 * STRIDE]
    return _Layout(parts, both, partial(_cut_sequence, timm, names=names, last_norm=last_norm))


# Networks whose stages follow each other.


def _sequence(
    net: nn.Module, inner: list[str], prefix: str = ""
) -> Iterator[tuple[str, nn.Module]]:
    """Modules in their order; sequences are taken apart where one of ``inner`` is inside."""
    for name, child in net.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, nn.Sequential) and any(f.startswith(f"{path}.") for f in inner):
            yield from _sequence(child, inner, f"{path}.")
        else:
            yield path, child


def _last_norm(net: nn.Module) -> str:
    """Name of the layer norm between the last stage and the classifier, if there is one."""
    named = dict(net.named_modules())
    names = ("norm", "fc_norm", "head.norm")
    return next((name for name in names if isinstance(named.get(name), nn.LayerNorm)), "")


def _cut_sequence(
    timm: ModuleType, net: nn.Module, colours: nn.Module, *, names: list[str], last_norm: str
) -> Cut:
    features: list[dict[str, Any]] = net.feature_info  # type: ignore[assignment]
    info = {f["module"]: f for f in features}
    # A stage ends where a stride does. The stem is one, if it has no features of its own to tell.
    first = features[0]
    begins = [first["module"]] if first["reduction"] >= 4 else []
    ends = [name for name, f in info.items() if f["reduction"] <= STRIDE]
    groups: list[list[nn.Module]] = [[colours]]
    for i, name in enumerate(names):
        if name in begins or (i and names[i - 1] in ends):
            groups.append([])
        groups[-1].append(net.get_submodule(name))
    *stages, region_head = groups
    channels, region_channels = (int(info[name]["num_chs"]) for name in (ends[-1], names[-1]))
    has_layer_norm = any(isinstance(m, nn.LayerNorm) for s in stages[-1] for m in s.modules())
    is_last_axis = getattr(net, "output_fmt", "NCHW") == "NHWC"
    if last_norm:
        region_head.append(net.get_submodule(last_norm))
    if is_last_axis:
        stages[-1].append(Permute([0, 3, 1, 2]))
        region_head = [Permute([0, 2, 3, 1]), *region_head, Permute([0, 3, 1, 2])]
    if has_layer_norm:
        # The maps of such networks are sums of ever more terms, of any size: each stage norms them
        # when it reads them. Published detectors put a norm before whatever else reads them.
        stages[-1].append(timm.layers.LayerNorm2d(channels))
    head = nn.Sequential(*region_head).eval()
    side = _side_after(head, next(net.parameters()).new_zeros(1, channels, 3, 3))
    if side not in (1, 2):
        raise ValueError(f"its last stage makes {side} of 3 positions")
    takes_none = _side_after(head, next(net.parameters()).new_zeros(0, channels, 4, 4)) == 2
    return (
        [nn.Sequential(*stage) for stage in stages],
        _RegionStage(head, is_evened=side == 1, takes_none=takes_none),
        channels,
        region_channels,
    )


@torch.no_grad()
def _side_after(head: nn.Module, regions: Tensor) -> int:
    """Side of the maps that come out; 0 if the head refuses."""
    try:
        return int(head(regions).shape[-1])
    except RuntimeError:
        return 0


class _RegionStage(nn.Module):
    """The last stage of a network, on regions.

    Args:
        stage: Halves a map.
        is_evened: The stage drops the last row of an odd number of rows. What the heads expect is
            half, rounded up, so the row is given twice; likewise the column.
        takes_none: Whether it can look at no regions at all.
    """

    def __init__(self, stage: nn.Module, *, is_evened: bool, takes_none: bool) -> None:
        super().__init__()
        self.stage, self.is_evened, self.takes_none = stage, is_evened, takes_none

    def forward(self, regions: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D _ _"]:
        """Halve region maps, rounding up."""
        if not (len(regions) or self.takes_none):
            return self(regions.new_zeros(1, *regions.shape[1:]))[:0]  # type: ignore[no-any-return]
        if self.is_evened:
            # By hand: the gradient of torch's padding is not deterministic on a GPU.
            for axis in (2, 3):
                if regions.shape[axis] % 2:
                    last = regions.narrow(axis, regions.shape[axis] - 1, 1)
                    regions = torch.cat([regions, last], axis)
        return self.stage(regions)  # type: ignore[no-any-return]


# Vision transformers.


class Tokens(NamedTuple):
    """What goes through a vision transformer: class and register tokens, then a map row by row."""

    tokens: Float[Tensor, "B N C"]
    height: int
    width: int


class _PatchTokens(nn.Module):
    """Picture to tokens: patches, positions, class and register tokens.

    Args:
        colours: Applied to the picture.
        vit: A vision transformer of timm without blocks and norms.
    """

    def __init__(self, colours: nn.Module, vit: nn.Module) -> None:
        super().__init__()
        self.colours, self.vit = colours, vit

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Tokens:
        """Cut the picture into patches of 16 × 16."""
        height, width = (side // STRIDE for side in images.shape[-2:])
        tokens = self.vit.forward_features(self.colours(images))  # type: ignore[operator]
        return Tokens(tokens, height, width)


class _TokenBlocks(nn.Module):
    """Some blocks of a vision transformer."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, x: Tokens) -> Tokens:
        """Apply the blocks."""
        return x._replace(tokens=self.blocks(x.tokens))


class _LastTokenBlocks(nn.Module):
    """The last blocks and the norm of a vision transformer; the patches become a map again."""

    def __init__(self, blocks: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.blocks, self.norm = blocks, norm

    def forward(self, x: Tokens) -> Float[Tensor, "B C h w"]:
        """Apply the blocks and leave class and register tokens behind."""
        tokens = self.norm(self.blocks(x.tokens))[:, -x.height * x.width :]
        return tokens.transpose(1, 2).unflatten(2, (x.height, x.width))  # type: ignore[no-any-return]


def is_transformer(stages: list[nn.Module]) -> bool:
    """Tell whether a trunk is a whole vision transformer, whose region head is a module of ours."""
    return isinstance(stages[0], _PatchTokens)


def _cut_vit(net: Any, colours: nn.Module) -> Cut:
    # DINOv2 has patches of 14 × 14. Its kernels are resampled to 16 × 16, so that a kernel says of
    # a patch what the old one said of it at 14 × 14 (FlexiViT, Beyer et al., CVPR 2023, eq. 6):
    # the stride is 16 and the picture stays as it is, where resizing it would cost a pass over it
    # and put the map beside the pixels that the boxes are given in. The grid of the positions stays
    # the one that was learnt; it is interpolated to that of each batch.
    rows, columns = net.patch_embed.grid_size
    net.set_input_size(img_size=(rows * STRIDE, columns * STRIDE), patch_size=(STRIDE, STRIDE))
    blocks, channels = [*net.blocks], int(net.embed_dim)
    norm = net.get_submodule(_last_norm(net) or "norm")
    for name in ("norm", "fc_norm", "attn_pool", "head", "head_drop"):
        setattr(net, name, nn.Identity())
    net.blocks = nn.Sequential()
    # Four stages, as all backbones have: patches, and thirds of the blocks.
    a, b = len(blocks) // 3, 2 * len(blocks) // 3
    stages = [
        _PatchTokens(colours, net),
        _TokenBlocks(nn.Sequential(*blocks[:a])),
        _TokenBlocks(nn.Sequential(*blocks[a:b])),
        _LastTokenBlocks(nn.Sequential(*blocks[b:]), norm),
    ]
    return stages, _halving_head(channels), channels, 2 * channels


def _halving_head(channels: int) -> nn.Module:
    """Build a region head for a trunk that has no stage of stride 32.

    Two bottlenecks, as ResNet's last stage begins with, of which the first halves the map and
    doubles the channels. They are not pretrained, so that statistics of theirs could not be frozen;
    group norm (Wu and He, ECCV 2018) needs none, and no region depends on another. Blocks of the
    transformer itself would be pretrained, but compare all pairs of positions in each of hundreds
    of regions and halve nothing.

    Args:
        channels: C; the head returns 2 C.
    """

    def norm(width: int) -> nn.Module:
        return nn.GroupNorm(gcd(32, width), width)

    doubled, width = 2 * channels, channels // 2
    shortcut = nn.Sequential(nn.Conv2d(channels, doubled, 1, 2, bias=False), norm(doubled))
    head = nn.Sequential(
        Bottleneck(channels, width, stride=2, downsample=shortcut, norm_layer=norm),
        Bottleneck(doubled, width, norm_layer=norm),
    )
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return head


# What all of them need.


class _Recolour(nn.Module):
    """From the mean and deviation that pictures were normalised by to those that a network knows.

    They are kept with the weights, because another version of timm may know others.

    Args:
        scale: Of red, green and blue.
        shift: Added afterwards.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Float[Tensor, "3"], shift: Float[Tensor, "3"]) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    @classmethod
    def between(cls, data: ModuleType, described: dict[str, Any]) -> "_Recolour":
        """From those of ImageNet to those of timm's description of a network."""
        given = torch.tensor([data.IMAGENET_DEFAULT_MEAN, data.IMAGENET_DEFAULT_STD])
        own = torch.tensor([described["mean"], described["std"]])
        return cls(given[1] / own[1], (given[0] - own[0]) / own[1])

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Scale and shift the colours."""
        return images * self.scale[:, None, None] + self.shift[:, None, None]


def _switch_off_chance(timm: ModuleType, net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, timm.layers.DropPath):
            module.drop_prob = 0.0


def _part_norms(timm: ModuleType, module: nn.Module) -> None:
    """Replace norms with an activation inside by a plain norm and an activation.

    What replaces batch norms further on, by those of all processes, knows plain ones.
    """
    for name, child in module.named_children():
        if isinstance(child, timm.layers.BatchNormAct2d):
            plain = nn.BatchNorm2d(
                child.num_features, child.eps, child.momentum, affine=child.affine
            )
            for own in child.state_dict():
                setattr(plain, own, getattr(child, own))
            setattr(module, name, nn.Sequential(plain, child.act))
        else:
            _part_norms(timm, child)


def _small_picture() -> Float[Tensor, "1 3 64 96"]:
    return torch.linspace(-60, 60, 3 * 64 * 96).reshape(1, 3, 64, 96).sin()


def _check(cut: Cut, layout: _Layout, net: nn.Module, expected: list[Tensor]) -> None:
    """Compare both halves, up to the norms at their ends, with the network that was cut.

    Raises:
        ValueError: They are not the same.
    """
    trunk, head = nn.Sequential(*cut[0]).eval(), cut[1].eval()
    if len(expected) != len(layout.ends):
        raise ValueError("it does not come through its own stages")
    for i, half in enumerate((trunk, head)[: len(expected)]):
        given = expected[0] if i else _small_picture()
        got = layout.maps(net, partial(half, given))
        if len(got) != 1 or got[0].shape != expected[i].shape:
            raise ValueError("its stages do not follow each other")
        if not (expected[i].is_meta or _are_close(got[0], expected[i])):
            raise ValueError("its stages do more than to follow each other")
    trunk.train()
    head.train()


def _are_close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))
