import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fdps.losses import Distillation, distillation_loss, teacher_basis


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def by_loops(x: Tensor, t: Tensor, queue: Tensor, temperature: float) -> tuple[float, float]:
    """Both terms, person by person and slot by slot, in plain floats."""
    direction, divergence, n = 0.0, 0.0, 0
    for own, target in zip(x.tolist(), t.tolist(), strict=True):
        if any(math.isnan(value) for value in target):
            continue
        n += 1
        others = [target, *(row for row in queue.tolist() if any(row))]
        dot = [
            [sum(a * b for a, b in zip(row, who, strict=True)) for row in others]
            for who in (target, own)
        ]
        p, q = ([math.exp(s / temperature) for s in row] for row in dot)
        p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
        direction += 1 - dot[1][0]
        divergence += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return direction / max(n, 1), divergence / max(n, 1)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_both_terms_are_those_of_plain_loops(temperature: float) -> None:
    x, t, queue = unit(7, 5), unit(7, 5, seed=1), unit(9, 5, seed=2)
    t[2], queue[6:] = torch.nan, 0
    found = distillation_loss(x, t, queue, temperature=temperature)
    assert [v.item() for v in found] == pytest.approx(by_loops(x, t, queue, temperature), abs=1e-12)


def test_the_teacher_itself_has_nothing_to_learn() -> None:
    x, queue = unit(6, 5), unit(9, 5, seed=2)
    found = distillation_loss(x, x.clone(), queue)
    assert [v.item() for v in found] == pytest.approx([0, 0], abs=1e-12)
    opposite = distillation_loss(-x, x, queue)
    assert opposite.direction.item() == pytest.approx(2)
    assert opposite.similarity.item() > 1


def test_with_nobody_before_only_the_direction_counts() -> None:
    for queue in (torch.zeros(4, 5), torch.zeros(0, 5)):
        found = distillation_loss(unit(3, 5), unit(3, 5, seed=1), queue.double())
        assert found.direction.item() > 0
        assert found.similarity.item() == pytest.approx(0, abs=1e-12)


def test_the_gradient_is_right_and_ends_at_the_student() -> None:
    x, t, queue = unit(3, 4).requires_grad_(), unit(3, 4, seed=1), unit(5, 4, seed=2)
    t[1] = torch.nan
    assert torch.autograd.gradcheck(lambda rows: sum(distillation_loss(rows, t, queue)), (x,))
    (4 * distillation_loss(x, t, queue).direction).backward()
    assert x.grad is not None
    assert torch.equal(x.grad[1], torch.zeros(4).double())


@pytest.mark.parametrize("n", [0, 3])
def test_people_without_a_teacher_teach_nothing(n: int) -> None:
    x = unit(n, 4).requires_grad_()
    found = distillation_loss(x, torch.full((n, 4), torch.nan).double(), unit(5, 4, seed=2))
    assert [v.item() for v in found] == [0, 0]
    sum(found).backward()
    assert x.grad is not None
    assert not x.grad.any()


def test_a_batch_in_parts_is_the_batch() -> None:
    x, t, queue = unit(6, 4), unit(6, 4, seed=1), unit(5, 4, seed=2)
    whole = distillation_loss(x, t, queue)
    parts = [distillation_loss(x[rows], t[rows], queue) for rows in (slice(2), slice(2, 6))]
    for k in range(2):
        assert (parts[0][k] / 3 + 2 * parts[1][k] / 3).item() == pytest.approx(whole[k].item())


# --- the way from the teacher's space


def people(n: int, dim: int) -> np.ndarray:
    rows = np.random.default_rng(3).normal(size=(n, dim)) + 2  # they share a large direction
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cosines(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows @ rows.T)


@pytest.mark.parametrize("dim", [6, 9])
def test_a_teacher_of_no_more_dimensions_keeps_every_angle(dim: int) -> None:
    rows = people(12, 6)
    taught = Distillation(*teacher_basis(rows, dim), queue_size=0)
    targets = taught.targets(torch.from_numpy(rows))
    assert targets.shape == (12, dim)
    assert (targets @ targets.T).numpy() == pytest.approx(cosines(rows.astype(float)), abs=1e-5)


def test_of_a_longer_teacher_the_axes_that_matter_stay() -> None:
    rows = np.zeros((12, 6), dtype=np.float32)
    rows[:, [1, 4]] = people(12, 2)
    targets = Distillation(*teacher_basis(rows, 2), queue_size=0).targets(torch.from_numpy(rows))
    assert (targets @ targets.T).numpy() == pytest.approx(cosines(rows.astype(float)), abs=1e-5)


def test_the_queue_remembers_targets_in_order_and_passes_over_the_rest() -> None:
    rows = torch.from_numpy(people(5, 6))
    taught = Distillation(*teacher_basis(people(12, 6), 4), queue_size=3)
    given = rows.clone()
    given[1] = torch.nan
    taught.update(given)
    targets = taught.targets(rows)
    left = targets[[4, 2, 3]]  # four came, the first is gone
    assert taught.queue.rows.numpy() == pytest.approx(left.numpy(), abs=1e-6)
    before = taught.queue.rows.clone()
    taught.terms(targets, rows)
    taught.update(torch.full((2, 6), torch.nan))
    taught.update(torch.zeros(0, 6))
    assert torch.equal(taught.queue.rows, before)


def test_a_temperature_has_to_be_positive() -> None:
    with pytest.raises(ValueError, match=r"temperature must be greater than 0, got 0\.0"):
        Distillation(*teacher_basis(people(5, 6), 4), queue_size=3, temperature=0.0)
