import math

import numpy as np
import pytest
import torch

from fdps.losses.oim import OIMLoss, oim_loss
from losses.plain_loops import oim, unit_rows


def draw(
    seed: int, n: int, n_persons: int, queue_size: int, dim: int = 16
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x, lut, queue = (unit_rows(rng, k, dim) for k in (n, n_persons, queue_size))
    ids = rng.integers(-1, n_persons, size=n)
    return tuple(torch.from_numpy(a) for a in (x, ids, lut, queue))


@pytest.mark.parametrize("temperature", [1 / 30, 1.0])
@pytest.mark.parametrize("queue_size", [0, 5])
def test_value_equals_plain_loops(temperature: float, queue_size: int) -> None:
    for seed in range(10):
        x, ids, lut, queue = draw(seed, 12, 7, queue_size)
        lut[2] = 0  # never written
        expected = oim(x.numpy(), ids.numpy(), lut.numpy(), queue.numpy(), temperature)
        loss = oim_loss(x, ids, lut, queue, temperature=temperature)
        assert loss.item() == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_limit_empty_memory_is_a_fair_guess() -> None:
    x, _, lut, queue = draw(0, 4, 7, 5)
    loss = oim_loss(x, torch.tensor([0, 1, -1, 6]), 0 * lut, 0 * queue)
    assert loss.item() == pytest.approx(math.log(12), rel=1e-12)


def test_limit_one_identity_and_no_queue_has_nothing_to_tell_apart() -> None:
    x, _, lut, queue = draw(0, 3, 1, 0)
    assert oim_loss(x, torch.tensor([0, 0, -1]), lut, queue).item() == 0


def test_limit_similarity_minus_one_at_low_temperature_stays_finite() -> None:
    lut = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    loss = oim_loss(-lut[:1], torch.tensor([0]), lut, torch.zeros(0, 2), temperature=1e-3)
    assert loss.item() == pytest.approx(2000)


def test_gradient_is_checked() -> None:
    x, ids, lut, queue = draw(3, 5, 4, 3, dim=6)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: oim_loss(e, ids, lut, queue), (x,))


@pytest.mark.parametrize("ids", [[], [-1, -1, -1]])
def test_empty_nobody_labelled_gives_zero_with_zero_gradient(ids: list[int]) -> None:
    x = torch.randn(len(ids), 4, requires_grad=True)
    loss = oim_loss(x, torch.tensor(ids, dtype=torch.int64), torch.randn(3, 4), torch.randn(2, 4))
    assert loss.item() == 0
    loss.backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_property_unlabelled_people_change_nothing() -> None:
    x, _, lut, queue = draw(1, 6, 4, 3)
    ids = torch.tensor([0, -1, 3, -1, -1, 1])
    x.requires_grad_()
    everybody = oim_loss(x, ids, lut, queue)
    known = oim_loss(x[ids >= 0], ids[ids >= 0], lut, queue)
    assert torch.equal(everybody, known)
    (gradient,) = torch.autograd.grad(everybody, x)
    assert not gradient[ids < 0].any()


def test_property_half_precision_is_computed_in_float32() -> None:
    x, ids, lut, queue = (t.float() if t.is_floating_point() else t for t in draw(2, 8, 5, 4, 256))
    half = x.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = oim_loss(half, ids, lut, queue)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, oim_loss(half.float(), ids, lut, queue))


def test_property_forward_changes_nothing_and_update_does() -> None:
    x, ids, *_ = draw(4, 8, 5, 4)
    criterion = OIMLoss(5, 4, 16)
    before = {name: value.clone() for name, value in criterion.state_dict().items()}
    assert criterion(x.float(), ids).item() == pytest.approx(math.log(9))
    for name, value in criterion.state_dict().items():
        assert torch.equal(value, before[name]), name
    criterion.update(x.float(), ids)
    terms = criterion.terms(x.float(), ids)
    assert torch.equal(terms.loss, criterion(x.float(), ids))
    assert terms.loss < math.log(9)


def test_value_terms_watch_the_similarities() -> None:
    criterion = OIMLoss(4, 2, 2)
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]])
    criterion.update(rows, torch.tensor([0, 1, 2]))  # nobody wrote row 3
    x = torch.tensor([[0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]]).requires_grad_()
    terms = criterion.terms(x, torch.tensor([0, -1, 2]))
    assert list(terms._asdict()) == ["oim", "positive_similarity", "negative_similarity"]
    assert torch.equal(terms.oim, terms.loss)
    # Person 0: own 0.8, nearest 0.96 (row 1); person 2: own 0.8, nearest -0.6 (row 1).
    assert terms.positive_similarity.item() == pytest.approx(0.8)
    assert terms.negative_similarity.item() == pytest.approx((0.96 - 0.6) / 2)
    assert terms.oim.requires_grad
    assert not terms.positive_similarity.requires_grad
    assert not terms.negative_similarity.requires_grad


def test_limit_an_empty_table_has_no_similarities() -> None:
    x, ids, *_ = draw(5, 8, 5, 4)
    terms = OIMLoss(5, 4, 16).terms(x.float(), ids)
    assert terms.positive_similarity == terms.negative_similarity == 0


def test_property_update_before_backward_keeps_the_gradient() -> None:
    criterion = OIMLoss(3, 2, 4)
    ids = torch.tensor([0, 1, -1, 2])
    criterion.update(torch.nn.functional.normalize(torch.randn(4, 4)), ids)
    x = torch.nn.functional.normalize(torch.randn(4, 4)).requires_grad_()
    (expected,) = torch.autograd.grad(criterion(x, ids), x)
    loss = criterion(x, ids)
    criterion.update(x, ids)
    (gradient,) = torch.autograd.grad(loss, x)
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize("wrong", [-2, 3])
def test_raises_ids_outside_the_table(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"got {wrong}"):
        oim_loss(torch.zeros(1, 2), torch.tensor([wrong]), torch.zeros(3, 2), torch.zeros(9, 2))
    with pytest.raises(ValueError, match=f"got {wrong}"):
        OIMLoss(3, 2, 2).update(torch.zeros(1, 2), torch.tensor([wrong]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_raises_temperature(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be greater than 0"):
        OIMLoss(3, 2, 4, temperature=temperature)
