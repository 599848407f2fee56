import pytest
import torch
from torch.nn.functional import cross_entropy

from fdps.losses import identity_loss
from fdps.structures import BACKGROUND_ID, UNLABELLED


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_it_is_the_cross_entropy_of_torch(smoothing: float) -> None:
    logits, ids = torch.randn(5, 7, dtype=torch.float64), torch.tensor([0, 6, 3, 3, 1])
    ours = identity_loss(logits.float(), ids, smoothing=smoothing)
    theirs = cross_entropy(logits, ids, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_people_without_a_label_are_left_out() -> None:
    logits = torch.randn(4, 3)
    ids = torch.tensor([2, UNLABELLED, 0, BACKGROUND_ID])
    few = identity_loss(logits[[0, 2]], ids[[0, 2]])
    assert identity_loss(logits, ids).item() == pytest.approx(few.item())


def test_a_certainty_mixes_the_label_with_the_even_distribution() -> None:
    logits, ids = torch.randn(3, 4), torch.tensor([1, 3, UNLABELLED])
    certainties = torch.tensor([1.0, 0.6, 0.0])
    even = torch.full((4,), 0.25)
    wanted = torch.stack([torch.eye(4)[1], 0.6 * torch.eye(4)[3] + 0.4 * even, even])
    expected = -(wanted * logits.log_softmax(1)).sum(1).mean()
    loss = identity_loss(logits, ids, certainties=certainties)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_nobody_gives_zero_and_a_zero_gradient() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = identity_loss(logits, torch.tensor([-1, -1]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
