import math

import pytest
import torch

from fdps.losses.detection import box_loss, classification_loss


@pytest.mark.parametrize(
    ("difference", "beta", "expected"),
    [
        (0.5, 1.0, 0.125),  # square
        (-3.0, 1.0, 2.5),  # line
        (1.0, 1.0, 0.5),  # where they meet
        (0.25, 0.5, 0.0625),  # a narrower square
        (-3.0, 0.0, 3.0),  # plain L1
    ],
)
def test_value_smooth_l1_of_one_number(difference: float, beta: float, expected: float) -> None:
    deltas = torch.tensor([[2.0 + difference, 0, 0, 0]], dtype=torch.float64)
    targets = torch.tensor([[2.0, 0, 0, 0]], dtype=torch.float64)
    assert box_loss(deltas, targets, 4, beta).item() == pytest.approx(expected / 4, rel=1e-12)


def test_value_classification_equals_plain_loop() -> None:
    logits = torch.randn(6, 2, dtype=torch.float64)
    is_person = torch.tensor([True, False, True, True, False, False])
    expected = 0.0
    for (background, person), positive in zip(logits.tolist(), is_person.tolist(), strict=True):
        right = person if positive else background
        expected -= math.log(math.exp(right) / (math.exp(background) + math.exp(person))) / 6
    assert classification_loss(logits, is_person).item() == pytest.approx(expected, rel=1e-10)


def test_limit_right_or_wrong_with_certainty_stays_finite() -> None:
    logits = torch.tensor([[1e4, 0.0]])
    assert classification_loss(logits, torch.tensor([False])).item() == 0
    assert classification_loss(logits, torch.tensor([True])).item() == 1e4


@pytest.mark.parametrize("n_samples", [0, 7])
def test_empty_no_positive_gives_zero_with_gradient(n_samples: int) -> None:
    deltas = torch.zeros(0, 4, requires_grad=True)
    loss = box_loss(deltas, torch.zeros(0, 4), n_samples)
    loss.backward()
    assert loss.item() == 0
    assert deltas.grad is not None


def test_empty_no_region_gives_zero_with_gradient() -> None:
    logits = torch.zeros(0, 2, requires_grad=True)
    loss = classification_loss(logits, torch.zeros(0, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None


def test_gradient_is_checked() -> None:
    deltas = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    targets, is_person = torch.zeros(3, 4, dtype=torch.float64), torch.tensor([True, False, True])
    assert torch.autograd.gradcheck(lambda d: box_loss(d, targets, 5), (deltas,))
    logits = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: classification_loss(z, is_person), (logits,))


def test_property_half_precision_is_computed_in_float32() -> None:
    deltas, logits = torch.randn(3, 4).bfloat16(), torch.randn(3, 2).bfloat16()
    assert box_loss(deltas, torch.zeros(3, 4), 3).dtype == torch.float32
    assert classification_loss(logits, torch.ones(3, dtype=torch.bool)).dtype == torch.float32


def test_raises_fewer_samples_than_positives_and_negative_beta() -> None:
    with pytest.raises(ValueError, match="n_samples must be at least P=2, got 1"):
        box_loss(torch.zeros(2, 4), torch.zeros(2, 4), 1)
    with pytest.raises(ValueError, match="beta must be at least 0"):
        box_loss(torch.zeros(2, 4), torch.zeros(2, 4), 2, beta=-1.0)
