"""Searches of many users: equal to a search alone, to the last bit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fake.photos import unit_rows
from fake.stores import DIM, SCENES, Archive, Place
from fdps.errors import UsageError
from fdps.search import Filters, Index
from fdps.search.audit import entries
from fdps.search.sqlite.store import SqliteStore
from fdps.search.store import EVERYBODY
from fdps.serve.searching.answer import N_BINS, Question, Searches, answer

if TYPE_CHECKING:
    from fake.postgres import PostgresServer

FILTERS = [EVERYBODY, Filters(cameras=("gate",)), Filters(min_height=20.0), Filters(scenes="*1*")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Archive.filled(Place(tmp_path_factory.mktemp("archives"))) as archive:
        yield str(archive.where)


@pytest.fixture(scope="module")
def searches(place: str) -> Iterator[Searches]:
    searches = Searches(place)
    yield searches
    searches.close()


def questions(n: int) -> list[Question]:
    rng = np.random.default_rng(3)
    return [
        Question(
            like=list(unit_rows(rng, 1 + number % 2, DIM)),
            unlike=list(unit_rows(rng, number % 3 // 2, DIM)),
            top=1 + number % 7,
            filters=FILTERS[number % len(FILTERS)],
            rerank=("", "", "expansion", "k-reciprocal")[number // 5 % 4],
            user="anna",
        )
        for number in range(n)
    ]


@pytest.mark.long
def test_searches_at_once_are_equal_to_the_index_to_the_last_bit(
    place: str, searches: Searches
) -> None:
    def ask(question: Question) -> list[tuple[int, float]]:
        with Index.open(place) as index:
            return [(hit.item, hit.similarity) for hit in answer(index, searches, question).hits]

    asked = questions(60)
    with ThreadPoolExecutor(20) as pool:
        together = list(pool.map(ask, asked))
    with Index.open(place) as index:
        for question, found in zip(asked, together, strict=True):
            alone = index.search(
                question.like,
                question.top,
                unlike=question.unlike,
                filters=question.filters,
                rerank=question.rerank,
            )
            assert found == [(hit.item, hit.similarity) for hit in alone]


@pytest.mark.parametrize("filters", FILTERS)
def test_the_histogram_counts_everybody_who_was_looked_at(
    place: str, searches: Searches, filters: Filters
) -> None:
    person = unit_rows(np.random.default_rng(1), 1, DIM)[0]
    question = Question([person], top=5000, filters=filters, user="anna")
    with Index.open(place) as index:
        told = answer(index, searches, question)
        assert told.n_people == len(index)
        assert told.n_looked_at == index.store.count(filters)
    assert told.spread is not None
    assert sum(told.spread.counts) == told.n_looked_at == len(told.hits)
    assert len(told.spread.counts) == N_BINS
    assert told.spread.edges[-1] == 1
    edges = np.array(told.spread.edges)
    expected, _ = np.histogram([hit.similarity for hit in told.hits], edges)
    assert np.abs(expected - told.spread.counts).sum() <= 2  # a float32 product at a border


def test_what_is_wrong_with_one_search_does_not_spoil_those_beside_it(
    place: str, searches: Searches
) -> None:
    good, bad = questions(1)[0], Question([np.ones(DIM, dtype=np.float32)], user="anna")

    def ask(question: Question) -> int:
        with Index.open(place) as index:
            return len(answer(index, searches, question).hits)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, (good, bad)[number % 2]) for number in range(16)]
    for number, one in enumerate(asked):
        if number % 2:
            with pytest.raises(UsageError, match="unit length"):
                one.result()
        else:
            assert one.result() == good.top


def test_every_search_is_in_the_audit_with_the_name_of_the_user(tmp_path: Path) -> None:
    with Archive.filled(Place(tmp_path), range(SCENES)) as archive:
        searches = Searches(str(archive.where))
        person = unit_rows(np.random.default_rng(1), 1, DIM)[0]

        def ask(number: int) -> str:
            with Index.open(archive.where) as index:
                return answer(
                    index,
                    searches,
                    Question([person], user=f"user {number}", purpose="a lost child"),
                ).unrecorded

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(24))) == {""}
        searches.close()
        store = archive.open()
        assert isinstance(store, SqliteStore)
        with store.reading() as connection:
            noted = [entry for entry in entries(connection) if entry.action == "search"]
    assert {entry.purpose for entry in noted} == {"a lost child"}
    assert sorted(entry.details.split('"user": "')[1][:-2] for entry in noted) == sorted(
        f"user {number}" for number in range(24)
    )


def test_an_archive_on_a_server_is_searched_too(postgres: "PostgresServer") -> None:
    rng = np.random.default_rng(5)
    question = Question(like=list(unit_rows(rng, 1, DIM)), user="anna", top=5)
    with (
        Archive.filled(Place(postgres.url())) as archive,
        closing(Searches(str(archive.where))) as searches,
        Index.open(archive.where) as index,
    ):
        alone = [hit.item for hit in index.search(question.like, 5)]
        assert [hit.item for hit in answer(index, searches, question).hits] == alone
        found = answer(index, searches, replace(question, appearances=True))
        assert [one.best.item for one in found.appearances or ()] == alone
        assert found.spread
