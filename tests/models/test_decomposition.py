import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fdps.models.decomposition import Marginals, decompose


def plain_loops(features: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Eq. 2-5 as they are printed: sums over x and y, scaled by the size; and a maximum."""
    R, C, H, W = features.shape
    rows, cols = np.zeros((R, C, H)), np.zeros((R, C, W))
    mean, peak = np.zeros((R, C)), np.full((R, C), -np.inf)
    for r, c, y, x in itertools.product(range(R), range(C), range(H), range(W)):
        response = features[r, c, y, x]
        rows[r, c, y] += response / W
        cols[r, c, x] += response / H
        mean[r, c] += response / (H * W)
        peak[r, c] = max(peak[r, c], response)
    return {"rows": rows, "cols": cols, "mean": mean, "peak": peak}


def random_map(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3, 5, 7, 4), (1, 1, 1, 1), (2, 3, 1, 6), (2, 3, 6, 1)])
def test_equals_plain_loops_in_float64(shape: tuple[int, ...]) -> None:
    features = random_map(*shape) * 10
    expected = plain_loops(features.numpy())
    for name, value in decompose(features)._asdict().items():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=0, atol=1e-10, err_msg=name)


def test_peak_of_negative_responses_is_negative() -> None:
    assert decompose(torch.full((1, 1, 2, 3), -2.0)).peak.item() == -2


def test_mean_is_the_mean_of_rows_and_of_columns() -> None:
    m = decompose(random_map(4, 3, 7, 5))
    torch.testing.assert_close(m.rows.mean(dim=2), m.mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(m.cols.mean(dim=2), m.mean, rtol=0, atol=1e-12)


def test_transposing_the_map_exchanges_rows_and_columns() -> None:
    features = random_map(2, 3, 4, 5)
    m, turned = decompose(features), decompose(features.transpose(2, 3))
    torch.testing.assert_close(turned.rows, m.cols)
    torch.testing.assert_close(turned.cols, m.rows)
    assert torch.equal(turned.peak, m.peak)


@pytest.mark.parametrize("name", Marginals._fields)
def test_gradient_is_checked(name: str) -> None:
    features = random_map(2, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: getattr(decompose(f), name), (features,))


def test_no_region_gives_no_descriptor() -> None:
    m = decompose(torch.zeros(0, 8, 7, 4))
    assert (m.rows.shape, m.cols.shape) == ((0, 8, 7), (0, 8, 4))
    assert m.mean.shape == m.peak.shape == (0, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_stays(dtype: torch.dtype) -> None:
    assert {value.dtype for value in decompose(torch.ones(1, 2, 3, 4, dtype=dtype))} == {dtype}


@pytest.mark.parametrize(("height", "width"), [(0, 4), (7, 0)])
def test_raises_empty_grid(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"non-empty spatial grid, got H={height}, W={width}"):
        decompose(torch.zeros(2, 3, height, width))
