import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fdps.boxes import clip, iou, is_valid
from fdps.models.box_coder import decode, encode

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
ONES = (1.0, 1.0, 1.0, 1.0)


def boxes(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def random_boxes(n: int) -> Tensor:
    low = torch.rand(n, 2, dtype=torch.float64) * 100
    return torch.cat([low, low + 1 + torch.rand(n, 2, dtype=torch.float64) * 50], dim=1)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 4, 2), 1.0),  # itself
        ((1, 0, 5, 2), 6 / 10),  # moved along x
        ((0, 1, 4, 3), 4 / 12),  # moved along y
        ((1, 0.5, 2, 1), 0.5 / 8),  # within
        ((-1, -1, 5, 3), 8 / 24),  # around
        ((4, 0, 8, 2), 0.0),  # touches: no "+1" convention
        ((5, 3, 6, 4), 0.0),  # apart along both axes: two negative sides are no area
    ],
)
def test_iou_computed_by_hand(other: tuple[float, ...], expected: float) -> None:
    assert iou(boxes((0, 0, 4, 2)), boxes(other)).item() == pytest.approx(expected, abs=1e-15)


def test_iou_of_every_pair() -> None:
    a, b = boxes((0, 0, 2, 2), (1, 0, 3, 2)), boxes((0, 0, 2, 2), (2, 0, 4, 2), (0, 0, 1, 1))
    expected = [[1, 0, 1 / 4], [1 / 3, 1 / 3, 0]]
    np.testing.assert_allclose(iou(a, b), expected, rtol=1e-15)


def test_iou_is_computed_in_float64() -> None:
    a, b = boxes((0, 0, 1, 3)), boxes((0, 0, 1, 1))
    assert iou(a, b).item() == 1 / 3


def test_iou_of_nothing() -> None:
    assert iou(boxes(), boxes((0, 0, 1, 1))).shape == (0, 1)
    assert iou(boxes((0, 0, 1, 1)), boxes()).shape == (1, 0)


def test_clip() -> None:
    given = boxes((-5, -6, 50, 60), (1, 2, 3, 4), (20, 1, 30, 5))
    cut = clip(given, 10, 8)
    np.testing.assert_array_equal(cut, boxes((0, 0, 10, 8), (1, 2, 3, 4), (10, 1, 10, 5)))
    assert cut.dtype == np.float32
    assert given[0, 0] == -5  # the argument stays as it was
    assert is_valid(cut).tolist() == [True, True, False]
    assert clip(boxes(), 10, 8).shape == (0, 4)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 1, 1), True),
        ((-3, -3, -1, -2), True),  # where it lies is another question
        ((0, 0, 0, 1), False),
        ((0, 0, 1, 0), False),
        ((2, 0, 1, 1), False),
        ((0, 2, 1, 1), False),
        ((0, 0, math.inf, 1), False),
        ((-math.inf, 0, 1, 1), False),
        ((0, math.nan, 1, 1), False),
    ],
)
def test_is_valid(box: tuple[float, ...], expected: bool) -> None:
    assert is_valid(boxes((0, 0, 1, 1), box)).tolist() == [True, expected]


def test_is_valid_of_nothing() -> None:
    assert is_valid(boxes()).shape == (0,)


def test_encode_computed_by_hand() -> None:
    # Centre (4, 7), size (4, 6) against centre (3, 5), size (2, 10).
    box, reference = torch.tensor([[2.0, 4, 6, 10]]), torch.tensor([[2.0, 0, 4, 10]])
    expected = [[10 * 0.5, 10 * 0.2, 5 * math.log(2), 5 * math.log(0.6)]]
    torch.testing.assert_close(encode(box, reference, WEIGHTS), torch.tensor(expected))


def test_encode_of_the_reference_is_zero() -> None:
    some = random_boxes(5)
    assert torch.equal(encode(some, some, WEIGHTS), torch.zeros(5, 4, dtype=torch.float64))


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
def test_decode_takes_encode_back(weights: tuple[float, float, float, float]) -> None:
    some, references = random_boxes(50), random_boxes(50)
    back = decode(encode(some, references, weights), references, weights)
    torch.testing.assert_close(back, some, rtol=1e-12, atol=1e-10)


def test_decode_grows_a_box_by_1000_16ths_at_most() -> None:
    reference = torch.tensor([[0.0, 0, 16, 16]])
    decoded = decode(torch.tensor([[0.0, 0, 100, 100]]), reference, ONES)
    torch.testing.assert_close(decoded, torch.tensor([[-492.0, -492, 508, 508]]))


def test_encode_and_decode_nothing() -> None:
    none = torch.zeros(0, 4)
    assert encode(none, none, ONES).shape == decode(none, none, ONES).shape == (0, 4)
