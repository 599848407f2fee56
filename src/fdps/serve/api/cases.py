"""REST of cases: a case is changed under its version, and every change is on the disk at once."""

import base64
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, Annotated, Any, Literal

from anyio import CapacityLimiter
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from fdps.errors import UsageError
from fdps.names import from_stored, printable
from fdps.search.audit import Audited, Note, named
from fdps.search.index import Index
from fdps.serve.archives import ServedArchive
from fdps.serve.cases.book import CaseBook
from fdps.serve.cases.case import Case, CaseLine, Judged, QueryPerson, opinion
from fdps.serve.cases.export import (
    MEDIA_TYPES,
    Bystanders,
    Finding,
    Format,
    export,
    file_name,
    findings,
)
from fdps.serve.cases.places import boxes_of_people, place_of
from fdps.serve.cases.query import people_of_items, person_of_picture
from fdps.serve.cases.store import OutdatedError
from fdps.serve.dependencies import AllArchives, Editor, Settings, Viewer
from fdps.serve.problems import Problem, ProblemError, busy, not_found, problem
from fdps.serve.security.users import User

router = APIRouter(prefix="/api/v1", tags=["cases"])

_CHUNK = 1 << 16
_EXPORT_S = 5  # a client may ask again after so many seconds
_ITEM = re.compile(r"item:(\d{1,18})", re.ASCII)
_VERSION = re.compile(r'(?:W/)?"?(\d{1,18})"?', re.ASCII)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewCase(_Body):
    """A case to begin."""

    name: str
    purpose: str = ""
    notes: str = ""
    archive: str | None = Field(None, max_length=200)
    like: list[str] = Field([], max_length=50, description="Selections, or item:N.")
    unlike: list[str] = Field([], max_length=50, description="Likewise: people who are not meant.")


class CaseChange(_Body):
    """Changes of a case; what is left out stays."""

    name: str | None = None
    purpose: str | None = None
    notes: str | None = None
    like: list[str] | None = Field(None, max_length=50, description="Everybody who is meant.")
    unlike: list[str] | None = Field(None, max_length=50, description="Everybody who is not.")


class Verdict(_Body):
    """A verdict on a candidate."""

    item: int
    verdict: Literal["confirmed", "rejected"] | None
    note: str | None = None


class Export(_Body):
    """What to write, and whether other people may be seen."""

    format: Format
    bystanders: Bystanders = "blur"
    purpose: str = Field("", max_length=2000)


def book_of(request: Request) -> CaseBook:
    """Return the cases of the service."""
    book: CaseBook = request.app.state.cases
    return book


Book = Annotated[CaseBook, Depends(book_of)]


def version_of(if_match: Annotated[str | None, Header()] = None) -> int | None:
    """Read the header ``If-Match``: the version of a case, or ``*`` for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _VERSION.fullmatch(if_match.strip())
    if not found:
        raise UsageError("If-Match takes the version of a case", hint='such as If-Match: "3"')
    return int(found[1])


Version = Annotated[int | None, Depends(version_of)]


@router.get("/cases")
async def cases(user: Viewer, book: Book) -> list[dict[str, Any]]:
    """List the cases, the one changed last first."""
    return [_line_figures(line, archive) for archive, line in await book.lines()]


@router.post("/cases", status_code=201)
async def begin(
    body: NewCase,
    request: Request,
    user: Editor,
    book: Book,
    archives: AllArchives,
    settings: Settings,
) -> Response:
    """Begin a case, with the people whom it looks for."""
    if settings.purpose_required and not body.purpose.strip():
        raise UsageError("a case states its purpose here", hint="say why you look for the person")
    archive = archives.get(body.archive)
    store = await book.enter(archive)
    query = await _people(request, archive, user, body.like, body.unlike)
    case = await run_in_threadpool(
        partial(
            store.create,
            book.key(archive),
            body.name,
            purpose=body.purpose,
            notes=body.notes,
            by=user.name,
            query=query,
        )
    )
    return await _answer(archive, case, status=201)


@router.get("/cases/{case_id}")
async def case(case_id: str, user: Viewer, book: Book) -> Response:
    """Return a case with the people it looks for and all verdicts."""
    archive, _, found = await book.find(case_id)
    return await _answer(archive, found)


@router.patch("/cases/{case_id}")
async def change(
    case_id: str, body: CaseChange, request: Request, user: Editor, book: Book, version: Version
) -> Response:
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
        query = await _people(request, archive, user, body.like or [], body.unlike or [], kept)
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
    return await _answer(archive, changed)


@router.delete("/cases/{case_id}", status_code=204, response_class=Response)
async def delete(case_id: str, user: Editor, book: Book, version: Version) -> Response:
    """Erase a case for good."""
    archive, store, _ = await book.find(case_id)
    line = await _unless_outdated(store.delete, case_id, version=version)
    details = {"case": line.id, "user": user.name}
    note = Note("case deleted", line.purpose, details)
    await archive.read(lambda index: _record(index, note))
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
    case_id: str, body: Verdict, user: Editor, book: Book, version: Version
) -> Response:
    """Keep a verdict on a candidate; it survives indexing the archive anew."""
    archive, store, _ = await book.find(case_id)

    def keep(index: Index) -> Case:
        person = index.person(body.item)
        scene = index.scene(person.scene)
        if scene is None:
            raise not_found("scene")
        others = [one for one in index.people_in(person.scene) if one.item != person.item]
        return store.judge(
            case_id,
            place_of(scene, person),
            None if body.verdict is None else opinion(body.verdict),
            by=user.name,
            scene=scene.name,
            note=body.note,
            version=version,
            beside=boxes_of_people(others),
        )

    try:
        return await _answer(archive, await archive.read(keep))
    except OutdatedError as error:
        raise _outdated(error) from error


@router.post("/cases/{case_id}/export", response_class=StreamingResponse)
async def write(
    case_id: str, body: Export, request: Request, user: Editor, book: Book, settings: Settings
) -> Response:
    """Write a case as a file; the export is in the audit of the archive before it is sent."""
    archive, _, found = await book.find(case_id)
    purpose = body.purpose or found.line.purpose
    if settings.purpose_required and not purpose.strip():
        raise UsageError("an export states its purpose here", hint="give the case its purpose")
    limiter: CapacityLimiter = request.app.state.exports
    if not limiter.available_tokens:
        raise busy("exports", retry_s=_EXPORT_S)
    async with limiter:
        work = partial(_exported, case=found, body=body, purpose=purpose, user=user.name)
        file = await archive.read(work)
    media_type, ending = MEDIA_TYPES[body.format]
    name = f"{file_name(found.line.name)}.{ending}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_chunks(file), media_type=media_type, headers=headers)


def _exported(index: Index, *, case: Case, body: Export, purpose: str, user: str) -> IO[bytes]:
    """Write an export into a file without a name, which is gone when it is closed."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
    try:
        found = export(case, index.store, body.format, file, bystanders=body.bystanders)
        details = {
            "case": case.line.id,
            "user": user,
            "format": body.format,
            "bystanders": body.bystanders,
            "items": named([one.candidate.hit.item for one in found.confirmed + found.rejected]),
        }
        _record(index, Note("export", purpose, details))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _record(index: Index, note: Note) -> None:
    """Note in the audit, where the archive has one; what cannot be noted is not done."""
    if isinstance(index.store, Audited):
        index.store.record(note)


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
    request: Request,
    archive: ServedArchive,
    user: User,
    like: Sequence[str],
    unlike: Sequence[str],
    kept: Sequence[QueryPerson] = (),
) -> list[QueryPerson]:
    """Find the people whom a client names: selections, ``item:N``, or ``query:N`` of the case."""
    found = []
    for words, is_unlike in ((like, False), (unlike, True)):
        for word in words:
            number = _ITEM.fullmatch(word)
            if number:
                items = [int(number[1])]
                take = partial(people_of_items, items=items, is_unlike=is_unlike)
                found += await archive.read(take)
            elif word.startswith("query:"):
                found.append(_kept(word, kept, is_unlike))
            else:
                found.append(await _selected(request, word, user, is_unlike))
    return found


def _kept(word: str, kept: Sequence[QueryPerson], is_unlike: bool) -> QueryPerson:
    number = word.removeprefix("query:")
    if not (number.isascii() and number.isdecimal() and 1 <= int(number[:6]) <= len(kept)):
        raise UsageError(f"the case has no person {printable(word)[:40]}")
    person = kept[int(number) - 1]
    return QueryPerson(
        *(person.name, person.box, person.score, person.embedding, person.crop),
        is_unlike=is_unlike,
        place=person.place,
    )


async def _selected(request: Request, word: str, user: User, is_unlike: bool) -> QueryPerson:
    chosen = request.app.state.queries.select(word, user.name)
    picture, person = chosen.picture, chosen.person
    return await run_in_threadpool(
        partial(
            person_of_picture,
            "picture",
            picture.preview,
            (picture.width, picture.height),
            person.box,
            person.score,
            person.embedding,
            is_unlike=is_unlike,
        )
    )


async def _answer(archive: ServedArchive, case: Case, *, status: int = 200) -> Response:
    figures = await archive.read(lambda index: _figures(archive, case, index))
    return JSONResponse(figures, status, headers={"ETag": f'"{case.line.version}"'})


def _line_figures(line: CaseLine, archive: ServedArchive) -> dict[str, Any]:
    keys = ("id", "name", "purpose", "notes", "created", "by", "changed", "changed_by", "version")
    counts = ("n_query", "n_confirmed", "n_rejected")
    return {
        **{key: getattr(line, key) for key in keys},
        "archive": archive.key,
        **{key: getattr(line, key) for key in counts},
    }


def _figures(archive: ServedArchive, case: Case, index: Index) -> dict[str, Any]:
    found = findings(case, index.store)
    return {
        **_line_figures(case.line, archive),
        "query": [
            {
                "n": number,
                "name": printable(person.name),
                "box": person.box,
                "score": person.score,
                "is_unlike": person.is_unlike,
                "crop": f"/api/v1/cases/{case.line.id}/query/{number}/crop"
                if person.crop
                else None,
            }
            for number, person in enumerate(case.query, start=1)
        ],
        "confirmed": [_hit(archive, one) for one in found.confirmed],
        "rejected": [_hit(archive, one) for one in found.rejected],
        "missing": [_missing(judged) for judged in found.missing],
    }


def _hit(archive: ServedArchive, finding: Finding) -> dict[str, Any]:
    candidate, judged = finding.candidate, finding.judged
    hit, scene = candidate.hit, candidate.scene
    assert scene is not None
    key = base64.urlsafe_b64encode(scene.name.encode()).decode().rstrip("=")
    similarity = None if hit.similarity != hit.similarity else hit.similarity
    return {
        "rank": candidate.rank,
        "item": hit.item,
        "similarity": similarity,
        "level": candidate.level,
        "box": hit.box.tolist(),
        "score": hit.score,
        "scene": {
            "key": key,
            "name": scene.name,
            "width": scene.width,
            "height": scene.height,
            "camera": scene.camera,
            "time": scene.time,
            "offset_s": scene.offset_s,
            "frame": scene.frame,
            "path_name": printable(from_stored(scene.path).name),
        },
        "crop": f"/api/v1/people/{hit.item}/crop?archive={archive.key}",
        "picture": f"/api/v1/scenes/{key}/picture?archive={archive.key}",
        **_verdict(judged),
    }


def _missing(judged: Judged) -> dict[str, Any]:
    return {"scene": judged.scene, "box": judged.place.box, **_verdict(judged)}


def _verdict(judged: Judged) -> dict[str, Any]:
    return {
        "verdict": judged.opinion,
        "note": judged.note,
        "judged": judged.time,
        "judged_by": judged.by,
    }
