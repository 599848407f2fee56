import copy
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate
from torch.utils.flop_counter import FlopCounterMode

from fake.network import write_network
from fake.tiny import CONFIG, LOSS, N_PERSONS, picture, target, tiny_criterion, tiny_network
from fdps.cli.main import main
from fdps.config import ModelConfig
from fdps.errors import ConfigError, MissingDataError, ModelError
from fdps.models.backbone import Backbone, Trunk, build_backbone
from fdps.models.norms import SyncedBatchNorm, sync_norms
from fdps.models.systems.system import IMAGENET_MEAN, IMAGENET_STD
from fdps.models.weights import load_weights, save_weights

timm = pytest.importorskip("timm", reason="the extra timm is not installed")

CONVOLUTIONS = ["resnet18", "mobilenetv3_small_050"]
CONVNEXT, SWIN = "convnext_atto", "swin_tiny_patch4_window7_224"
VIT, DINO = "vit_tiny_patch16_224", "vit_small_patch14_dinov2"
FAMILIES = [*CONVOLUTIONS, CONVNEXT, SWIN, VIT, DINO]
PICTURE = torch.linspace(-2, 2, 3 * 64 * 96).reshape(1, 3, 64, 96).sin()
SQUARE = torch.linspace(-2, 2, 3 * 224 * 224).reshape(1, 3, 224, 224).sin()
"""Of the size that transformers of timm expect."""

REDUCED: dict[str, dict[str, Any]] = {
    SWIN: {"embed_dim": 48, "depths": (2, 2, 2, 2)},
    VIT: {"depth": 3},
    DINO: {"depth": 3, "embed_dim": 192, "num_heads": 3},
}
"""Changes that keep the layout and take a tenth of the time."""


@pytest.fixture(scope="module", autouse=True)
def _reduced() -> Iterator[None]:
    create = timm.create_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", lambda n, **k: create(n, **(REDUCED.get(n, {}) | k)))
        yield


@cache
def network(name: str) -> nn.Module:
    """A whole network of timm that remembers something, in evaluation mode."""
    net = timm.create_model(name)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return net.eval()


def write(net: nn.Module, path: Path, **change: Tensor | None) -> str:
    state = dict(net.state_dict()) | change
    save_file({k: v.contiguous() for k, v in state.items() if v is not None}, path)
    return str(path)


def build(
    name: str, *, weights: str = "none", frozen_stages: int = 0, norm: str = "train"
) -> Backbone:
    return build_backbone(f"timm:{name}", weights=weights, frozen_stages=frozen_stages, norm=norm)


@cache
def built(name: str) -> Backbone:
    """Not to be changed."""
    return build(name)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_cut_is_at_stride_16(family: str) -> None:
    trunk = built(family).trunk
    for height, width in ((64, 96), (48, 176)):
        with torch.no_grad():
            features = trunk(torch.zeros(2, 3, height, width))
        assert features.shape == (2, trunk.out_channels, height // 16, width // 16)


def test_every_trunk_has_four_stages(family: str) -> None:
    assert len(built(family).trunk.stages) == 4


@pytest.mark.parametrize("size", [(14, 14), (13, 7), (8, 3), (1, 1)])
def test_the_region_head_halves_and_rounds_up(family: str, size: tuple[int, int]) -> None:
    backbone = built(family)
    regions = torch.randn(3, backbone.trunk.out_channels, *size)
    with torch.no_grad():
        halved = backbone.region_head.eval()(regions)
        nobody = backbone.region_head(regions[:0])
    expected = (backbone.region_channels, (size[0] + 1) // 2, (size[1] + 1) // 2)
    assert halved.shape == (3, *expected)
    assert nobody.shape == (0, *expected)


@pytest.mark.parametrize("name", [CONVNEXT, SWIN])
def test_the_last_row_of_an_odd_map_is_seen(name: str) -> None:
    head = built(name).region_head.eval()
    regions = torch.randn(1, built(name).trunk.out_channels, 5, 5)
    other = regions.clone()
    other[:, :, 4] += torch.randn_like(other[:, :, 4])
    with torch.no_grad():
        assert not torch.allclose(head(regions)[:, :, 2], head(other)[:, :, 2])


def halves(net: nn.Module, image: Tensor = PICTURE) -> tuple[Tensor, Tensor]:
    """What a whole network computes at stride 16 and 32."""
    with torch.no_grad():
        maps = net.forward_intermediates(image, intermediates_only=True)
    return maps[-2], maps[-1]


@pytest.mark.parametrize("norm", ["train", "frozen", "sync"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_both_halves_are_those_of_the_network(name: str, norm: str, tmp_path: Path) -> None:
    backbone = build(name, weights=write(network(name), tmp_path / "w"), norm=norm)
    both = nn.Sequential(backbone.trunk, backbone.region_head)
    if norm == "sync":
        sync_norms(both)
        assert any(isinstance(m, SyncedBatchNorm) for m in both.modules())
    kinds = {type(m) for m in both.modules() if isinstance(m, nn.BatchNorm2d)}
    assert kinds == ({nn.BatchNorm2d} if norm == "train" else set())
    both.train(norm == "frozen")
    with torch.no_grad():
        middle = backbone.trunk(PICTURE)
        last = backbone.region_head(middle)
    for got, expected in zip((middle, last), halves(network(name)), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [CONVNEXT, SWIN])
def test_both_halves_are_those_of_the_network_but_for_norms_at_their_ends(
    name: str, tmp_path: Path
) -> None:
    net = network(name)
    backbone = build(name, weights=write(net, tmp_path / "w"))
    *inner, norm = backbone.trunk.stages[-1]
    assert isinstance(norm, nn.LayerNorm)
    backbone.trunk.stages[-1] = nn.Sequential(*inner)
    middle, last = halves(net, SQUARE)
    with torch.no_grad():
        if name == SWIN:
            last = net.norm(last.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        else:
            last = net.head.norm(last)
        torch.testing.assert_close(backbone.trunk(SQUARE), middle, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(backbone.region_head(middle), last, rtol=1e-4, atol=1e-4)
        normed = norm(middle)
    torch.testing.assert_close(normed.mean(dim=1), torch.zeros(1, 14, 14), rtol=0, atol=1e-5)
    torch.testing.assert_close(normed.var(dim=1), torch.ones(1, 14, 14), rtol=0.02, atol=0)


def test_a_vit_with_patches_of_16_is_a_trunk_as_it_is(tmp_path: Path) -> None:
    net = network(VIT)
    backbone = build(VIT, weights=write(net, tmp_path / "w"))
    with torch.no_grad():
        # This one was trained on colours in -1..1.
        given = torch.stack([(w * s + m - 0.5) / 0.5 for w, m, s in colours(SQUARE[0])])[None]
        tokens = net.forward_features(given)[:, 1:]
        expected = tokens.transpose(1, 2).reshape(1, 192, 14, 14)
        torch.testing.assert_close(backbone.trunk(SQUARE), expected, rtol=1e-4, atol=1e-4)


def colours(image: Tensor) -> list[tuple[Tensor, float, float]]:
    return list(zip(image, IMAGENET_MEAN, IMAGENET_STD, strict=True))


def test_what_others_normalise_by_is_kept_with_the_weights() -> None:
    state = built(VIT).trunk.state_dict()
    assert torch.allclose(state["stages.0.colours.scale"] * 0.5, torch.tensor(IMAGENET_STD))
    state = built("resnet18").trunk.state_dict()
    assert state["stages.0.0.scale"].tolist() == [1, 1, 1]
    assert state["stages.0.0.shift"].tolist() == [0, 0, 0]


def test_patches_of_14_become_those_of_16_that_see_the_same(tmp_path: Path) -> None:
    net = network(DINO)
    trunk = build(DINO, weights=write(net, tmp_path / "w")).trunk
    state = trunk.state_dict()
    patches = torch.randn(20, 3, 14, 14)
    enlarged = interpolate(patches, size=(16, 16), mode="bicubic", antialias=True)
    expected = conv2d(patches, net.patch_embed.proj.weight, net.patch_embed.proj.bias)
    got = conv2d(
        enlarged,
        state["stages.0.vit.patch_embed.proj.weight"],
        state["stages.0.vit.patch_embed.proj.bias"],
    )
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    # Positions stay as they were learnt, for a grid of 37 × 37 behind the class token.
    assert torch.equal(state["stages.0.vit.pos_embed"], net.pos_embed)
    assert net.pos_embed.shape == (1, 1 + 37 * 37, 192)


def test_positions_make_equal_patches_differ() -> None:
    with torch.no_grad():
        features = built(DINO).trunk(torch.ones(1, 3, 64, 96))
    assert not torch.allclose(features[..., 0, 0], features[..., 3, 5])


@pytest.mark.parametrize("frozen_stages", [0, 1, 4])
def test_frozen_stages_get_no_gradient(family: str, frozen_stages: int) -> None:
    backbone = build(family, frozen_stages=frozen_stages)
    backbone.trunk.train()
    out = backbone.trunk(PICTURE.repeat(2, 1, 1, 1))
    backbone.region_head.train()(out).square().mean().backward()
    assert out.requires_grad == (frozen_stages < 4)
    for i, stage in enumerate(backbone.trunk.stages):
        learns = i >= frozen_stages
        assert all(p.requires_grad == learns for p in stage.parameters())
        assert all((p.grad is not None) == learns for p in stage.parameters())
    assert all(p.grad is not None for p in backbone.region_head.parameters())


@pytest.mark.parametrize("name", [CONVNEXT, SWIN, VIT])
def test_nothing_is_drawn_in_training(name: str) -> None:
    trunk = built(name).trunk.train()
    state = torch.random.get_rng_state()
    with torch.no_grad():
        assert torch.equal(trunk(PICTURE), trunk(PICTURE))
    assert torch.equal(torch.random.get_rng_state(), state)


def learn(trunk: Trunk, *, is_recomputed: bool, dtype: torch.dtype) -> dict[str, Tensor]:
    """Output, gradients and statistics of a step of a copy."""
    copied = copy.deepcopy(trunk).train()
    copied.is_recomputed = is_recomputed
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        out = copied(PICTURE.repeat(2, 1, 1, 1))
    out.float().square().mean().backward()
    found = {f"d {name}": p.grad for name, p in copied.named_parameters() if p.grad is not None}
    return {"out": out.detach(), **found, **dict(copied.named_buffers())}


@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [*CONVOLUTIONS, CONVNEXT, SWIN, VIT])
def test_a_trunk_that_computes_its_maps_again_learns_the_same_bits(
    name: str, dtype: torch.dtype
) -> None:
    trunk = build(name, frozen_stages=1).trunk
    kept = learn(trunk, is_recomputed=False, dtype=dtype)
    again = learn(trunk, is_recomputed=True, dtype=dtype)
    assert again.keys() == kept.keys()
    for key, value in kept.items():
        assert torch.equal(again[key], value), key


@pytest.mark.long
@pytest.mark.parametrize("name", [CONVNEXT, VIT])
def test_norms_without_statistics_are_the_same_whatever_the_recipe_says(name: str) -> None:
    states = []
    for norm in ("train", "frozen", "sync"):
        torch.manual_seed(0)
        backbone = build(name, norm=norm)
        both = nn.Sequential(backbone.trunk, backbone.region_head)
        if norm == "sync":
            sync_norms(both)
        states.append(both.state_dict())
    for state in states[1:]:
        assert all(torch.equal(value, states[0][key]) for key, value in state.items())


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "norm"),
    [*((name, "train") for name in FAMILIES), *((name, "frozen") for name in CONVOLUTIONS)],
)
def test_a_network_learns_detects_and_is_read_again(
    family: str, norm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = f"timm:{family}"
    net = tiny_network(backbone=backbone, norm=norm, frozen_stages=4 if family == DINO else 1)
    criterion = tiny_criterion()
    net.train()
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1e-4)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    targets = [target((5, 5, 30, 60, 0), (40, 8, 70, 55, 1)), target()]
    out = net([picture(), picture()], targets, criterion)
    torch.stack([loss.value for loss in out.losses.values()]).sum().backward()
    optimizer.step()
    criterion.update(*out.people)
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert any(name.startswith("backbone.stages.3.") for name in moved) == (family != DINO)
    assert not any(name.startswith("backbone.stages.0.") for name in moved)

    config = replace(CONFIG, backbone=backbone, norm=norm, backbone_weights="pretrained")
    save_weights(net, config, LOSS, N_PERSONS, tmp_path / "w")
    monkeypatch.setattr("fdps.models.timm_backbone.fetch_timm", None)  # nothing is fetched
    read, _ = load_weights(tmp_path / "w")
    image = picture()
    (ours,), (theirs,) = net.eval().detect([image]), read.detect([image])
    assert len(ours["boxes"]) > 0
    assert ours["embeddings"].isfinite().all()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_two_stages_and_both_maps_take_such_a_backbone() -> None:
    change = {"stages": "two", "person_score": "norm", "reid_features": "res4+res5"}
    (found,) = tiny_network(backbone=f"timm:{CONVNEXT}", **change).detect([picture()])
    assert found["embeddings"].shape[1] == 16


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", VIT])
def test_the_classifier_itself_may_be_absent(name: str, tmp_path: Path) -> None:
    net = network(name)
    unused = [k for k in net.state_dict() if k.startswith(("classifier.", "conv_head.", "head."))]
    unused += [k for k in net.state_dict() if k.endswith("num_batches_tracked")]
    backbone = build(name, weights=write(net, tmp_path / "w", **dict.fromkeys(unused)))
    assert torch.equal(next(backbone.trunk.parameters()), next(net.parameters()))


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("resnet18", "layer4.1.bn2.bias", None, r"missing layer4.1.bn2.bias \(1 missing, 0 of"),
        (CONVNEXT, "stem.0.weight", torch.zeros(40, 3, 2, 2), r"shape of stem.0.weight differs"),
        (VIT, "pos_embed", None, r"missing pos_embed \(1 missing"),
        (VIT, "pos_embed", torch.zeros(1, 50, 192), r"shape of pos_embed differs"),
    ],
)
def test_raises_weights_that_do_not_fit(
    name: str, key: str, value: Tensor | None, message: str, tmp_path: Path
) -> None:
    weights = write(network(name), tmp_path / "w", **{key: value})
    with pytest.raises(ModelError, match=message) as caught:
        build(name, weights=weights)
    assert f"timm.create_model('{name}') state dict" in caught.value.hint


def test_raises_weights_of_another_network(tmp_path: Path) -> None:
    weights = write(network("mobilenetv3_small_050"), tmp_path / "w")
    with pytest.raises(ModelError, match=r"does not fit resnet18: missing conv1\.weight"):
        build("resnet18", weights=weights)


def test_raises_absent_file_and_pickle(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no backbone weights at"):
        build("resnet18", weights=str(tmp_path / "absent"))
    torch.save({}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="is not a safetensors file"):
        build("resnet18", weights=str(tmp_path / "w.pth"))


def test_raises_unknown_network() -> None:
    with pytest.raises(ModelError, match=r"timm [\d.]+ has no network 'convnext_tinny'") as caught:
        build("convnext_tinny")
    assert "did you mean convnext_tiny" in caught.value.hint


def test_raises_unknown_tag() -> None:
    with pytest.raises(ModelError, match=r"timm [\d.]+ has no weights resnet18.nothing") as caught:
        build("resnet18.nothing")
    assert "resnet18.a1_in1k" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vit_tiny_r_s16_p8_224", "its patches come from another network"),
        ("hrnet_w18_small", "are not modules in a sequence"),
        ("eva02_tiny_patch14_224", r"its features have the strides \[14\]"),
        ("dla34", "its last stage makes 0 of 3 positions"),
    ],
)
def test_raises_network_that_cannot_be_cut(name: str, why: str) -> None:
    with pytest.raises(ModelError, match=why) as caught:
        build(name)
    assert f"{name} cannot be cut" in str(caught.value)
    assert "ConvNeXt" in caught.value.hint


def test_raises_network_whose_stages_do_more_than_to_follow_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def between(net: nn.Module, x: Tensor) -> Tensor:
        x = net.layer2(net.layer1(net.maxpool(net.act1(net.bn1(net.conv1(x))))))
        return net.layer4(net.layer3(2 * x))

    monkeypatch.setattr(timm.models.ResNet, "forward_features", between)
    with pytest.raises(ModelError, match="its stages do more than to follow each other"):
        build("resnet18")


def test_raises_network_that_goes_another_way_than_through_its_stages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timm.models.ResNet, "forward_features", lambda net, x: net.conv1(x))
    with pytest.raises(ModelError, match="it does not come through its own stages"):
        build("resnet18")


def test_raises_norms_that_cannot_be_folded() -> None:
    with pytest.raises(ModelError, match="batch norm norm1 of DenseLayer follows") as caught:
        build("densenet121", norm="frozen")
    assert caught.value.hint == "use norm = 'train' or 'sync' with this backbone"


def test_raises_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="need the package timm") as caught:
        build("resnet18")
    assert caught.value.hint == 'pip install "fdps[timm]"'


def test_models_info_needs_no_timm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_network(tmp_path / "w.safetensors", n_people=1, backbone="timm:test_resnet")
    monkeypatch.setitem(sys.modules, "timm", None)
    assert main(["models", "info", str(path)]) == 0
    assert "(network, " in capsys.readouterr().out


PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "backbones.md"
ROWS = re.findall(r"^\| `([\w:]+)` \| (.*?) \|$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.long
@pytest.mark.parametrize(("name", "row"), ROWS, ids=[name for name, _ in ROWS])
def test_the_page_tells_the_sizes_and_costs_of_backbones(
    name: str, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "REDUCED", {})
    with torch.device("meta"), torch.no_grad():
        backbone = build_backbone(name, weights="none", frozen_stages=0, norm="train")
        trunk, head = backbone.trunk.eval(), backbone.region_head.eval()
        with FlopCounterMode(display=False) as of_picture:
            trunk(torch.zeros(1, 3, 928, 1504))  # padded to multiples of 32
        with FlopCounterMode(display=False) as of_regions:
            head(torch.zeros(300, trunk.out_channels, 14, 14))
    parameters = [sum(p.numel() for p in part.parameters()) for part in (trunk, head)]
    operations = [counter.get_total_flops() for counter in (of_picture, of_regions)]
    assert row.split(" | ")[:6] == [
        *(f"{n / 1e6:.1f}" for n in parameters),
        *map(str, (trunk.out_channels, backbone.region_channels)),
        *(f"{n / 1e9:.0f}" for n in operations),
    ]


def test_the_page_has_rows() -> None:
    assert len(ROWS) == 15


@pytest.mark.parametrize(
    "name", ["timm:", "timm:hf-hub:a/b", "timm:local-dir:x", "timm:a.b.c", "timm:../x", "timm:a b"]
)
def test_a_recipe_names_networks_and_no_places(name: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.backbone must be one of resnet50, .* timm:NAME"):
        ModelConfig(backbone=name)


def test_a_recipe_may_name_a_tag() -> None:
    assert ModelConfig(backbone="timm:convnext_tiny.in12k_ft_in1k").backbone.endswith("in1k")


def test_a_misspelt_backbone_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        ModelConfig(backbone="resnet5")
    assert caught.value.hint == "did you mean 'resnet50'?"
