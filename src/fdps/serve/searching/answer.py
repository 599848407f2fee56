"""The search of one user, beside those of others.

Each archive has one process that holds its matrix of embeddings. Searches that arrive while it is
busy wait; it then takes all of them. Entries of the audit are gathered likewise: one transaction
notes all searches that are finished.
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from fdps.errors import UsageError
from fdps.search.audit import Audited, Note, note_search
from fdps.search.index import Index
from fdps.search.query.find import find, find_appearances
from fdps.search.query.wanted import Person, Wanted, wanted_people
from fdps.search.store import (
    EVERYBODY,
    Appearance,
    ArchivedPerson,
    Filters,
    Store,
    check_embeddings,
)
from fdps.serve.opened import Opened
from fdps.serve.problems import ProblemError
from fdps.serve.searching.calls import N_FINE, Call
from fdps.serve.searching.gathering import WAIT_S, Gathering
from fdps.serve.searching.process import SearchProcess
from fdps.structures import Hit

N_BINS = 40
"""Bins of a histogram; bins that nobody is in are left out."""


class _Noting:
    """Writes entries of the audit, all that came together in one transaction."""

    def __init__(self, place: str) -> None:
        self._opened = Opened(place)

    def __call__(self, notes: list[Note]) -> list[BaseException | None]:
        store = self._opened.index().store
        if isinstance(store, Audited):
            first, *others = notes
            store.record(first, *others)
        return [None] * len(notes)

    def close(self) -> None:
        self._opened.close()


class Searches:
    """The searches of one archive.

    Args:
        place: Folder or address of the archive.
    """

    def __init__(self, place: str) -> None:
        self.people: Gathering[Call, Any] = Gathering(lambda: SearchProcess(place), "searches")
        self.notes: Gathering[Note, None] = Gathering(
            lambda: _Noting(place), "entries of the audit"
        )

    def warm(self, row: Float32[np.ndarray, " D"]) -> None:
        """Let the process read all embeddings, by a search that nobody sees."""
        self.people.ask(Call("people", row[np.newaxis], 1, EVERYBODY))

    def close(self) -> None:
        """End both threads, and the process."""
        self.people.close()
        self.notes.close()


class _Shared:
    """A store whose searches and entries of the audit are gathered with those of others.

    It has what a search asks of a store, and nothing else. The first search of people tells as
    well how similar everybody is, where the store can.

    Attributes:
        counts: How many people are how similar, in fine bins; ``None`` before it is known.
    """

    def __init__(self, store: Store, searches: Searches, user: str) -> None:
        self._store, self._searches, self._user = store, searches, user
        self.counts: Int64[np.ndarray, " _"] | None = None

    def people(self, items: Sequence[int]) -> list[ArchivedPerson]:
        """Return people by their numbers."""
        return self._store.people(items)

    def search(
        self, embeddings: Float32[np.ndarray, "1 D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """Search together with whoever else does."""
        ask = self._searches.people.ask
        if self.counts is not None:
            return [ask(Call("people", embeddings, top, filters))]
        hits, self.counts = ask(Call("people and spread", embeddings, top, filters))
        return [hits]

    def search_appearances(
        self, embeddings: Float32[np.ndarray, "1 D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Appearance]]:
        """Search together with whoever else does."""
        return [self._searches.people.ask(Call("appearances", embeddings, top, filters))]

    def record(self, note: Note, *more: Note) -> None:
        """Note with the name of the user, and wait until it is on disk."""
        for one in (note, *more):
            details = {**(one.details or {}), "user": self._user}
            self._searches.notes.ask(replace(one, details=details))


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One search, as a client asks for it.

    Args:
        like: Pictures of the person.
        unlike: People who are somebody else.
        user: Name of the user, for the audit.
        top: Number of results.
        min_similarity: Least similarity of a result.
        filters: Conditions on the people to look at.
        appearances: Whether the sightings of one person in a row are one result.
        rerank: Another order of the results.
        purpose: The purpose, for the audit.
        asked: Names of what is looked for, for the audit.
    """

    like: Sequence[Person]
    user: str
    unlike: Sequence[Person] = ()
    top: int = 50
    min_similarity: float = -math.inf
    filters: Filters = EVERYBODY
    appearances: bool = False
    rerank: str = ""
    purpose: str = ""
    asked: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Spreading:
    """How similar everybody is who was looked at.

    Args:
        edges: Borders of the bins, rising, one more than bins.
        counts: Number of people in each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The answer to a search.

    Args:
        hits: People, best first; of appearances, the best sighting of each.
        appearances: Appearances, where these were searched.
        n_people: Number of people in the archive.
        n_looked_at: Number of those who pass the filters.
        spread: How similar these are.
        unrecorded: The reason why the search could not be noted in the audit, or empty.
    """

    hits: list[Hit]
    n_people: int
    n_looked_at: int
    spread: Spreading
    appearances: list[Appearance] | None = None
    unrecorded: str = ""


def answer(index: Index, searches: Searches, question: Question) -> Answer:
    """Search an archive; for one of its readers.

    The results are those of :meth:`fdps.search.Index.search`, to the last bit.

    Args:
        index: The archive, as the reader holds it.
        searches: The thread that searches it.
        question: The search.

    Raises:
        UsageError: The question makes no sense, as for ``Index.search``.
        ProblemError: Too many searches wait already.
    """
    if question.appearances and question.rerank:
        raise UsageError("appearances are not re-ranked", hint="leave out rerank, or the grouping")
    wanted, known = wanted_people(question.like, question.unlike, index.info.dim)
    check_embeddings(wanted.direction[np.newaxis], index.info.dim)
    shared = _Shared(index.store, searches, question.user)
    counting = None  # asked before the search, so that both become one turn of the thread
    if question.appearances:
        row = wanted.direction[np.newaxis]
        counting = searches.people.submit(Call("spread", row, 1, question.filters))
    hits, found = _found(shared, wanted, known, question)
    unrecorded = _noted(shared, hits, question)
    counts = counting.result(WAIT_S) if counting else shared.counts
    assert counts is not None  # a search for people has counted as well
    spread, n_looked_at = _spreading(counts, wanted.length), int(counts.sum())
    n_people = n_looked_at if question.filters == EVERYBODY else len(index)
    return Answer(hits, n_people, n_looked_at, spread, found, unrecorded)


def _found(
    shared: _Shared, wanted: Wanted, known: Set[int], question: Question
) -> tuple[list[Hit], list[Appearance] | None]:
    if not question.appearances:
        hits = find(
            shared,
            wanted,
            question.top,
            filters=question.filters,
            rerank=question.rerank,
            known=known,
        )
        return [hit for hit in hits if hit.similarity >= question.min_similarity], None
    found = find_appearances(shared, wanted, question.top, filters=question.filters, known=known)
    found = [one for one in found if one.similarity >= question.min_similarity]
    return [one.best for one in found], found


def _noted(shared: _Shared, hits: list[Hit], question: Question) -> str:
    try:
        return note_search(
            shared,
            hits,
            purpose=question.purpose,
            filters=question.filters,
            top=question.top,
            asked=list(question.asked),
            appearances=question.appearances or None,
        )
    except ProblemError:
        raise
    except TimeoutError:
        return "another process has kept the archive for minutes"


def _spreading(counts: Int64[np.ndarray, " _"], length: float) -> Spreading:
    """Join fine bins so that forty of them reach from the least similar person to the end."""
    occupied = np.flatnonzero(counts)
    first = int(occupied[0]) if len(occupied) else N_FINE // 2
    width = max(1, math.ceil((N_FINE - first) / N_BINS))
    start = N_FINE - width * N_BINS  # the last bin ends at a similarity of 1
    edges = np.linspace(start, N_FINE, N_BINS + 1) * (2 / N_FINE) - 1
    return Spreading(
        tuple((edges * length).round(6).tolist()),
        tuple(counts[start:].reshape(N_BINS, width).sum(axis=1).tolist()),
    )
