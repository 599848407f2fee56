"""A search as REST asks for it, and its answer."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import Depends, Header, Request

from fdps.errors import UsageError
from fdps.search.index import Index
from fdps.search.query.wanted import Person
from fdps.search.results.calibration import Calibration, Level
from fdps.search.results.claims import levels_go_by, levels_of, sentences, why_no_verdict
from fdps.search.store import Filters
from fdps.serve.api.schemas import (
    LARGEST_ITEM,
    HistogramOut,
    HitOut,
    MarksOut,
    SearchIn,
    SearchOut,
)
from fdps.serve.api.shown import shown_hit
from fdps.serve.archives import ServedArchive
from fdps.serve.cases.book import CaseBook
from fdps.serve.dependencies import QueryPictures, Settings, Viewer
from fdps.serve.looking.queries import Queries
from fdps.serve.problems import not_found, problem
from fdps.serve.searching.answer import Answer, Question
from fdps.serve.security.users import User
from fdps.serve.settings import ServeSettings

NOTHING_LEARNT = (
    "Not calibrated: how many of these are wrong is not known. "
    "fdps models calibrate learns it from people who are known."
)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what the service knows about it.

    Args:
        user: The user.
        purpose: The purpose that the header ``X-Purpose`` states; may be empty.
        settings: The settings of the service.
        queries: The query pictures.
        cases: The cases, whose people can be looked for.
    """

    user: User
    purpose: str
    settings: ServeSettings
    queries: Queries
    cases: CaseBook


async def asker_of(
    request: Request,
    user: Viewer,
    settings: Settings,
    queries: QueryPictures,
    purpose: Annotated[
        str, Header(alias="X-Purpose", max_length=500, description="Noted in the audit.")
    ] = "",
) -> Asker:
    """Return who asks, for routes that search."""
    return Asker(user, purpose, settings, queries, request.app.state.cases)


Asking = Annotated[Asker, Depends(asker_of)]


async def search(archive: ServedArchive, body: SearchIn, asker: Asker) -> SearchOut:
    """Answer a search.

    Raises:
        UsageError: The search makes no sense, or a selection is of another archive.
        ProblemError: A selection or a person is not there, the purpose is missing, or too many
            searches wait already.
    """
    start = time.perf_counter()
    purpose = body.purpose or asker.purpose
    if asker.settings.purpose_required and not purpose.strip():
        raise problem(
            422,
            "this service asks for the purpose of every search",
            hint="send purpose, or the header X-Purpose",
            code="purpose_required",
        )
    named = {text: await _named(archive, text, asker) for text in (*body.like, *body.unlike)}

    def answered(index: Index) -> SearchOut:
        people = {text: _person_in(index, who) for text, who in named.items()}
        question = Question(
            like=[people[text] for text in body.like],
            unlike=[people[text] for text in body.unlike],
            user=asker.user.name,
            top=body.top,
            min_similarity=-float("inf") if body.min_similarity is None else body.min_similarity,
            filters=filters_of(body),
            appearances=body.group == "appearance",
            rerank=body.rerank or "",
            purpose=purpose,
            asked=[*body.like, *(f"not {text}" for text in body.unlike)],
        )
        return _shown(archive, index, question, archive.answer(index, question))

    # One reader does all of it: each change of threads costs more than what is read.
    shown = await archive.read(answered)
    shown.took_ms = round(1000 * (time.perf_counter() - start), 1)
    return shown


def filters_of(body: SearchIn) -> Filters:
    """Return the conditions of a search.

    Raises:
        UsageError: A time makes no sense.
    """
    return Filters(
        cameras=tuple(body.cameras),
        scenes=body.scenes,
        min_height=body.min_height,
        after=body.after,
        before=body.before,
        time_of_day=body.time_of_day,
        source=body.source,
    )


async def _named(archive: ServedArchive, text: str, asker: Asker) -> Person | int:
    """Return the person that a text names; one of the archive by number, for a reader to find."""
    kind, separator, number = text.partition(":")
    if kind == "item" and separator:
        return item_of(number)
    if kind == "case" and separator:
        return await _of_case(archive, number, asker.cases)
    selection = asker.queries.select(text, asker.user.name)
    if selection.picture.archive != archive.key:
        raise UsageError(
            f"this picture was brought for the archive {selection.picture.archive}",
            hint="bring it again for this one: another model may have to look at it",
        )
    return selection.person


def _person_in(index: Index, who: Person | int) -> Person:
    if not isinstance(who, int):
        return who
    found = index.store.people([who])
    if not found:
        raise not_found("person")
    return found[0]


async def _of_case(archive: ServedArchive, text: str, cases: CaseBook) -> Person:
    """Return a person whom a case looks for, named by ``CASE:n``, counted from 1.

    Raises:
        UsageError: The case is about another archive.
        ProblemError: The case has nobody of this number.
    """
    case_id, _, number = text.rpartition(":")
    its_archive, _, case = await cases.find(case_id)
    if its_archive.key != archive.key:
        raise UsageError(f"this case is about the archive {its_archive.key}")
    n = item_of(number)
    if not 1 <= n <= len(case.query):
        raise not_found("person in this case")
    return case.query[n - 1].embedding


def item_of(text: str) -> int:
    """Read the number of a person.

    Raises:
        UsageError: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST_ITEM):
        raise UsageError("a person of the archive is item:N", hint='such as "item:17"')
    return int(text)


def _shown(archive: ServedArchive, index: Index, question: Question, answer: Answer) -> SearchOut:
    go_by = levels_go_by(len(question.like), len(question.unlike), question.rerank)
    calibration, _ = archive.calibrated(index)
    spread = answer.spread
    pictures = [one if isinstance(one, np.ndarray) else one.embedding for one in question.like]
    n_unlike = len(question.unlike)
    levels = levels_of(answer.hits, calibration, index.store, pictures, n_unlike=n_unlike)
    return SearchOut(
        archive=archive.key,
        n_people=answer.n_people,
        n_looked_at=answer.n_looked_at,
        took_ms=0,
        histogram=HistogramOut(edges=list(spread.edges), counts=list(spread.counts)),
        # The scale of a search that is more than one picture is not that of the calibration.
        marks=None if go_by else marks_of(calibration),
        expected_wrong=_wrong(calibration, answer.n_people * len(question.like)),
        reading=_reading(calibration, question, answer, go_by),
        unrecorded=answer.unrecorded,
        hits=_hits(archive, index, answer, levels),
    )


def _hits(
    archive: ServedArchive, index: Index, answer: Answer, levels: Mapping[int, Level]
) -> list[HitOut]:
    shown = []
    for rank, hit in enumerate(answer.hits, start=1):
        scene = hit.record or index.scene(hit.scene)
        if scene is None:  # it was removed since
            continue
        appearance = answer.appearances[rank - 1] if answer.appearances is not None else None
        shown.append(shown_hit(archive, hit, scene, rank, levels.get(hit.item), appearance))
    return shown


def marks_of(calibration: Calibration | None) -> MarksOut | None:
    """Return the similarities from which on a level is reached."""
    if calibration is None:
        return None
    return MarksOut(strong=calibration.strong, worth_a_look=calibration.worth_a_look)


def _wrong(calibration: Calibration | None, n_compared: int) -> MarksOut | None:
    if calibration is None:
        return None
    strong, look = (
        calibration.expected_wrong(at, n_compared).mean
        for at in (calibration.strong, calibration.worth_a_look)
    )
    return MarksOut(strong=strong, worth_a_look=look)


def _reading(
    calibration: Calibration | None, question: Question, answer: Answer, go_by: str
) -> str:
    """Say in a sentence or two how the candidates are to be read."""
    if calibration is None:
        return NOTHING_LEARNT
    no_verdict = why_no_verdict(
        question.filters, question.min_similarity, is_in_a_row=question.appearances
    )
    said = sentences(
        calibration,
        answer.hits,
        answer.n_people,
        n_like=len(question.like),
        go_by=go_by,
        no_verdict=no_verdict,
    )
    return " ".join(said)
