"""REST of cases: a case is changed under its version, and every change is on the disk at once."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Annotated, Any

from anyio import CapacityLimiter
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from fdps.errors import UsageError
from fdps.names import printable
from fdps.search.audit import Note
from fdps.search.care.retention import Age, age_of
from fdps.search.index import Index
from fdps.search.store import ArchivedPerson, SceneRecord
from fdps.serve.api.asking import Asking, item_of
from fdps.serve.api.schemas_of_work import (
    CaseChangeIn,
    CaseIn,
    CaseLineOut,
    CaseOut,
    ExportIn,
    VerdictIn,
)
from fdps.serve.api.shown import person_of
from fdps.serve.api.shown_case import shown_case, shown_line
from fdps.serve.archives import ServedArchive
from fdps.serve.cases.book import CaseBook
from fdps.serve.cases.case import Case, QueryPerson, opinion
from fdps.serve.cases.export import MEDIA_TYPES, file_name
from fdps.serve.cases.exporting import exported, record
from fdps.serve.cases.places import boxes_of_people, place_of
from fdps.serve.cases.query import person_of_item, person_of_picture
from fdps.serve.cases.store import OutdatedError
from fdps.serve.dependencies import AllArchives, Editor, QueryPictures, Scenes, Viewer
from fdps.serve.looking.queries import Queries
from fdps.serve.looking.scenes import ScenePictures
from fdps.serve.problems import Problem, ProblemError, busy, not_found, problem
from fdps.serve.security.users import User

router = APIRouter(prefix="/api/v1", tags=["cases"])

_CHUNK = 1 << 16
_EXPORT_S = 5  # a client may ask again after so many seconds
_VERSION = re.compile(r'(?:W/)?"?(\d{1,18})"?', re.ASCII)


async def book_of(request: Request) -> CaseBook:
    """Return the cases of the service."""
    book: CaseBook = request.app.state.cases
    return book


Book = Annotated[CaseBook, Depends(book_of)]


async def version_of(if_match: Annotated[str | None, Header()] = None) -> int | None:
    """Read the header ``If-Match``: the version of a case, or ``*`` for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _VERSION.fullmatch(if_match.strip())
    if not found:
        raise UsageError("If-Match takes the version of a case", hint='such as If-Match: "3"')
    return int(found[1])


Version = Annotated[int | None, Depends(version_of)]


@dataclass(frozen=True, slots=True)
class Named:
    """Where the people are found whom a client names.

    Args:
        user: The client.
        queries: The query pictures.
        scenes: The pictures of scenes.
    """

    user: User
    queries: Queries
    scenes: ScenePictures


async def named_by(user: Viewer, queries: QueryPictures, scenes: Scenes) -> Named:
    """Return where the people are found whom a client names."""
    return Named(user, queries, scenes)


Naming = Annotated[Named, Depends(named_by)]


@router.get("/cases")
async def cases(user: Viewer, book: Book) -> list[CaseLineOut]:
    """List the cases, the one changed last first."""
    return [shown_line(line, archive) for archive, line in await book.lines()]


@router.post("/cases", status_code=201)
async def begin(
    body: CaseIn,
    response: Response,
    user: Editor,
    asker: Asking,
    naming: Naming,
    book: Book,
    archives: AllArchives,
) -> CaseOut:
    """Begin a case, with the people whom it looks for."""
    purpose = body.purpose or asker.purpose
    _demand_purpose(asker.settings.purpose_required, purpose)
    archive = archives.get(body.archive)
    store = await book.enter(archive)
    query = await _people(naming, archive, body.like, body.unlike)
    create = partial(store.create, book.key(archive), body.name, purpose=purpose, notes=body.notes)
    return await _answer(
        response, archive, await run_in_threadpool(partial(create, by=user.name, query=query))
    )


@router.get("/cases/{case_id}")
async def case(case_id: str, response: Response, user: Viewer, book: Book) -> CaseOut:
    """Return a case with the people it looks for and all verdicts."""
    archive, _, found = await book.find(case_id)
    return await _answer(response, archive, found)


@router.patch("/cases/{case_id}")
async def change(
    case_id: str,
    body: CaseChangeIn,
    request: Request,
    response: Response,
    user: Editor,
    naming: Naming,
    book: Book,
    version: Version,
) -> CaseOut:
    """Change texts of a case, or whom it looks for.

    ``If-Match`` is required, so that nobody overwrites what somebody else has written meanwhile.
    """
    if "if-match" not in request.headers:
        raise problem(
            428,
            "a change of a case names the version that it changes",
            hint='send If-Match: "VERSION"',
            code="version_required",
        )
    archive, store, found = await book.find(case_id)
    query = None
    if body.like is not None or body.unlike is not None:
        kept = found.query
        query = await _people(naming, archive, body.like or [], body.unlike or [], kept)
        query += [p for p in kept if (body.unlike if p.is_unlike else body.like) is None]
    changed = await _unless_outdated(
        store.change,
        case_id,
        by=user.name,
        version=version,
        name=body.name,
        purpose=body.purpose,
        notes=body.notes,
        query=query,
    )
    return await _answer(response, archive, changed)


@router.delete("/cases/{case_id}", status_code=204, response_class=Response)
async def delete(case_id: str, user: Editor, book: Book, version: Version) -> Response:
    """Erase a case for good."""
    archive, store, _ = await book.find(case_id)
    line = await _unless_outdated(store.delete, case_id, version=version)
    details = {"case": line.id, "user": user.name}
    note = Note("case deleted", line.purpose, details)
    await archive.read(lambda index: record(index, note))
    return Response(status_code=204)


@router.get("/cases/{case_id}/query/{number}/crop", response_class=Response)
async def query_crop(case_id: str, number: int, user: Viewer, book: Book) -> Response:
    """Return the picture of a person whom the case looks for, counted from 1."""
    _, _, found = await book.find(case_id)
    if not 1 <= number <= len(found.query) or not found.query[number - 1].crop:
        raise not_found("picture")
    return Response(found.query[number - 1].crop, media_type="image/webp")


@router.put("/cases/{case_id}/verdicts")
async def judge(
    case_id: str,
    body: VerdictIn,
    response: Response,
    user: Editor,
    book: Book,
    version: Version,
) -> CaseOut:
    """Keep a verdict on a candidate; it survives indexing the archive anew."""
    archive, store, _ = await book.find(case_id)
    item = item_of(str(body.item))

    def keep(index: Index) -> Case:
        person, scene = person_of(index, item)
        others = [one for one in index.people_in(scene.name) if one.item != item]
        return store.judge(
            case_id,
            place_of(scene, person),
            None if body.verdict is None else opinion(body.verdict),
            by=user.name,
            scene=scene.name,
            note=body.note,
            version=version,
            age=age_of(index.store, scene.sha256, scene.frame),
            beside=boxes_of_people(others),
        )

    try:
        return await _answer(response, archive, await archive.read(keep))
    except OutdatedError as error:
        raise _outdated(error) from error


@router.post("/cases/{case_id}/export", response_class=StreamingResponse)
async def write(
    case_id: str, body: ExportIn, request: Request, user: Editor, asker: Asking, book: Book
) -> Response:
    """Write a case as a file; the export is in the audit of the archive before it is sent."""
    archive, _, found = await book.find(case_id)
    purpose = body.purpose or asker.purpose or found.line.purpose
    _demand_purpose(asker.settings.purpose_required, purpose)
    limiter: CapacityLimiter = request.app.state.exports
    if not limiter.available_tokens:
        raise busy("exports", retry_s=_EXPORT_S)
    wanted = {"format_": body.format, "bystanders": body.bystanders}
    work = partial(exported, case=found, purpose=purpose, user=user.name, **wanted)  # type: ignore[arg-type]
    async with limiter:
        file = await archive.read(work)
    media_type, ending = MEDIA_TYPES[body.format]
    name = f"{file_name(found.line.name)}.{ending}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_chunks(file), media_type=media_type, headers=headers)


def _demand_purpose(is_required: bool, purpose: str) -> None:
    if is_required and not purpose.strip():
        raise problem(
            422,
            "this service asks for the purpose of every case and export",
            hint="send purpose, or the header X-Purpose",
            code="purpose_required",
        )


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


async def _unless_outdated(change: Any, *arguments: Any, **words: Any) -> Any:
    try:
        return await run_in_threadpool(partial(change, *arguments, **words))
    except OutdatedError as error:
        raise _outdated(error) from error


def _outdated(error: OutdatedError) -> ProblemError:
    headers = {"ETag": f'"{error.version}"'}
    found = Problem(412, str(error), hint=error.hint, code="outdated", headers=headers)
    return ProblemError(found)


async def _people(
    naming: Named,
    archive: ServedArchive,
    like: Sequence[str],
    unlike: Sequence[str],
    kept: Sequence[QueryPerson] = (),
) -> list[QueryPerson]:
    """Find the people whom a client names: selections, ``item:N``, or ``query:N`` of the case."""
    found = []
    for words, is_unlike in ((like, False), (unlike, True)):
        for word in words:
            kind, _, number = word.partition(":")
            if kind == "item":
                found.append(await _archived(naming, archive, item_of(number), is_unlike))
            elif kind == "query":
                found.append(_kept(number, kept, is_unlike))
            else:
                found.append(await _selected(naming, archive, word, is_unlike))
    return found


def _kept(number: str, kept: Sequence[QueryPerson], is_unlike: bool) -> QueryPerson:
    is_number = number.isascii() and number.isdecimal() and len(number) < 4
    if not (is_number and 1 <= int(number) <= len(kept)):
        raise UsageError(f"the case has no person {printable(number)[:40]}, it has {len(kept)}")
    return replace(kept[int(number) - 1], is_unlike=is_unlike)


async def _archived(
    naming: Named, archive: ServedArchive, item: int, is_unlike: bool
) -> QueryPerson:
    def find(index: Index) -> tuple[ArchivedPerson, SceneRecord, Age]:
        person, scene = person_of(index, item)
        return person, scene, age_of(index.store, scene.sha256, scene.frame)

    person, scene, age = await archive.read(find)
    picture = None
    with suppress(ProblemError):  # the file is gone: the case does without the picture
        picture = await naming.scenes.picture(scene)
    take = partial(person_of_item, person, scene, picture, is_unlike=is_unlike, age=age)
    return await run_in_threadpool(take)


async def _selected(
    naming: Named, archive: ServedArchive, word: str, is_unlike: bool
) -> QueryPerson:
    chosen = naming.queries.select(word, naming.user.name)
    picture, person = chosen.picture, chosen.person
    if picture.archive != archive.key:
        raise UsageError(
            f"this picture was brought for the archive {picture.archive}",
            hint="bring it again for this one: another model may have to look at it",
        )
    size = (picture.width, picture.height)
    looked = (picture.preview, size, person.box, person.score, person.embedding)
    return await run_in_threadpool(
        partial(person_of_picture, "picture", *looked, is_unlike=is_unlike)
    )


async def _answer(response: Response, archive: ServedArchive, case: Case) -> CaseOut:
    response.headers["ETag"] = f'"{case.line.version}"'
    return await archive.read(lambda index: shown_case(archive, case, index))
