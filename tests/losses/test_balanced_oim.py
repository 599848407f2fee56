import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from fdps.losses import BalancedOIMLoss, OIMLoss
from fdps.losses.balanced_oim import balanced_oim_loss, dispersion, negative_loss
from fdps.losses.oim import oim_loss
from losses.plain_loops import dispersion as plain_dispersion
from losses.plain_loops import negative, oim, unit_rows


def draw(seed: int, n: int = 12, n_persons: int = 9, dim: int = 6) -> tuple[torch.Tensor, ...]:
    """People, ids, table, queue: a common direction makes negatives hard, some rows are empty."""
    rng = np.random.default_rng(seed)
    x, lut, queue = (unit_rows(rng, k, dim) + 0.3 for k in (n, n_persons, 5))
    x, lut, queue = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, lut, queue))
    lut[rng.random(n_persons) < 0.3] = 0
    ids = rng.integers(-1, n_persons, size=n)
    return tuple(torch.from_numpy(a) for a in (x, ids, lut, queue))


@pytest.mark.parametrize(
    ("sigma", "beta"),
    [
        (0.5, 0.2),  # the defaults
        (0.9, 0.0),  # few negatives, each counts from zero
        (0.0, 0.5),  # all on the own side
        (-1.0, -1.0),  # nearly everybody
    ],
)
def test_value_negatives_equal_plain_loops(sigma: float, beta: float) -> None:
    seen = 0.0
    for seed in range(20):
        x, ids, lut, _ = draw(seed)
        expected = negative(x.numpy(), ids.numpy(), lut.numpy(), sigma, beta)
        loss = negative_loss(x, ids, lut, sigma=sigma, beta=beta)
        assert loss.item() == pytest.approx(expected, rel=1e-10, abs=1e-10)
        seen += expected
    assert seen > 0


@pytest.mark.parametrize("alpha", [None, -4.0])
def test_value_balanced_equals_plain_loops(alpha: float | None) -> None:
    for seed in range(10):
        x, ids, lut, queue = draw(seed)
        a = [t.numpy() for t in (x, ids, lut, queue)]
        expected = plain_dispersion(a[2], alpha) * oim(*a, 0.1) + negative(*a[:3], 0.6, 0.1)
        loss = balanced_oim_loss(
            x, ids, lut, queue, temperature=0.1, alpha=alpha, sigma=0.6, beta=0.1
        )
        assert loss.item() == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_value_hand_computed_hard_negatives() -> None:
    lut = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [0.6, 0, 0.8], [0, 0, 0], [-1, 0, 0]])
    x, ids = torch.tensor([[1.0, 0, 0]]), torch.tensor([0])
    # similarities 1 (own), 0.8, 0.6, unwritten, -1
    for sigma, expected in [(0.5, (0.6 + 0.4) / 2), (0.7, 0.6), (0.9, 0.0)]:
        loss = negative_loss(x, ids, lut, sigma=sigma, beta=0.2)
        assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert negative_loss(x, ids, lut, sigma=0.5, beta=0.7).item() == pytest.approx(0.05, abs=1e-6)


def test_limit_negatives_with_one_identity_an_empty_table_or_a_distant_beta() -> None:
    x, ids = normalize(torch.randn(3, 4)), torch.tensor([0, 0, -1])
    assert negative_loss(x, ids, normalize(torch.randn(1, 4)), sigma=0.5, beta=0.2) == 0
    assert negative_loss(x, ids, torch.zeros(5, 4), sigma=0.5, beta=-1.0) == 0
    assert negative_loss(x, ids, normalize(torch.randn(5, 4)), sigma=-9.0, beta=1.01) == 0


def test_limit_negatives_of_a_person_whose_row_is_unwritten() -> None:
    # own similarity 0: everybody on the positive side is hard, the printed ratio would divide by 0
    lut = torch.tensor([[0.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    loss = negative_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), lut, sigma=0.5, beta=0.2)
    assert loss.item() == pytest.approx(0.4, abs=1e-6)


def test_limit_a_negative_exactly_at_the_threshold_is_not_hard() -> None:
    lut = torch.tensor([[1.0, 0.0], [0.5, 0.0]])
    x, ids = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    assert negative_loss(x, ids, lut, sigma=0.5, beta=0.0) == 0
    assert negative_loss(x, ids, lut, sigma=0.499, beta=0.0) == 0.5


def test_gradient_is_checked() -> None:
    x, ids, lut, queue = draw(5, n=5, n_persons=6)
    x.requires_grad_()
    for sigma, beta in [(0.5, 0.2), (-2.0, -2.0)]:
        assert torch.autograd.gradcheck(
            lambda e, s=sigma, b=beta: negative_loss(e, ids, lut, sigma=s, beta=b), (x,)
        )
    assert torch.autograd.gradcheck(
        lambda e: balanced_oim_loss(
            e, ids, lut, queue, temperature=1 / 30, alpha=None, sigma=0.5, beta=0.2
        ),
        (x,),
    )


@pytest.mark.parametrize("ids", [[], [-1, -1, -1]])
def test_empty_nobody_labelled_gives_zero_with_zero_gradient(ids: list[int]) -> None:
    criterion = BalancedOIMLoss(3, 2, 4)
    criterion.update(normalize(torch.randn(5, 4)), torch.tensor([0, 1, 2, -1, -1]))
    x = torch.randn(len(ids), 4, requires_grad=True)
    terms = criterion.terms(x, torch.tensor(ids, dtype=torch.int64))
    of_people = {name: value for name, value in terms._asdict().items() if name != "w"}
    assert {value.item() for value in (terms.loss, *of_people.values())} == {0}
    terms.loss.backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", [OIMLoss, BalancedOIMLoss])
def test_property_nan_is_impossible(
    kind: type[OIMLoss | BalancedOIMLoss], data: st.DataObject
) -> None:
    n_persons, queue_size = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 4))
    criterion = kind(n_persons, queue_size, 3)
    batches = st.lists(st.lists(st.integers(-1, n_persons - 1), max_size=9), max_size=4)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 9)))
    collapsed = data.draw(st.booleans())
    for ids in data.draw(batches):
        x = torch.randn(len(ids), 3, generator=generator)
        x = normalize(torch.ones_like(x) if collapsed else x).requires_grad_()
        person_ids = torch.tensor(ids, dtype=torch.int64)
        loss = criterion(x, person_ids)
        loss.backward()
        criterion.update(x, person_ids)
        assert math.isfinite(loss.item())
        assert loss.item() >= -1e-6
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert all(value.isfinite().all() for value in criterion.state_dict().values())


def test_value_module_equals_function_while_training() -> None:
    criterion = BalancedOIMLoss(40, 6, 8, temperature=0.1, sigma=0.4, beta=0.1, refresh_every=9)
    table, queue = criterion.memory.table, criterion.memory.queue
    for _ in range(25):
        x, ids = normalize(torch.randn(10, 8) + 0.5), torch.randint(-1, 40, (10,))
        expected = balanced_oim_loss(
            x, ids, table.rows, queue.rows, temperature=0.1, alpha=None, sigma=0.4, beta=0.1
        )
        torch.testing.assert_close(criterion(x, ids), expected)
        criterion.update(x, ids)


def test_value_terms_add_up_and_count() -> None:
    criterion = BalancedOIMLoss(3, 2, 3, sigma=0.5, beta=0.2)
    rows = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [0.6, 0, 0.8]])
    criterion.update(rows, torch.tensor([0, 1, 2]))
    terms = criterion.terms(rows, torch.tensor([0, -1, 2]))
    # person 0: 0.8 and 0.6 are hard; person 2: 0.6 (row 0), and 0.48 (row 1) is not
    assert terms.n_hard.item() == 1.5
    assert terms.negative.item() == pytest.approx((0.5 + 0.4) / 2, abs=1e-6)
    assert terms.w.item() == pytest.approx(dispersion(rows).item(), rel=1e-6)
    assert not terms.w.requires_grad
    assert terms.loss.item() == pytest.approx((terms.w * terms.oim + terms.negative).item())
    # person 0: nearest 0.8 (row 1); person 2: nearest 0.6 (row 0)
    assert terms.positive_similarity.item() == pytest.approx(1)
    assert terms.negative_similarity.item() == pytest.approx(0.7)
    assert list(terms._asdict()) == [
        *("oim", "w", "negative", "n_hard"),
        *("positive_similarity", "negative_similarity"),
    ]


@pytest.mark.parametrize("use_dispersion", [False, True])
@pytest.mark.parametrize("use_negatives", [False, True])
def test_value_the_rows_of_table_2(use_dispersion: bool, use_negatives: bool) -> None:
    criterion = BalancedOIMLoss(9, 5, 6, use_dispersion=use_dispersion, use_negatives=use_negatives)
    x, ids = normalize(torch.randn(12, 6) + 0.3), torch.randint(-1, 9, (12,))
    criterion.update(x, ids)
    rows, slots = criterion.memory.table.rows, criterion.memory.queue.rows
    expected = oim_loss(x, ids, rows, slots)
    if use_dispersion:
        expected = expected * dispersion(rows)
    if use_negatives:
        expected = expected + negative_loss(x, ids, rows, sigma=0.5, beta=0.2)
    assert criterion(x, ids).item() == pytest.approx(expected.item(), rel=1e-6)
    assert criterion(x, ids).dtype == torch.float32


def test_limit_without_both_parts_it_is_oim_bit_for_bit() -> None:
    plain = OIMLoss(9, 5, 6)
    balanced = BalancedOIMLoss(9, 5, 6, use_dispersion=False, use_negatives=False)
    for _ in range(4):
        x, ids = normalize(torch.randn(12, 6)), torch.randint(-1, 9, (12,))
        assert torch.equal(plain(x, ids), balanced(x, ids))
        plain.update(x, ids)
        balanced.update(x, ids)
    assert plain.state_dict().keys() == balanced.state_dict().keys()


def test_property_update_before_backward_keeps_the_gradient() -> None:
    criterion = BalancedOIMLoss(3, 2, 4, sigma=0.0, beta=-1.0)
    ids = torch.tensor([0, 1, -1, 2])
    criterion.update(normalize(torch.randn(4, 4) + 1), ids)
    x = normalize(torch.randn(4, 4) + 1).requires_grad_()
    (expected,) = torch.autograd.grad(criterion(x, ids), x)
    loss = criterion(x, ids)
    criterion.update(x, ids)
    (gradient,) = torch.autograd.grad(loss, x)
    assert torch.equal(gradient, expected)


def test_property_half_precision_is_computed_in_float32() -> None:
    criterion = BalancedOIMLoss(5, 4, 64)
    x, ids = normalize(torch.randn(8, 64)), torch.tensor([0, 1, 2, 3, 4, -1, 0, 1])
    criterion.update(x, ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = criterion(x.bfloat16(), ids)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, criterion(x.bfloat16().float(), ids))


@pytest.mark.parametrize("wrong", [-2, 3])
def test_raises_ids_outside_the_table(wrong: int) -> None:
    x, ids, lut = torch.zeros(1, 2), torch.tensor([wrong]), torch.zeros(3, 2)
    with pytest.raises(ValueError, match=f"got {wrong}"):
        negative_loss(x, ids, lut, sigma=0.5, beta=0.2)
    with pytest.raises(ValueError, match=f"got {wrong}"):
        balanced_oim_loss(x, ids, lut, lut, temperature=1.0, alpha=None, sigma=0.5, beta=0.2)
    criterion = BalancedOIMLoss(3, 2, 2)
    with pytest.raises(ValueError, match=f"got {wrong}"):
        criterion.update(torch.ones(2, 2), torch.tensor([0, wrong]))
    assert not criterion.memory.table.rows.any()
    assert criterion.terms(x, torch.tensor([0])).w == 1


def test_raises_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="temperature must be greater than 0"):
        BalancedOIMLoss(3, 2, 4, temperature=0.0)
    for alpha in (math.nan, math.inf, -math.inf, 100.0):
        with pytest.raises(ValueError, match="alpha must be finite and below"):
            BalancedOIMLoss(3, 2, 4, alpha=alpha)
    with pytest.raises(ValueError, match="refresh_every"):
        BalancedOIMLoss(3, 2, 4, refresh_every=0)
    with pytest.raises(ValueError, match="n_persons"):
        BalancedOIMLoss(0, 2, 4)
