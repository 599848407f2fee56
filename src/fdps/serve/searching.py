"""Searches of many users at once: what waits together is one matrix product.

Each archive has one thread that holds its matrix of embeddings. Searches that arrive while it is
busy wait; it then takes all of them, and those with the same filters become one call of
``store.search``. Every search gets to the last bit what it would get alone, because the rows that
a product in float32 lets through are compared in float64, each by itself.

Entries of the audit are gathered likewise: one transaction notes all searches that are finished.

Axes in shapes: D embedding dimension, Q queries.
"""

import math
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

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
from fdps.serve.problems import ProblemError, busy
from fdps.serve.readers import Opened
from fdps.structures import Hit

Asked = TypeVar("Asked")
Told = TypeVar("Told")
N_BINS, N_FINE = 40, 200
"""Bins of a histogram, and those that are counted: bins that nobody is in are left out."""
_AT_ONCE = 64
_MOST_WAITING = 128
_WAIT_S = 300.0  # the first search of a large archive reads all of it


class Gathering(Generic[Asked, Told]):
    """A thread that answers all that waits at one time by one call.

    Args:
        place: Folder or address of the archive.
        work: Answers several, given the archive; an answer may be an error to raise.
        what: Name of what waits, for messages.
    """

    def __init__(
        self,
        place: str,
        work: Callable[[Index, list[Asked]], list[Told | BaseException]],
        what: str,
    ) -> None:
        self._place, self._work, self._what = place, work, what
        self._waiting: queue.Queue[tuple[Future[Told], Asked] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def ask(self, asked: Asked) -> Told:
        """Wait for the answer.

        Raises:
            ProblemError: Too many wait already.
        """
        return self.submit(asked).result(_WAIT_S)

    def submit(self, asked: Asked) -> "Future[Told]":
        """Ask without waiting for the answer.

        Raises:
            ProblemError: Too many wait already.
        """
        future: Future[Told] = Future()
        try:
            self._waiting.put_nowait((future, asked))
        except queue.Full as error:
            raise busy(self._what) from error
        return future

    def close(self) -> None:
        """End the thread; what waits is answered before. Closing twice is allowed."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        opened, goes_on = Opened(self._place), True
        try:
            while goes_on:
                gathered, goes_on = self._gathered()
                if gathered:
                    self._answer(opened, gathered)
        finally:
            opened.close()

    def _gathered(self) -> tuple[list[tuple[Future[Told], Asked]], bool]:
        """Wait for one, and take whatever else is there; false at the end."""
        gathered: list[tuple[Future[Told], Asked]] = []
        try:
            while len(gathered) < _AT_ONCE:
                one = self._waiting.get(block=not gathered)
                if one is None:
                    return gathered, False
                gathered.append(one)
        except queue.Empty:
            pass
        return gathered, True

    def _answer(self, opened: Opened, gathered: list[tuple[Future[Told], Asked]]) -> None:
        try:
            answers = self._work(opened.index(), [asked for _, asked in gathered])
        except BaseException as error:
            answers = [error] * len(gathered)
        for (future, _), told in zip(gathered, answers, strict=True):
            if isinstance(told, BaseException):
                future.set_exception(told)
            else:
                future.set_result(told)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """One call of a store.

    Args:
        kind: Which call.
        row: The embedding, (1, D).
        top: Number of results.
        filters: Conditions.
    """

    kind: Literal["people", "people and spread", "appearances", "spread"]
    row: Float32[np.ndarray, "1 D"]
    top: int
    filters: Filters


def _search_all(index: Index, asked: list[_Search]) -> list[Any]:
    """Answer searches, those of one kind and with the same filters together."""
    together: dict[tuple[str, Filters], list[int]] = defaultdict(list)
    for number, one in enumerate(asked):
        together[one.kind, one.filters].append(number)
    answers: list[Any] = [None] * len(asked)
    for (kind, filters), numbers in together.items():
        rows = np.concatenate([asked[number].row for number in numbers])
        try:
            found = _one_call(index.store, kind, rows, max(asked[n].top for n in numbers), filters)
        except Exception as error:
            found = [error] * len(numbers)
        for number, of_query in zip(numbers, found, strict=True):
            answers[number] = _shortened(of_query, asked[number].top)
    return answers


def _shortened(told: Any, top: int) -> Any:
    """The best few of a longer list are the list of the best few."""
    if isinstance(told, tuple):
        hits, counts = told
        return hits[:top], counts
    return told[:top] if isinstance(told, list) else told


def _one_call(store: Store, kind: str, rows: np.ndarray, top: int, filters: Filters) -> list[Any]:
    if kind == "people":
        return list(store.search(rows, top=top, filters=filters))
    if kind == "appearances":
        return list(store.search_appearances(rows, top=top, filters=filters))
    if kind == "spread":
        return list(store.spread(rows, n_bins=N_FINE, filters=filters))
    hits, counts = store.search_and_spread(rows, top=top, n_bins=N_FINE, filters=filters)
    return list(zip(hits, counts, strict=True))


def _note_all(index: Index, notes: list[Note]) -> list[BaseException | None]:
    store = index.store
    if isinstance(store, Audited):
        first, *others = notes
        store.record(first, *others)
    return [None] * len(notes)


class Searches:
    """The searches of one archive.

    Args:
        place: Folder or address of the archive.
    """

    def __init__(self, place: str) -> None:
        self.people: Gathering[_Search, Any] = Gathering(place, _search_all, "searches")
        self.notes: Gathering[Note, None] = Gathering(place, _note_all, "entries of the audit")

    def warm(self, row: Float32[np.ndarray, " D"]) -> None:
        """Let the thread read all embeddings, by a search that nobody sees."""
        self.people.ask(_Search("people", row[np.newaxis], 1, EVERYBODY))

    def close(self) -> None:
        """End both threads."""
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
            return [ask(_Search("people", embeddings, top, filters))]
        hits, self.counts = ask(_Search("people and spread", embeddings, top, filters))
        return [hits]

    def search_appearances(
        self, embeddings: Float32[np.ndarray, "1 D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Appearance]]:
        """Search together with whoever else does."""
        return [self._searches.people.ask(_Search("appearances", embeddings, top, filters))]

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
        counting = searches.people.submit(_Search("spread", row, 1, question.filters))
    hits, found = _found(shared, wanted, known, question)
    unrecorded = _noted(shared, hits, question)
    counts = counting.result(_WAIT_S) if counting else shared.counts
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
