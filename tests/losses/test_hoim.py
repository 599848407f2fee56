import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from fdps.losses import BACKGROUND_ID, HierarchicalMemory, HOIMLoss
from fdps.losses.balanced_oim import dispersion, negative_loss
from fdps.losses.hoim import SelectiveQueue, hierarchical_detection_loss, hoim_loss
from fdps.structures import UNLABELLED

DIM, TEMPERATURE = 5, 0.2


def filled(*, n_persons: int = 3, queue: int = 2, background: int = 4) -> HierarchicalMemory:
    """A memory in which every row was written."""
    memory = HierarchicalMemory(n_persons, queue, background, DIM, temperature=TEMPERATURE)
    for rows in (memory.table.rows, memory.queue.rows, memory.background.rows):
        rows.copy_(normalize(torch.randn_like(rows), dim=1))
    return memory


def batch() -> tuple[Tensor, Tensor]:
    ids = torch.tensor([2, BACKGROUND_ID, UNLABELLED, 0, BACKGROUND_ID, 2])
    return normalize(torch.randn(len(ids), DIM), dim=1), ids


def by_hand(embeddings: Tensor, ids: Tensor, memory: HierarchicalMemory) -> tuple[float, float]:
    """Both losses of the paper, one region after the other: detection and identity."""
    detection = identity = 0.0
    people = [*memory.table.rows, *memory.queue.rows]
    for x, person_id in zip(embeddings.double(), ids.tolist(), strict=True):

        def weights(rows: list[Tensor], x: Tensor = x) -> list[float]:
            return [math.exp(float(row.double() @ x) / TEMPERATURE) for row in rows]

        of_people, of_background = weights(people), weights([*memory.background.rows])
        p_person = sum(of_people) / (sum(of_people) + sum(of_background))
        p = 1 - p_person if person_id == BACKGROUND_ID else p_person
        detection -= 0.25 * (1 - p) ** 2 * math.log(p)
        if person_id >= 0:
            p_own = of_people[person_id] / sum(of_people)
            identity -= p_person**2 * 0.25 * (1 - p_own) ** 2 * math.log(p_own)
    n_people = sum(person_id != BACKGROUND_ID for person_id in ids.tolist())
    return detection / len(ids), identity / n_people


def test_losses_are_those_of_the_paper_by_hand() -> None:
    memory, (x, ids) = filled(), batch()
    detection, identity = by_hand(x, ids, memory)
    is_person = ids != BACKGROUND_ID
    found = hierarchical_detection_loss(memory.logits(x), is_person)
    assert found.item() == pytest.approx(detection, rel=1e-5)
    assert hoim_loss(x, ids, memory).item() == pytest.approx(identity, rel=1e-5)


def test_the_share_of_the_people_is_no_part_of_the_gradient_of_the_identity() -> None:
    memory, (x, ids) = filled(), batch()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(hoim_loss(x, ids, memory), x)
    memory.background.rows.zero_()
    before = memory.logits(x).softmax(dim=1)[:, 1].square()
    (changed,) = torch.autograd.grad(hoim_loss(x, ids, memory), x)
    labelled = ids >= 0
    assert not gradient[~labelled].any()
    memory = filled()
    # Of one person, another share scales the gradient and turns it nowhere.
    ratio = changed[labelled] / gradient[labelled]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-3, atol=1e-3)
    assert (before > 0).all()


def test_an_empty_memory_knows_nothing() -> None:
    memory = HierarchicalMemory(3, 5, 8, DIM)
    x, ids = batch()
    torch.testing.assert_close(memory.logits(x).softmax(dim=1)[:, 1], torch.full((6,), 0.5))
    own, share = 1 / 8, 0.5
    expected = 3 / 4 * share**2 * 0.25 * (1 - own) ** 2 * -math.log(own)
    assert hoim_loss(x, ids, memory).item() == pytest.approx(expected)


@pytest.mark.parametrize("ids", [[], [BACKGROUND_ID] * 2, [UNLABELLED] * 2], ids=str)
def test_without_identities_the_loss_is_zero_with_a_zero_gradient(ids: list[int]) -> None:
    x = normalize(torch.randn(len(ids), DIM), dim=1).requires_grad_()
    terms = HOIMLoss(filled(), use_negatives=True, use_dispersion=True).terms(
        x, torch.tensor(ids, dtype=torch.int64)
    )
    assert terms.loss.item() == 0
    (gradient,) = torch.autograd.grad(terms.loss, x, allow_unused=True)
    assert gradient is None or not gradient.any()


@pytest.mark.parametrize("right", [True, False])
def test_limit_detection_with_certainty_stays_finite(right: bool) -> None:
    logits = torch.tensor([[-1e4, 1e4]], requires_grad=True)
    loss = hierarchical_detection_loss(logits, torch.tensor([right]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    assert (loss == 0) == right


def one_after_the_other(
    rows: Tensor, importance: Tensor, embeddings: Tensor, new: Tensor
) -> tuple[Tensor, Tensor]:
    """Selective replacement as the paper tells it."""
    rows, importance = rows.clone(), importance.clone()
    for x, omega in zip(embeddings, new, strict=True):
        if len(rows) and omega >= importance.min():
            place = importance.argmin()
            rows[place], importance[place] = x, omega
    return rows, importance * 0.99


@given(st.data())
def test_property_a_queue_keeps_what_is_kept_one_after_the_other(data: st.DataObject) -> None:
    levels = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 1e9])
    size, n = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 8))
    queue = SelectiveQueue(size, 2)
    queue.rows.copy_(torch.randn(size, 2))
    old = data.draw(st.lists(levels, min_size=size, max_size=size))
    queue.importance.copy_(torch.tensor(old))
    new = torch.tensor(data.draw(st.lists(levels, min_size=n, max_size=n)))
    embeddings = torch.randn(n, 2)
    rows, importance = one_after_the_other(queue.rows, queue.importance, embeddings, new)
    queue.update(embeddings, new)

    assert sorted(queue.importance.tolist()) == sorted(importance.tolist())
    every = [*new.tolist(), *old]
    if len(set(every)) == len(every):  # of equal ones, order decides who stays
        assert sorted(queue.rows.tolist()) == sorted(rows.tolist())


def test_of_equally_important_ones_the_latest_stay() -> None:
    queue, embeddings = SelectiveQueue(2, 2), torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    queue.update(embeddings, torch.zeros(3))
    assert sorted(queue.rows.tolist()) == [[0, 1], [1, 1]]


def test_a_queue_leaves_its_rows_where_they_are() -> None:
    queue = SelectiveQueue(3, 2)
    queue.rows.copy_(torch.tensor([[1.0, 0], [2, 0], [3, 0]]))
    queue.importance.copy_(torch.tensor([5.0, 1.0, 3.0]))
    queue.update(torch.tensor([[9.0, 9], [8, 8]]), torch.tensor([2.0, 0.5]))
    assert queue.rows.tolist() == [[1, 0], [9, 9], [3, 0]]
    torch.testing.assert_close(queue.importance, 0.99 * torch.tensor([5.0, 2.0, 3.0]))


def test_update_writes_each_kind_into_its_own_memory() -> None:
    memory, (x, ids) = filled(), batch()
    before = {name: value.clone() for name, value in memory.named_buffers()}
    HOIMLoss(memory).update(x, ids)
    table = memory.table.rows
    assert torch.equal(table[1], before["table.rows"][1])  # nobody showed the second
    assert not torch.equal(table[2], before["table.rows"][2])
    assert (memory.queue.rows == x[2]).all(dim=1).any()
    for row in (1, 4):
        assert (memory.background.rows == x[row]).all(dim=1).any()
    importance = (x[2] @ before["table.rows"].T).max() / (x[2] @ before["queue.rows"].T).max()
    place = (memory.queue.rows == x[2]).all(dim=1)
    torch.testing.assert_close(memory.queue.importance[place][0], 0.99 * importance)


def test_balanced_hoim_adds_what_balances_oim() -> None:
    memory, (x, ids) = filled(), batch()
    balanced = HOIMLoss(memory, use_dispersion=True, use_negatives=True)
    assert balanced.dispersion is not None
    balanced.dispersion.refresh(memory.table.rows)
    terms, people = balanced.terms(x, ids), ids != BACKGROUND_ID
    rows = memory.table.rows
    w, hard = (
        dispersion(rows, alpha=None),
        negative_loss(x[people], ids[people], rows, sigma=0.5, beta=0.2),
    )
    assert hard > 0
    torch.testing.assert_close(terms.loss, w.float() * hoim_loss(x, ids, memory) + hard)
    assert HOIMLoss(memory).terms(x, ids).loss == hoim_loss(x, ids, memory)
    balanced.update(x, ids)
    expected = dispersion(memory.table.rows, alpha=None)
    torch.testing.assert_close(balanced.dispersion.value(), expected)


def test_an_identity_beyond_the_table_is_refused() -> None:
    loss, x = HOIMLoss(filled()), torch.eye(DIM)[:1]
    before = loss.memory.table.rows.clone()
    for call in (loss.terms, loss.update):
        with pytest.raises(ValueError, match=r"0\.\.2 or -1"):
            call(x, torch.tensor([3]))
    assert torch.equal(loss.memory.table.rows, before)
