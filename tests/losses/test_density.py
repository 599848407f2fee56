import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from fdps.losses.balanced_oim import BalancedOIMLoss
from fdps.losses.density import BLOCK, RunningDispersion, dispersion
from losses.plain_loops import dispersion as plain_dispersion
from losses.plain_loops import unit_rows


@pytest.mark.parametrize("alpha", [None, 0.0, -3.5])
def test_value_equals_plain_loops(alpha: float | None) -> None:
    lut = unit_rows(np.random.default_rng(0), 30, 8)
    lut[[3, 17]] = 0
    w = dispersion(torch.from_numpy(lut), alpha=alpha)
    assert w.item() == pytest.approx(plain_dispersion(lut, alpha), rel=1e-10)


def test_value_does_not_depend_on_blocks() -> None:
    lut = unit_rows(np.random.default_rng(0), BLOCK + 5, 3)
    expected = np.exp(lut @ lut.T).mean()
    assert dispersion(torch.from_numpy(lut)).item() == pytest.approx(expected, rel=1e-10)


def test_value_float32_and_half_are_summed_in_float64() -> None:
    lut = normalize(torch.randn(40, 8))
    for rows in (lut, lut.bfloat16()):
        w = dispersion(rows)
        assert w.dtype == torch.float64
        assert torch.equal(w, dispersion(rows.double()))


def test_limit_one_for_an_empty_table_and_e_for_collapsed_centres() -> None:
    assert dispersion(torch.zeros(11, 4)).item() == 1
    collapsed = torch.tensor([[0.6, 0.8]], dtype=torch.float64).expand(11, 2)
    assert dispersion(collapsed).item() == pytest.approx(math.e, rel=1e-12)
    assert RunningDispersion(11).value().item() == 1


def test_limit_orthogonal_centres() -> None:
    expected = (8 * math.e + 8 * 7) / 64
    assert dispersion(torch.eye(8)).item() == pytest.approx(expected, rel=1e-12)


def test_limit_default_alpha_is_minus_two_log_l() -> None:
    lut = normalize(torch.randn(20, 4))
    running = RunningDispersion(20)
    running.refresh(lut)
    literal = -2 * math.log(20)
    assert dispersion(lut, alpha=literal).item() == pytest.approx(dispersion(lut).item(), rel=1e-12)
    assert torch.equal(running.value(alpha=literal), dispersion(lut, alpha=literal))


def test_property_no_gradient() -> None:
    assert not dispersion(torch.eye(3, requires_grad=True)).requires_grad


def follow(n_updates: int, n_persons: int, dim: int, batch: int) -> float:
    """Update a criterion at random; return the relative error of w."""
    generator = torch.Generator().manual_seed(7)
    criterion = BalancedOIMLoss(n_persons, 4, dim, refresh_every=n_updates + 1)
    mean = torch.randn(dim, generator=generator)  # centres of real people are not orthogonal
    for step in range(n_updates):
        x = normalize(mean + torch.randn(batch, dim, generator=generator))
        ids = torch.randint(-1, n_persons, (batch,), generator=generator)
        if step % 2:
            ids = ids[torch.randint(batch, (batch,), generator=generator)]  # several of one person
        criterion.update(x, ids)
    assert criterion.dispersion is not None
    rows = criterion.memory.table.rows.double().numpy()
    exact = math.fsum(float(np.exp(block @ rows.T).sum()) for block in np.array_split(rows, 20))
    return abs(criterion.dispersion.value().item() * n_persons**2 / exact - 1)


def test_value_running_equals_full_after_200_updates() -> None:
    assert follow(200, n_persons=90, dim=16, batch=12) < 1e-12


@pytest.mark.slow
def test_value_running_equals_full_after_2000_updates_at_full_size() -> None:
    assert follow(2000, n_persons=5532, dim=256, batch=40) < 1e-9


def test_limit_all_rows_change_at_once_and_none_does() -> None:
    lut = normalize(torch.randn(9, 4))
    running = RunningDispersion(9)
    running.update(torch.zeros(9, 4), torch.arange(9), lut)
    assert running.value().item() == pytest.approx(dispersion(lut).item(), rel=1e-14)
    before = running.value()
    running.update(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), lut)
    assert torch.equal(running.value(), before)


def test_property_refresh_mends_what_was_added_up() -> None:
    lut = normalize(torch.randn(9, 4))
    running = RunningDispersion(9, refresh_every=3)
    running.refresh(lut)
    running.total += 5
    unchanged = (lut[:1], torch.tensor([0]), lut)
    running.update(*unchanged)
    running.update(*unchanged)
    assert running.value().item() == pytest.approx(dispersion(lut).item() + 5 / 81)
    running.update(*unchanged)
    assert torch.equal(running.value(), dispersion(lut))


def test_round_trip_a_resumed_run_goes_on_with_the_same_bits() -> None:
    def step(criterion: BalancedOIMLoss, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        x = normalize(torch.randn(8, 16, generator=generator))
        criterion.update(x, torch.randint(-1, 50, (8,), generator=generator))

    undisturbed = BalancedOIMLoss(50, 4, 16, refresh_every=30)
    for seed in range(25):
        step(undisturbed, seed)
    resumed = BalancedOIMLoss(50, 4, 16, refresh_every=30)
    resumed.load_state_dict(undisturbed.state_dict())
    for seed in range(25, 40):  # the full sum falls into these steps
        step(undisturbed, seed)
        step(resumed, seed)
        assert {"dispersion.total", "dispersion.n_updates"} <= undisturbed.state_dict().keys()
        for name, value in undisturbed.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), (seed, name)


def test_raises_refresh_every() -> None:
    with pytest.raises(ValueError, match="refresh_every must be at least 1, got 0"):
        RunningDispersion(5, refresh_every=0)
