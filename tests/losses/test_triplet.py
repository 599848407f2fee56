import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fdps.losses import batch_hard_loss
from fdps.losses.triplet import count_anchors


def by_loops(x: Tensor, ids: list[int], margin: float) -> float:
    """The formula of the docstring, anchor by anchor."""
    excess = []
    for a, person in enumerate(ids):
        same = [j for j, other in enumerate(ids) if other == person >= 0 and j != a]
        others = [j for j, other in enumerate(ids) if other not in (person, -1, -2)]
        if person >= 0 and same and others:
            far = max(float((x[a] - x[j]).norm()) for j in same)
            near = min(float((x[a] - x[j]).norm()) for j in others)
            excess.append(max(0.0, margin + far - near))
    return sum(excess) / max(len(excess), 1)


@pytest.mark.parametrize(
    "ids",
    [[0, 0, 1, 1, 2], [0, 0, 0, 0], [0, 1, 2], [-1, -1, 0, 0, 1, -2], [3, 3, 5], []],
)
def test_it_is_what_loops_give(ids: list[int]) -> None:
    x = normalize(torch.randn(len(ids), 6, dtype=torch.float64), dim=1)
    loss = batch_hard_loss(x, torch.tensor(ids, dtype=torch.int64), margin=0.5)
    assert loss.item() == pytest.approx(by_loops(x, ids, 0.5), abs=1e-9)


def test_it_is_nothing_where_people_lie_apart() -> None:
    x = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    loss = batch_hard_loss(x, torch.tensor([0, 0, 1, 1]), margin=1.9)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    closer = batch_hard_loss(x, torch.tensor([0, 0, 1, 1]), margin=2.1)
    assert closer.item() == pytest.approx(0.1, abs=1e-5)


def test_gradients_are_right_and_finite() -> None:
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([0, 0, 1, 1, 2, -1])
    assert torch.autograd.gradcheck(
        lambda rows: batch_hard_loss(normalize(rows, dim=1), ids, margin=0.3), x
    )
    equal = torch.ones(4, 3, requires_grad=True)
    batch_hard_loss(normalize(equal, dim=1), ids[:4], margin=0.3).backward()
    assert equal.grad is not None
    assert equal.grad.isfinite().all()


def test_nobody_to_compare_gives_a_zero_gradient() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    loss = batch_hard_loss(x, torch.tensor([0, 1, -1]), margin=0.3)
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize(
    ("ids", "n"), [([0, 0, 1], 2), ([0, 0, 0], 0), ([0, 0, 1, 1, -1], 4), ([-2, -1], 0), ([], 0)]
)
def test_anchors_are_counted(ids: list[int], n: int) -> None:
    assert count_anchors(torch.tensor(ids, dtype=torch.int64)).item() == n


def test_the_example_of_the_docstring_by_hand() -> None:
    assert math.isclose((0.3 + math.sqrt(2) - math.sqrt(2)) / 2, 0.15)
