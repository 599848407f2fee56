import numpy as np
import pytest
import torch

from fdps.config import LossConfig
from fdps.errors import ConfigError
from fdps.losses import LocalizedOIMLoss, OIMLoss
from fdps.losses.loim import kept_shares
from fdps.models import build_criterion
from losses.plain_loops import oim, unit_rows


def draw(seed: int, n: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x, ids, overlaps = unit_rows(rng, n, 8), rng.integers(-1, 4, size=n), rng.uniform(0.5, 1, n)
    return tuple(torch.from_numpy(a) for a in (x, ids, overlaps))


def written(lut: np.ndarray, batch: tuple[torch.Tensor, ...], least: float) -> np.ndarray:
    """The table after a batch, one region after the other, in float64."""
    lut = lut.copy()
    for x, t, overlap in zip(*(part.numpy() for part in batch), strict=True):
        if t == -1:
            continue
        share = min(max(overlap, 0.7), 1 - least)
        row = (1 - share) * lut[t] + share * x
        lut[t] = row / np.linalg.norm(row)
    return lut


@pytest.mark.parametrize("least", [0.0, 0.1, 0.25])
def test_value_of_the_table_equals_plain_loops(least: float) -> None:
    criterion = LocalizedOIMLoss(4, 3, 8, least_kept=least).double()
    expected = np.zeros((4, 8))
    for seed in range(5):
        batch = draw(seed)
        criterion.update(*batch)
        expected = written(expected, batch, least)
        table = criterion.memory.table.rows.numpy()
        np.testing.assert_allclose(table, expected, rtol=0, atol=1e-10)


def test_value_of_the_loss_is_that_of_oim() -> None:
    criterion = LocalizedOIMLoss(4, 3, 8).double()
    criterion.update(*draw(0))
    x, ids, overlaps = draw(1)
    rows, slots = (m.rows.numpy() for m in (criterion.memory.table, criterion.memory.queue))
    expected = oim(x.numpy(), ids.numpy(), rows, slots, 1 / 30)
    terms = criterion.terms(x, ids, overlaps)
    assert terms.loss.item() == pytest.approx(expected, rel=1e-10)
    assert list(terms._asdict()) == ["oim", "positive_similarity", "negative_similarity"]


def test_limit_perfect_regions_write_as_oim_of_the_least_momentum() -> None:
    ours, plain = LocalizedOIMLoss(4, 3, 8, least_kept=0.25), OIMLoss(4, 3, 8, momentum=0.25)
    for seed in range(3):
        x, ids, overlaps = draw(seed)
        ours.update(x, ids, torch.ones_like(overlaps) if seed else None)
        plain.update(x, ids)
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), plain.buffers(), strict=True))


def test_limit_a_row_that_was_never_written_becomes_the_first_person() -> None:
    x, _, _ = draw(0, 1)
    criterion = LocalizedOIMLoss(4, 3, 8).double()
    criterion.update(x, torch.tensor([2]), torch.tensor([0.5]))
    torch.testing.assert_close(criterion.memory.table.rows[2], x[0])


def test_property_a_better_region_moves_its_row_further() -> None:
    moved = []
    for overlap in (0.5, 0.7, 0.8, 0.9, 1.0):
        criterion = LocalizedOIMLoss(1, 0, 2).double()
        criterion.memory.table.rows.copy_(torch.tensor([[1.0, 0]]))
        x = torch.tensor([[0.0, 1]], dtype=torch.float64)
        criterion.update(x, torch.tensor([0]), torch.tensor([overlap]))
        moved.append(float(criterion.memory.table.rows[0, 1]))
    assert moved[0] == moved[1] < moved[2] < moved[3] == pytest.approx(moved[4])


def test_property_the_queue_takes_everybody_alike() -> None:
    x, ids, overlaps = draw(2)
    ours, plain = LocalizedOIMLoss(4, 9, 8), OIMLoss(4, 9, 8)
    ours.update(x, ids, overlaps)
    plain.update(x, ids)
    assert torch.equal(ours.memory.queue.rows, plain.memory.queue.rows)
    assert ours.memory.queue.pointer == (ids == -1).sum()


@pytest.mark.parametrize("ids", [[], [-1, -1], [0, -1, 0, 0], [3, 2, 1, 0]])
def test_empty_or_any_mix_of_labels_keeps_the_memory_finite(ids: list[int]) -> None:
    criterion = LocalizedOIMLoss(4, 2, 3)
    x = torch.nn.functional.normalize(torch.randn(len(ids), 3), dim=1).requires_grad_()
    people = torch.tensor(ids, dtype=torch.int64)
    for worse in (x.detach(), -x.detach()):  # a row that meets its opposite
        loss = criterion.terms(x, people, torch.full((len(ids),), 0.5)).loss
        criterion.update(worse, people, torch.full((len(ids),), 0.5))
        loss.backward()
    assert all(b.isfinite().all() for b in criterion.buffers() if b.is_floating_point())
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_gradient_is_checked() -> None:
    criterion = LocalizedOIMLoss(4, 3, 8).double()
    criterion.update(*draw(0))
    x, ids, overlaps = draw(1, 4)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: criterion.terms(e, ids, overlaps).loss, (x,))


def test_shares_stay_between_their_limits() -> None:
    shares = kept_shares(torch.tensor([0.0, 0.5, 0.7, 0.85, 0.95, 1.0]), 0.1)
    torch.testing.assert_close(shares, torch.tensor([0.3, 0.3, 0.3, 0.15, 0.1, 0.1]))
    assert kept_shares(torch.tensor([0.5, 1.0]), 0.5).tolist() == [0.5, 0.5]


def test_a_recipe_names_it() -> None:
    criterion = build_criterion(LossConfig(name="loim", least_kept=0.2, queue_size=4), 3, 8)
    assert isinstance(criterion, LocalizedOIMLoss)
    assert criterion.memory.table.momentum == 0.2
    with pytest.raises(ConfigError, match=r"least_kept must be in 0..1, below 1, got 1.0"):
        LossConfig(least_kept=1.0)


def test_raises_where_a_memory_scores_boxes() -> None:
    with pytest.raises(ConfigError, match=r"'loim', which the memory of .* does not know") as it:
        build_criterion(LossConfig(name="loim"), 3, 8, is_hierarchical=True)
    assert it.value.hint


@pytest.mark.parametrize("wrong", [-0.1, 1.0])
def test_raises_a_share_outside_its_range(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\)"):
        LocalizedOIMLoss(3, 2, 4, least_kept=wrong)
