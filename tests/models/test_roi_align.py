import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from fdps.models.roi_align import RoIAlign, RoIMaxPool, align_sparse

STRIDE, SIZE = 16, (7, 4)
HEIGHT, WIDTH = 9, 13  # of the map

BOXES = {
    "inside": [[20.0, 30, 90, 100], [3.3, 7.7, 150.1, 99.9]],
    "the whole picture": [[0.0, 0, 16 * WIDTH, 16 * HEIGHT]],
    "over every border": [[-40.0, 20, 60, 90], [150, -30, 300, 60], [10, 100, 90, 400]],
    "outside": [[-300.0, -300, -100, -100], [400, 400, 500, 500]],
    "tiny": [[50.0, 50, 50.5, 50.25], [0, 0, 1e-3, 1e-3], [207.9, 143.9, 208, 144]],
    "at the edge of what counts": [[-16.0, -16, 0, 0], [208, 144, 224, 160]],
    "turned": [[90.0, 100, 20, 30]],
    "none": [],
}


def boxes(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def reference(features: Tensor, regions: list[Tensor], ratio: int = 2) -> Tensor:
    return roi_align(
        features, regions, SIZE, spatial_scale=1 / STRIDE, sampling_ratio=ratio, aligned=False
    )


def random_map(n_pictures: int) -> Tensor:
    return torch.randn(n_pictures, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_equals_torchvision(name: str, ratio: int) -> None:
    features, regions = random_map(1), [boxes(*BOXES[name])]
    torch.testing.assert_close(
        align_sparse(features, regions, SIZE, STRIDE, ratio),
        reference(features, regions, ratio),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("order", [["inside", "none", "tiny"], ["none", "over every border"]])
def test_equals_torchvision_on_several_pictures(order: list[str]) -> None:
    features, regions = random_map(len(order)), [boxes(*BOXES[name]) for name in order]
    aligned = align_sparse(features, regions, SIZE, STRIDE, 2)
    torch.testing.assert_close(aligned, reference(features, regions), rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradient_equals_that_of_torchvision(layout: torch.memory_format) -> None:
    features = random_map(2).to(memory_format=layout)
    regions = [boxes(*BOXES["inside"], *BOXES["tiny"]), boxes(*BOXES["over every border"])]
    gradients = []
    for align in (
        lambda f: align_sparse(f, regions, SIZE, STRIDE, 2),
        lambda f: reference(f, regions),
    ):
        leaf = features.clone().requires_grad_()
        aligned = align(leaf)
        weights = torch.linspace(-1, 1, aligned.numel()).reshape(aligned.shape)
        (gradient,) = torch.autograd.grad((aligned * weights).sum(), leaf)
        gradients.append(gradient)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-5)


def test_no_box_in_any_picture_gives_no_region() -> None:
    aligned = align_sparse(random_map(2), [boxes(), boxes()], SIZE, STRIDE, 2)
    assert aligned.shape == (0, 3, *SIZE)


def test_a_constant_map_stays_constant() -> None:
    aligned = align_sparse(torch.full((1, 2, 9, 13), 5.0), [boxes([20, 30, 90, 100])], SIZE, 16, 2)
    torch.testing.assert_close(aligned, torch.full((1, 2, *SIZE), 5.0))


def test_value_of_a_ramp_is_that_of_the_bin_centre() -> None:
    # Position p holds p, so a bin between positions a and b averages to (a + b) / 2.
    ramp = torch.arange(13.0).expand(1, 1, 9, 13)
    aligned = align_sparse(ramp, [boxes([32, 0, 96, 64])], (1, 4), 16, 2)
    assert aligned.flatten().tolist() == pytest.approx([2.5, 3.5, 4.5, 5.5])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_box_that_is_no_number_touches_no_other(bad: float) -> None:
    features, good = random_map(1), [10.0, 20, 90, 100]
    mixed = align_sparse(features, [boxes([bad] * 4, good, [0, bad, 5, 5])], SIZE, STRIDE, 2)
    alone = align_sparse(features, [boxes(good)], SIZE, STRIDE, 2)
    torch.testing.assert_close(mixed[1:2], alone)


def test_module_runs_in_float32_under_autocast() -> None:
    features, regions = random_map(2), [boxes(*BOXES["inside"]), boxes(*BOXES["tiny"])]
    leaf = features.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        aligned = RoIAlign(SIZE, STRIDE)(leaf, regions)
    assert aligned.dtype == torch.float32
    expected = reference(features.bfloat16().float(), regions)
    torch.testing.assert_close(aligned, expected, rtol=0, atol=1e-5)
    aligned.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.dtype == torch.bfloat16
    assert leaf.grad.abs().sum() > 0


def test_largest_values_of_bins_in_float32_under_autocast() -> None:
    features = torch.arange(HEIGHT * WIDTH).reshape(1, 1, HEIGHT, WIDTH).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = RoIMaxPool((2, 2), STRIDE)(features, [boxes([0, 0, 47, 47]), boxes()][:1])
    assert pooled.dtype == torch.float32
    # Positions 0 to 3 in both directions: bins of two by two.
    assert pooled.flatten().tolist() == [WIDTH + 1, WIDTH + 3, 3 * WIDTH + 1, 3 * WIDTH + 3]
    pooled.sum().backward()
    assert features.grad is not None
    assert int((features.grad != 0).sum()) == 4
    assert RoIMaxPool((2, 2), STRIDE)(features, [boxes()]).shape == (0, 1, 2, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gpu_and_cpu_agree(dtype: torch.dtype) -> None:
    features, regions = random_map(1).to(dtype), [boxes(*BOXES["inside"])]
    module = RoIAlign(SIZE, STRIDE)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        on_gpu = module(features.cuda(), [b.cuda() for b in regions])
    assert on_gpu.dtype == torch.float32
    torch.testing.assert_close(on_gpu.cpu(), module(features, regions), rtol=0, atol=1e-5)
