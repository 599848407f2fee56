"""The matrix in memory follows the database, across blocks and reads of every size."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fake.photos import random_people, unit_rows
from fdps.search import Filters, SceneRecord, SqliteStore
from fdps.search.query import matrix

DIM = 6


@pytest.fixture(params=[(1, 1), (7, 3), (8, 8), (3, 100)], ids=lambda p: f"blocks{p[0]}read{p[1]}")
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SqliteStore]:
    rows_per_block, rows_per_read = request.param
    monkeypatch.setattr(matrix, "BLOCK_BYTES", rows_per_block * 4 * DIM)
    monkeypatch.setattr(matrix, "READ_BYTES", rows_per_read * 4 * DIM)
    with SqliteStore.create(tmp_path / "x.fdps", model_hash="a" * 64, dim=DIM) as store:
        yield store


def add(store: SqliteStore, number: int, n_people: int) -> np.ndarray:
    people = random_people(np.random.default_rng(number), n_people)
    store.add(SceneRecord(f"{number}", f"/{number}", f"{number:064x}", 9, 9), people)
    return people.embeddings


def test_it_holds_what_was_added_and_nothing_that_was_removed(store: SqliteStore) -> None:
    query = unit_rows(np.random.default_rng(9), 1)

    def check(expected: list[np.ndarray]) -> None:
        rows = np.concatenate(expected)
        (hits,) = store.search(query, top=1000)
        assert [hit.similarity for hit in hits] == pytest.approx(
            sorted((rows.astype(np.float64) @ query[0].astype(np.float64)).tolist(), reverse=True)
        )
        assert (np.concatenate(store._search.matrix.blocks) == rows).all()
        assert (np.diff(store._search.matrix.items) > 0).all()

    first, second = add(store, 1, 5), add(store, 2, 9)
    check([first, second])
    third = add(store, 3, 1)
    check([first, second, third])
    fourth = add(store, 4, 8)  # fills the last block of eight
    check([first, second, third, fourth])
    store.remove(scenes=["2"])
    check([first, third, fourth])
    check([first, third, fourth, add(store, 5, 30)])
    store.remove(scenes=["1", "3", "4", "5"])
    assert store.search(query, top=1000) == [[]]
    assert store._search.matrix.blocks == []


def test_the_same_filter_follows_the_archive(store: SqliteStore) -> None:
    query, filters = unit_rows(np.random.default_rng(9), 1), Filters(scenes="[12]")
    add(store, 1, 4)
    for _ in range(2):  # the second answer uses the mask of the first
        assert len(store.search(query, top=100, filters=filters)[0]) == 4
    add(store, 2, 3)
    assert len(store.search(query, top=100, filters=filters)[0]) == 7
    assert len(store.search(query, top=100, filters=Filters(scenes="2"))[0]) == 3
    assert len(store.search(query, top=100)[0]) == 7
    store.remove(scenes=["1"])
    assert len(store.search(query, top=100, filters=filters)[0]) == 3


def test_full_blocks_are_coded_one_a_search_and_anew_after_a_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "BLOCK_BYTES", 8 * 4 * DIM)
    query = unit_rows(np.random.default_rng(9), 1)
    with SqliteStore.create(tmp_path / "x.fdps", model_hash="a" * 64, dim=DIM) as store:
        add(store, 1, 29)
        hits, numbers = [], []
        for _ in range(5):
            hits.append([(hit.item, hit.similarity) for hit in store.search(query, top=12)[0]])
            numbers.append(len(store._search.matrix._codes))
        assert numbers == [1, 2, 3, 3, 3]  # the last block has five rows of eight
        assert all(one == hits[0] for one in hits)
        add(store, 2, 4)
        store.search(query, top=1)
        assert len(store._search.matrix._codes) == 4
        store.remove(scenes=["1"])
        assert [hit.item for hit in store.search(query, top=9)[0]] != []
        assert store._search.matrix._codes == []


def test_without_the_library_nothing_is_coded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "BLOCK_BYTES", 8 * 4 * DIM)
    monkeypatch.setattr(matrix, "can_multiply_codes", lambda: False)
    with SqliteStore.create(tmp_path / "x.fdps", model_hash="a" * 64, dim=DIM) as store:
        rows = add(store, 1, 29)
        query = unit_rows(np.random.default_rng(9), 1)
        (hits,) = store.search(query, top=29)
        assert store._search.matrix._codes == []
    expected = sorted((rows.astype(np.float64) @ query[0]).tolist(), reverse=True)
    assert [hit.similarity for hit in hits] == pytest.approx(expected)
