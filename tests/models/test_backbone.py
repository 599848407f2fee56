import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from fdps.errors import MissingDataError, ModelError
from fdps.models.backbone import BACKBONES, Backbone, CpuFloat32, Trunk, build_backbone
from fdps.models.norms import sync_norms
from fdps.models.rpn import ProposalHead
from fdps.models.weights import load_weights
from fdps.weights_file import weights_file

SMALL = ["resnet18", "mobilenet_v2"]
PICTURE = torch.linspace(-2, 2, 3 * 64 * 96).reshape(1, 3, 64, 96).sin()


@cache
def classifier(name: str) -> nn.Module:
    """A torchvision network whose norms remember something, in evaluation mode."""
    net = getattr(torchvision.models, name)(num_classes=10)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return net.eval()


def features(net: nn.Module, images: Tensor) -> Tensor:
    """What the classifier computes before it averages over the picture."""
    if isinstance(net, torchvision.models.MobileNetV2):
        return net.features(images)
    return nn.Sequential(*list(net.children())[:-2])(images)


def write(net: nn.Module, path: Path, **change: Tensor | None) -> str:
    state = dict(net.state_dict()) | change
    save_file({k: v.contiguous() for k, v in state.items() if v is not None}, path)
    return str(path)


def build(
    name: str, *, weights: str = "none", frozen_stages: int = 0, norm: str = "train"
) -> Backbone:
    return build_backbone(name, weights=weights, frozen_stages=frozen_stages, norm=norm)


def evaluated(backbone: Backbone) -> nn.Module:
    return nn.Sequential(backbone.trunk, backbone.region_head).eval()


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_trunk_and_region_head_together_are_the_classifier(name: str, tmp_path: Path) -> None:
    net = classifier(name)
    backbone = build(name, weights=write(net, tmp_path / "w"))
    with torch.no_grad():
        expected, got = features(net, PICTURE), evaluated(backbone)(PICTURE)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_cut_is_at_stride_16(name: str) -> None:
    with torch.device("meta"):
        backbone = build(name)
        middle = backbone.trunk(torch.zeros(2, 3, 64, 96))
        last = backbone.region_head(middle)
    assert middle.shape == (2, backbone.trunk.out_channels, 4, 6)
    assert last.shape == (2, backbone.region_channels, 2, 3)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [(14, 14), (13, 7), (1, 1)])
def test_the_region_head_halves_and_rounds_up(name: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        backbone = build(name)
        halved = backbone.region_head(torch.zeros(2, backbone.trunk.out_channels, *size))
    assert halved.shape[2:] == ((size[0] + 1) // 2, (size[1] + 1) // 2)


def test_resnet50_has_the_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        backbone = build("resnet50")
        rpn = ProposalHead(backbone.trunk.out_channels, 15)
    assert n_parameters(backbone.trunk) == 8_543_296
    assert n_parameters(rpn) == 9_515_083
    assert n_parameters(backbone.region_head) == 14_964_736


@pytest.mark.parametrize("name", SMALL)
def test_frozen_norms_equal_those_of_evaluation_even_in_training(name: str, tmp_path: Path) -> None:
    weights = write(classifier(name), tmp_path / "w")
    usual = evaluated(build(name, weights=weights))
    frozen_backbone = build(name, weights=weights, norm="frozen")
    frozen = evaluated(frozen_backbone).train()
    assert not [m for m in frozen.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        torch.testing.assert_close(frozen(PICTURE), usual(PICTURE), rtol=1e-4, atol=1e-4)
    assert all(p.requires_grad == name.endswith("weight") for name, p in frozen.named_parameters())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("frozen_stages", [0, 1, 3, 9])
def test_frozen_stages_get_no_gradient(name: str, frozen_stages: int) -> None:
    trunk = build(name, frozen_stages=frozen_stages).trunk.train()
    out = trunk(PICTURE.repeat(2, 1, 1, 1))
    assert out.requires_grad == (frozen_stages < 4)
    if out.requires_grad:
        out.square().sum().backward()
    for i, stage in enumerate(trunk.stages):
        learns = i >= frozen_stages
        assert all(p.requires_grad == learns for p in stage.parameters())
        assert all((p.grad is not None) == learns for p in stage.parameters())


def test_norms_of_a_frozen_stage_keep_their_statistics_moving() -> None:
    trunk = build("resnet18", frozen_stages=1).trunk.train()
    (norm,) = (m for m in trunk.stages[0].modules() if isinstance(m, nn.BatchNorm2d))
    trunk(PICTURE)
    assert norm.running_mean is not None
    assert norm.running_mean.abs().sum() > 0
    assert not norm.weight.requires_grad


def learn(trunk: Trunk, *, is_recomputed: bool, dtype: torch.dtype) -> dict[str, Tensor]:
    """Output, gradients and running statistics of two steps of a copy."""
    copied = copy.deepcopy(trunk).train()
    copied.is_recomputed = is_recomputed
    for scale in (1.0, 0.5):
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            out = copied(scale * PICTURE.repeat(2, 1, 1, 1))
        out.float().square().mean().backward()  # the second adds up
    found = {f"d {name}": p.grad for name, p in copied.named_parameters() if p.grad is not None}
    return {"out": out.detach(), **found, **dict(copied.named_buffers())}


def as_built(trunk: nn.Module) -> None:
    pass


@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "norm", "frozen_stages", "change"),
    [
        ("resnet18", "train", 1, as_built),
        ("resnet18", "frozen", 0, as_built),
        ("mobilenet_v2", "train", 0, as_built),
        ("mobilenet_v2", "sync", 1, sync_norms),
    ],
)
def test_a_trunk_that_computes_its_maps_again_learns_the_same_bits(
    name: str,
    norm: str,
    frozen_stages: int,
    change: Callable[[nn.Module], None],
    dtype: torch.dtype,
) -> None:
    trunk = build(name, frozen_stages=frozen_stages, norm=norm).trunk
    change(trunk)
    kept = learn(trunk, is_recomputed=False, dtype=dtype)
    again = learn(trunk, is_recomputed=True, dtype=dtype)
    assert again.keys() == kept.keys()
    assert any(name.startswith("d ") for name in kept)
    for key, value in kept.items():
        assert torch.equal(again[key], value), key


def test_maps_are_computed_again_only_where_something_learns_from_them() -> None:
    trunk = build("mobilenet_v2", frozen_stages=2).trunk.train()
    n_calls = [0] * 4
    for i, stage in enumerate(trunk.stages):
        stage.register_forward_pre_hook(lambda *_, i=i: n_calls.__setitem__(i, n_calls[i] + 1))

    def calls(is_recomputed: bool) -> list[int]:
        n_calls[:] = [0] * 4
        trunk.is_recomputed = is_recomputed
        trunk(PICTURE.repeat(2, 1, 1, 1)).mean().backward()
        return [*n_calls]

    assert calls(is_recomputed=False) == [1, 1, 1, 1]
    assert calls(is_recomputed=True) == [1, 1, 2, 2]
    n_calls[:] = [0] * 4
    with torch.no_grad():
        trunk(PICTURE.repeat(2, 1, 1, 1))
    assert n_calls == [1, 1, 1, 1]


def test_maps_that_are_computed_again_are_not_kept() -> None:
    trunk = build("resnet18", frozen_stages=1).trunk.train()

    def kept_bytes(is_recomputed: bool) -> int:
        trunk.is_recomputed = is_recomputed
        sizes: dict[int, int] = {}

        def note(kept: Tensor) -> Tensor:
            sizes[kept.untyped_storage().data_ptr()] = kept.untyped_storage().nbytes()
            return kept

        with torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
            out = trunk(PICTURE)
        del out
        return sum(sizes.values()) - sum(p.numel() * 4 for p in trunk.parameters())

    assert kept_bytes(is_recomputed=True) < kept_bytes(is_recomputed=False) / 3


def test_only_strided_depthwise_convolutions_are_kept_in_float32() -> None:
    backbone = build("mobilenet_v2")
    modules = [*backbone.trunk.modules(), *backbone.region_head.modules()]
    kept = [m.module for m in modules if isinstance(m, CpuFloat32)]
    strided = [m for m in modules if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    assert kept == [m for m in strided if m.groups > 1]
    assert len(kept) == 4


def test_float32_on_the_cpu_under_autocast() -> None:
    conv, x = nn.Conv2d(4, 4, 3, groups=4), torch.randn(1, 4, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, full = CpuFloat32(conv)(x.bfloat16()), CpuFloat32(conv)(x)
    assert torch.equal(full, conv(x))
    assert torch.equal(half, conv(x.bfloat16().float()).bfloat16())


@pytest.mark.parametrize("name", SMALL)
def test_the_classifier_itself_may_be_absent_or_of_another_size(name: str, tmp_path: Path) -> None:
    net = classifier(name)  # of 10 classes instead of 1000
    last = [key for key in net.state_dict() if key.startswith(("fc.", "classifier."))]
    counters = [key for key in net.state_dict() if key.endswith("num_batches_tracked")]
    backbone = build(name, weights=write(net, tmp_path / "w", **dict.fromkeys([*last, *counters])))
    assert torch.equal(next(backbone.trunk.parameters()), next(net.parameters()))


def test_raises_absent_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no backbone weights at") as caught:
        build("resnet18", weights=str(tmp_path / "absent"))
    assert caught.value.hint == "give a safetensors file, a network of fdps, imagenet or none"


def test_raises_pickle(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match="is not a safetensors file") as caught:
        build("resnet18", weights=str(tmp_path / "w.pth"))
    assert "never loaded" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"conv1.weight": torch.zeros(64, 3, 3, 3)},
            r"shape of conv1.weight differs \(0 missing, 1",
        ),
        ({"layer4.1.bn2.bias": None}, r"missing layer4.1.bn2.bias \(1 missing, 0 of another shape"),
    ],
)
def test_raises_weights_that_do_not_fit(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    weights = write(classifier("resnet18"), tmp_path / "w", **change)
    with pytest.raises(ModelError, match=message) as caught:
        build("resnet18", weights=weights)
    assert "torchvision.models.resnet18 state dict" in caught.value.hint


def test_raises_weights_of_another_network(tmp_path: Path) -> None:
    weights = write(classifier("mobilenet_v2"), tmp_path / "w")
    with pytest.raises(ModelError, match=r"does not fit resnet18: missing conv1.weight \(100 mis"):
        build("resnet18", weights=weights)


def test_the_trunk_of_a_trained_network_is_taken_and_its_region_head_is_not(tmp_path: Path) -> None:
    trained, _ = load_weights(weights_file("drawn-people"))
    for place in ("drawn-people", str(weights_file("drawn-people"))):
        backbone = build("mobilenet_v2", weights=place)
        wanted = trained.backbone.state_dict()
        for name, tensor in backbone.trunk.state_dict().items():
            assert torch.equal(tensor, wanted[name])
        assert backbone.is_head_new
        heads = (backbone.region_head, *trained.region_heads)
        new, old = (head.state_dict()["14.conv.0.0.weight"] for head in heads)
        assert not torch.equal(new, old)


@pytest.mark.parametrize(
    ("name", "norm"), [("resnet18", "train"), ("mobilenet_v2", "frozen")], ids=["other", "folded"]
)
def test_raises_the_trunk_of_another_network(name: str, norm: str) -> None:
    with pytest.raises(ModelError, match=f"is not that of {name}: it is of mobilenet_v2") as caught:
        build_backbone(name, weights="drawn-people", frozen_stages=0, norm=norm)
    assert "model.backbone and model.norm" in caught.value.hint


def test_raises_a_run_that_has_not_ended(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(MissingDataError, match="no backbone weights at"):
        build("mobilenet_v2", weights=str(tmp_path))


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps what it fetched; nothing can be fetched: nobody listens there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    kept = tmp_path / "hub" / "checkpoints" / "mobilenet_v2-b0353104.pth"
    kept.parent.mkdir(parents=True)
    return kept


def test_imagenet_is_what_torchvision_keeps(torch_home: Path) -> None:
    net = torchvision.models.mobilenet_v2()
    torch.save(net.state_dict(), torch_home)
    backbone = build("mobilenet_v2", weights="imagenet")
    assert torch.equal(next(backbone.trunk.parameters()), next(net.parameters()))


def test_raises_imagenet_that_cannot_be_fetched(torch_home: Path) -> None:
    with pytest.raises(ModelError, match="ImageNet weights of mobilenet_v2 could not be") as caught:
        build("mobilenet_v2", weights="imagenet")
    assert "--backbone-weights FILE" in caught.value.hint


def test_raises_imagenet_that_was_cut_short(torch_home: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, torch_home)
    torch_home.write_bytes(torch_home.read_bytes()[:2000])
    with pytest.raises(ModelError, match="ImageNet weights of mobilenet_v2 could not be"):
        build("mobilenet_v2", weights="imagenet")
