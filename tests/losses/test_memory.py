from collections import deque

import numpy as np
import pytest
import torch

from fdps.losses.memory import (
    CircularQueue,
    LookupTable,
    PersonMemory,
    check_person_ids,
    is_written,
    similarity,
)
from losses.plain_loops import unit_rows, updated_table


def people(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(unit_rows(np.random.default_rng(seed), n, dim)).float()


def test_value_first_sample_becomes_the_row() -> None:
    table = LookupTable(3, 2)
    table.update(torch.tensor([[0.6, 0.8]]), torch.tensor([1]))
    torch.testing.assert_close(table.rows, torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.0, 0.0]]))
    assert is_written(table.rows).tolist() == [False, True, False]


def test_value_momentum_applies_sample_after_sample() -> None:
    # (1,0), then (0,1): halfway; then (1,0) again: halfway between that and (1,0), 22.5 degrees
    table = LookupTable(1, 2)
    table.update(torch.tensor([[1.0, 0], [0, 1], [1, 0]]), torch.tensor([0, 0, 0]))
    angle = torch.tensor(torch.pi / 8)
    torch.testing.assert_close(table.rows[0], torch.stack([angle.cos(), angle.sin()]))


def test_property_order_within_an_identity_counts() -> None:
    x, ids = people(2, 8), torch.tensor([0, 0])
    forth, back = LookupTable(1, 8), LookupTable(1, 8)
    forth.update(x, ids)
    back.update(x.flip(0), ids)
    torch.testing.assert_close(
        forth.rows, back.rows
    )  # at m = 0.5 the first two samples weigh alike
    forth.update(x, ids)
    back.update(x.flip(0), ids)
    assert not torch.allclose(forth.rows, back.rows)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_value_table_equals_sequential_writing(momentum: float) -> None:
    rng = np.random.default_rng(1)
    table, expected = LookupTable(6, 4, momentum), np.zeros((6, 4))
    for _ in range(30):
        n = int(rng.integers(0, 20))
        x, ids = unit_rows(rng, n, 4).astype(np.float32), rng.integers(-1, 6, size=n)
        table.update(torch.from_numpy(x), torch.from_numpy(ids))
        expected = updated_table(expected, x.astype(np.float64), ids, momentum)
    np.testing.assert_allclose(table.rows.numpy(), expected, atol=2e-6)
    assert table.rows.dtype == torch.float32


def test_limit_opposite_samples_leave_the_row_empty_not_nan() -> None:
    table = LookupTable(1, 2)
    table.update(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 0]))
    assert not is_written(table.rows).any()


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_value_queue_equals_sequential_writing(size: int) -> None:
    rng = np.random.default_rng(size)
    queue, last = CircularQueue(size, 3), deque[np.ndarray](maxlen=size)
    slots, pointer = np.zeros((size, 3), dtype=np.float32), 0
    for n in [2, 0, 3, 1, 9, 7, 20]:  # fewer, none, exactly as many, more than slots
        x = unit_rows(rng, n, 3).astype(np.float32)
        queue.update(torch.from_numpy(x))
        for row in x:
            slots[pointer], pointer = row, (pointer + 1) % size
            last.append(row)
    np.testing.assert_array_equal(queue.rows.numpy(), slots)
    assert int(queue.pointer) == pointer
    kept = {row.tobytes() for row in queue.rows.numpy() if row.any()}
    assert kept == {row.tobytes() for row in last}


def test_empty_queue_without_slots_takes_anybody() -> None:
    queue = CircularQueue(0, 3)
    queue.update(people(4, 3))
    assert queue.rows.shape == (0, 3)
    assert int(queue.pointer) == 0


def test_empty_batch_changes_nothing() -> None:
    memory = PersonMemory(2, 2, 3)
    memory.update(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert not is_written(memory.table.rows).any()
    assert int(memory.queue.pointer) == 0


def test_value_memory_sends_everybody_to_the_right_place() -> None:
    memory, x = PersonMemory(2, 3, 4), people(4, 4)
    memory.update(x, torch.tensor([-1, 1, -1, 0]))
    torch.testing.assert_close(memory.table.rows, x[[3, 1]])
    assert torch.equal(memory.queue.rows[:2], x[[0, 2]])
    assert int(memory.queue.pointer) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_property_memory_stays_float32(dtype: torch.dtype) -> None:
    memory = PersonMemory(2, 2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        memory.update(people(3, 4).to(dtype).requires_grad_(), torch.tensor([0, 0, -1]))
    assert memory.table.rows.dtype == memory.queue.rows.dtype == torch.float32
    assert memory.table.rows[0].norm().item() == pytest.approx(1, abs=1e-6)
    assert not memory.table.rows.requires_grad


def test_round_trip_state_dict_has_pointer_and_rows() -> None:
    memory, other = PersonMemory(5, 3, 4), PersonMemory(5, 3, 4)
    ids = torch.tensor([0, -1, 3, -1, -1, -1, 3])
    memory.update(people(7, 4), ids)
    other.load_state_dict(memory.state_dict())
    memory.update(people(7, 4, seed=1), ids)
    other.update(people(7, 4, seed=1), ids)
    assert set(memory.state_dict()) == {"table.rows", "queue.rows", "queue.pointer"}
    for name, value in memory.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_value_similarity_ignores_autocast() -> None:
    x, rows = people(3, 64), people(5, 64, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ rows.T).dtype == torch.bfloat16  # what would happen without care
        inside = similarity(x, rows)
    assert torch.equal(inside, x @ rows.T)
    assert similarity(x.bfloat16(), rows).dtype == torch.float32


@pytest.mark.parametrize("wrong", [-2, 4, 5554])
def test_raises_ids_outside_the_table(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"0\.\.3 or -1 .* got {wrong}"):
        check_person_ids(torch.tensor([0, -1, wrong]), 4)
    memory = PersonMemory(4, 2, 3)
    with pytest.raises(ValueError, match=f"got {wrong}"):
        memory.update(people(3, 3), torch.tensor([0, -1, wrong]))
    assert not is_written(memory.table.rows).any()
    assert not is_written(memory.queue.rows).any()


def test_raises_sizes_and_momentum() -> None:
    with pytest.raises(ValueError, match="n_persons and dim must be at least 1, got 0 and 3"):
        LookupTable(0, 3)
    with pytest.raises(ValueError, match="got 3 and 0"):
        LookupTable(3, 0)
    for momentum in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\)"):
            LookupTable(3, 3, momentum)
    with pytest.raises(ValueError, match="size must be at least 0"):
        CircularQueue(-1, 3)
    with pytest.raises(ValueError, match="dim at least 1"):
        CircularQueue(1, 0)
    with pytest.raises(ValueError, match="momentum"):
        PersonMemory(1, 1, 1, momentum=2.0)
