"""A search as REST asks for it, and its answer."""

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from fdps.errors import UsageError
from fdps.search.index import Index
from fdps.search.query.wanted import Person
from fdps.search.results.calibration import Calibration
from fdps.search.results.claims import expectation, why_no_levels, why_no_verdict
from fdps.search.store import Filters
from fdps.serve.api.schemas import (
    LARGEST_ITEM,
    HistogramOut,
    HitOut,
    MarksOut,
    SearchIn,
    SearchOut,
)
from fdps.serve.api.shown import person_of, shown_hit
from fdps.serve.archives import Calibrated, ServedArchive
from fdps.serve.cases.book import CaseBook
from fdps.serve.dependencies import QueryPictures, Settings, Viewer
from fdps.serve.looking.queries import Queries
from fdps.serve.problems import not_found, problem
from fdps.serve.searching import Answer, Question
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


def asker_of(
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
    question = await question_of(archive, body, asker)
    answer = await archive.search(question)
    shown = await archive.read(lambda index: _shown(archive, index, body, question, answer))
    shown.took_ms = round(1000 * (time.perf_counter() - start), 1)
    return shown


async def question_of(archive: ServedArchive, body: SearchIn, asker: Asker) -> Question:
    """Turn what a client asks into a question.

    Raises:
        UsageError: A filter makes no sense, or a selection is malformed or of another archive.
        ProblemError: A selection or a person is not there, or the purpose is missing.
    """
    purpose = body.purpose or asker.purpose
    if asker.settings.purpose_required and not purpose.strip():
        raise problem(
            422,
            "this service asks for the purpose of every search",
            hint="send purpose, or the header X-Purpose",
            code="purpose_required",
        )
    return Question(
        like=[await _person(archive, text, asker) for text in body.like],
        unlike=[await _person(archive, text, asker) for text in body.unlike],
        user=asker.user.name,
        top=body.top,
        min_similarity=-float("inf") if body.min_similarity is None else body.min_similarity,
        filters=filters_of(body),
        appearances=body.group == "appearance",
        rerank=body.rerank or "",
        purpose=purpose,
        asked=[*body.like, *(f"not {text}" for text in body.unlike)],
    )


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


async def _person(archive: ServedArchive, text: str, asker: Asker) -> Person:
    kind, separator, number = text.partition(":")
    if kind == "item" and separator:
        item = item_of(number)
        person, _ = await archive.read(lambda index: person_of(index, item))
        return person
    if kind == "case" and separator:
        return await _of_case(archive, number, asker.cases)
    selection = asker.queries.select(text, asker.user.name)
    if selection.picture.archive != archive.key:
        raise UsageError(
            f"this picture was brought for the archive {selection.picture.archive}",
            hint="bring it again for this one: another model may have to look at it",
        )
    return selection.person


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


def _shown(
    archive: ServedArchive, index: Index, body: SearchIn, question: Question, answer: Answer
) -> SearchOut:
    no_levels = why_no_levels(len(question.like), len(question.unlike), question.rerank)
    calibrated: Calibrated = (None, no_levels) if no_levels else archive.calibrated(index)
    spread = answer.spread
    return SearchOut(
        archive=archive.key,
        n_people=answer.n_people,
        n_looked_at=answer.n_looked_at,
        took_ms=0,
        histogram=HistogramOut(edges=list(spread.edges), counts=list(spread.counts))
        if spread
        else None,
        marks=marks_of(calibrated[0]),
        expected_wrong=_wrong(calibrated[0], answer.n_people),
        reading=_reading(calibrated, question, answer, has_no_levels=bool(no_levels)),
        unrecorded=answer.unrecorded,
        hits=_hits(archive, index, answer, calibrated),
    )


def _hits(
    archive: ServedArchive, index: Index, answer: Answer, calibrated: Calibrated
) -> list[HitOut]:
    shown = []
    for rank, hit in enumerate(answer.hits, start=1):
        scene = hit.record or index.scene(hit.scene)
        if scene is None:  # it was removed since
            continue
        appearance = answer.appearances[rank - 1] if answer.appearances is not None else None
        shown.append(shown_hit(archive, hit, scene, rank, calibrated, appearance))
    return shown


def marks_of(calibration: Calibration | None) -> MarksOut | None:
    """Return the similarities from which on a level is reached."""
    if calibration is None:
        return None
    return MarksOut(strong=calibration.strong, worth_a_look=calibration.worth_a_look)


def _wrong(calibration: Calibration | None, n_people: int) -> MarksOut | None:
    if calibration is None:
        return None
    strong, look = (
        calibration.expected_wrong(at, n_people).mean
        for at in (calibration.strong, calibration.worth_a_look)
    )
    return MarksOut(strong=strong, worth_a_look=look)


def _reading(
    calibrated: Calibrated, question: Question, answer: Answer, *, has_no_levels: bool
) -> str:
    """Say in a sentence or two how the candidates are to be read."""
    calibration, why = calibrated
    if has_no_levels:
        return f"No levels and no verdict: {why}."
    if calibration is None:
        return NOTHING_LEARNT
    no_verdict = why_no_verdict(
        question.filters, question.min_similarity, is_in_a_row=question.appearances
    )
    about = "at most about" if no_verdict else "about"
    said = expectation(calibration, answer.n_people, about=about)
    if no_verdict:
        return f"{said} No verdict on whether the person is here: {no_verdict}."
    verdict = calibration.verdict(hit.similarity for hit in answer.hits)
    if verdict == "probably_not_present":
        share = calibration.found_at(calibration.worth_a_look)
        said += (
            ' Probably not here: nobody reaches "worth a look". Of people who were, '
            f"{share:.0%} did ({calibration.data or 'calibration data'})."
        )
    return said
