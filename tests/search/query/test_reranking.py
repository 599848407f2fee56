"""Queries of several pictures, and other orders of the hits."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fake.photos import random_people, unit_rows
from fdps.errors import UsageError
from fdps.evaluation.protocols import RerankOptions
from fdps.evaluation.reranking.reciprocal import k_reciprocal_distance
from fdps.search import Index, SceneRecord, SqliteStore
from fdps.search.query.find import SHORTLIST
from fdps.search.query.wanted import UNLIKE_WEIGHT, Wanted

DIM, N_SCENES = 6, 60


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """180 people."""
    folder = tmp_path_factory.mktemp("archive") / "a.fdps"
    store = SqliteStore.create(folder, model_hash="a" * 64, dim=DIM)
    rng = np.random.default_rng(5)
    for k in range(N_SCENES):
        record = SceneRecord(f"{k:03}.png", f"/{k}.png", f"{k:064x}", 99, 99)
        store.add(record, random_people(rng, 3, DIM))
    with Index(store) as index:
        yield index


def everybody(index: Index) -> tuple[np.ndarray, np.ndarray]:
    """Items and embeddings."""
    people = [person for k in range(N_SCENES) for person in index.people_in(f"{k:03}.png")]
    items = np.array([person.item for person in people])
    return items, np.stack([person.embedding for person in people]).astype(np.float64)


def test_one_picture_is_itself_to_the_last_bit() -> None:
    (row,) = unit_rows(np.random.default_rng(0), 1)
    wanted = Wanted.of(row[None])
    np.testing.assert_array_equal(wanted.direction, row)
    assert wanted.length == 1.0


def test_similarities_are_means() -> None:
    rng = np.random.default_rng(1)
    like, unlike, others = unit_rows(rng, 3), unit_rows(rng, 2), unit_rows(rng, 50)
    expected = (others @ like.T).mean(axis=1)
    np.testing.assert_allclose(Wanted.of(like).similarity(others), expected, atol=1e-6)
    expected -= UNLIKE_WEIGHT * (others @ unlike.T).mean(axis=1)
    np.testing.assert_allclose(Wanted.of(like, unlike).similarity(others), expected, atol=1e-6)


def test_what_cannot_be_looked_for() -> None:
    row = unit_rows(np.random.default_rng(2), 1)
    with pytest.raises(UsageError, match="nobody to look for"):
        Wanted.of(row[:0])
    with pytest.raises(UsageError, match="cancel out"):
        Wanted.of(np.concatenate([row, -row]))
    with pytest.raises(UsageError, match="cancel out"):
        Wanted.of(row, row, weight=1.0)


def test_several_pictures_and_others_rank_by_their_means(index: Index) -> None:
    items, rows = everybody(index)
    rng = np.random.default_rng(3)
    like, unlike = list(unit_rows(rng, 2)), list(unit_rows(rng, 1))
    similarity = (rows @ np.stack(like).T).mean(axis=1) - UNLIKE_WEIGHT * (rows @ unlike[0])
    best = np.argsort(-similarity, kind="stable")[:20]
    hits = index.search(like, 20, unlike=unlike)
    assert [hit.item for hit in hits] == items[best].tolist()
    np.testing.assert_allclose([hit.similarity for hit in hits], similarity[best], atol=1e-6)


def test_people_of_the_question_are_no_results(index: Index) -> None:
    like, unlike = index.person(17), index.person(40)
    (found,) = index.search(like, 1)
    assert found.item not in (17, 40)
    plain = [hit.item for hit in index.search(like.embedding, 180)]
    assert plain[0] == 17
    assert [hit.item for hit in index.search([like], 180)] == plain[1:]
    hits = index.search(like, 180, unlike=[unlike])
    assert {hit.item for hit in hits} == set(plain) - {17, 40}


def test_expansion_orders_by_the_query_and_its_best_hit(index: Index) -> None:
    items, rows = everybody(index)
    (query,) = unit_rows(np.random.default_rng(4), 1)
    similarity = rows @ query.astype(np.float64)
    both = rows @ (query + rows[similarity.argmax()])
    best = np.argsort(-both, kind="stable")[:30]
    hits = index.search(query, 30, rerank="expansion")
    assert [hit.item for hit in hits] == items[best].tolist()
    assert [hit.item for hit in hits] != [hit.item for hit in index.search(query, 30)]
    np.testing.assert_allclose([hit.similarity for hit in hits], similarity[best], atol=1e-6)


@pytest.mark.parametrize("top", [10, 150])
def test_k_reciprocal_reorders_the_shortlist_alone(index: Index, top: int) -> None:
    items, rows = everybody(index)
    (query,) = unit_rows(np.random.default_rng(6), 1)
    best = np.argsort(-(rows @ query.astype(np.float64)), kind="stable")
    short = np.concatenate([query[None], rows[best[:SHORTLIST]]]).astype(np.float64)
    distance = k_reciprocal_distance(short @ short.T, RerankOptions())[1:]
    expected = [*best[:SHORTLIST][np.argsort(distance, kind="stable")], *best[SHORTLIST:]][:top]
    hits = index.search(query, top, rerank="k-reciprocal")
    assert [hit.item for hit in hits] == items[expected].tolist()


@pytest.mark.parametrize("rerank", ["expansion", "k-reciprocal"])
def test_nobody_passes(index: Index, rerank: str) -> None:
    query = unit_rows(np.random.default_rng(7), 1)[0]
    assert index.search(query, rerank=rerank, scenes="nowhere*") == []


def test_what_is_refused(index: Index) -> None:
    query = unit_rows(np.random.default_rng(8), 1)[0]
    with pytest.raises(UsageError, match="no re-ranking is called 'magic'") as error:
        index.search(query, rerank="magic")
    assert "expansion, k-reciprocal" in (error.value.hint or "")
    with pytest.raises(UsageError, match="nobody in the archive has number 4711"):
        index.person(4711)
    with pytest.raises(UsageError, match="nobody to look for"):
        index.search([])
    with pytest.raises(UsageError, match="item 3 cannot be the person and somebody else"):
        index.search([index.person(3), index.person(4)], unlike=[index.person(3)])
    with pytest.raises(UsageError, match=r"shape \(any, 6\)"):
        index.search([query, query[:5]])
    with pytest.raises(UsageError, match="top must be at least 1"):
        index.search(query, 0)


def test_an_archive_without_people(tmp_path: Path) -> None:
    store = SqliteStore.create(tmp_path / "a.fdps", model_hash="a" * 64, dim=DIM)
    with Index(store) as index:
        for rerank in ("", "expansion", "k-reciprocal"):
            assert index.search(unit_rows(np.random.default_rng(9), 1)[0], rerank=rerank) == []
