"""Query pictures: bring one, see who is in it, choose somebody."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from fdps.boxes import clip, is_valid
from fdps.errors import UsageError
from fdps.query import QueryPerson, chosen_row
from fdps.serve.api.schemas import FoundOut, QueryOut, SelectIn, SelectOut
from fdps.serve.dependencies import AllArchives, Looking, QueryPictures, Settings, Viewer
from fdps.serve.looking.encoding import MEDIA_TYPE
from fdps.serve.looking.queries import QueryPicture
from fdps.serve.problems import problem
from fdps.structures import Detections

router = APIRouter(prefix="/api/v1/queries", tags=["queries"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["picture"],
                    "properties": {
                        "picture": {"type": "string", "format": "binary"},
                        "archive": {"type": "string", "maxLength": 200},
                    },
                }
            }
        },
    }
}


@router.post("", status_code=201, openapi_extra=_BODY)
async def bring(
    request: Request,
    archives: AllArchives,
    uploads: Looking,
    queries: QueryPictures,
    settings: Settings,
    user: Viewer,
) -> QueryOut:
    """Bring a picture, and find everybody in it. It is kept in memory for a while."""
    with uploads.taking():
        content, key = await _picture_of(request, settings.limits.upload_bytes)
        archive = archives.get(key)
        preview, size, people = await uploads.look(content, await archive.model())
    kept = queries.keep(
        owner=user.name,
        archive=archive.key,
        content=content,
        preview=preview,
        size=size,
        people=people,
    )
    return _shown(kept)


@router.get("/{query}")
async def look_again(query: str, queries: QueryPictures, user: Viewer) -> QueryOut:
    """Return what is known about a picture."""
    return _shown(queries.get(query, user.name))


@router.get(
    "/{query}/picture",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {}}}},
)
async def picture(query: str, queries: QueryPictures, user: Viewer) -> Response:
    """Return the picture, upright and without metadata; its longer side is at most 2048 pixels."""
    return Response(queries.get(query, user.name).preview, media_type=MEDIA_TYPE)


@router.delete("/{query}", status_code=204)
async def forget(query: str, queries: QueryPictures, user: Viewer) -> None:
    """Forget a picture at once."""
    queries.forget(query, user.name)


@router.post("/{query}/select")
async def select(
    query: str,
    body: SelectIn,
    archives: AllArchives,
    uploads: Looking,
    queries: QueryPictures,
    user: Viewer,
) -> SelectOut:
    """Choose one of the people, by number or by a point, or draw a box around somebody."""
    kept = queries.get(query, user.name)
    if sum(given is not None for given in (body.person, body.point, body.box)) != 1:
        raise UsageError("choose by one of person, point and box")
    if body.box is None:
        number = body.person or _at(kept, body.point)
    else:
        drawn = clip(np.array([body.box], dtype=np.float32), kept.width, kept.height)
        if not is_valid(drawn).all():
            raise UsageError(
                f"the box has no area inside the picture ({kept.width}×{kept.height})",
                hint="a box is x1, y1, x2, y2 with x1 < x2 and y1 < y2, in pixels",
            )
        model = await archives.get(kept.archive).model()
        number = kept.add(await uploads.embed(kept.content, model, drawn[0]))
    person = kept.person(number)
    return SelectOut(
        selection=f"{kept.key}:{number}", n=number, box=_corners(person), score=person.score
    )


def _at(kept: QueryPicture, point: tuple[float, float] | None) -> int:
    """Return the number of the person at a point."""
    found = kept.people[: kept.n_found]
    if not found:
        raise UsageError("nobody was found in this picture", hint="draw a box around the person")
    row = chosen_row(
        Detections(
            boxes=np.stack([person.box for person in found]),
            scores=np.array([person.score for person in found], dtype=np.float32),
            embeddings=np.stack([person.embedding for person in found]),
        ),
        point,
    )
    return row + 1


async def _picture_of(request: Request, most_bytes: int) -> tuple[bytes, str | None]:
    """Read the form without letting any of it reach the disk."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise problem(415, "a picture is sent as multipart/form-data, in the field picture")
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=1, max_fields=4, max_part_size=1000
    )
    parser.spool_max_size = most_bytes + 1  # larger than what the guard lets through
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise problem(422, "the form cannot be read", hint="one picture, one archive") from error
    try:
        given, key = form.get("picture"), form.get("archive")
        if not isinstance(given, UploadFile):
            raise problem(422, "the field picture holds no file")
        return await given.read(), key if isinstance(key, str) and key else None
    finally:
        await form.close()


def _shown(kept: QueryPicture) -> QueryOut:
    return QueryOut(
        id=kept.key,
        archive=kept.archive,
        width=kept.width,
        height=kept.height,
        expires=datetime.fromtimestamp(kept.ends, UTC).isoformat(timespec="seconds"),
        people=[
            FoundOut(n=number, box=_corners(person), score=person.score)
            for number, person in enumerate(kept.people, start=1)
        ],
        picture=f"/api/v1/queries/{kept.key}/picture",
    )


def _corners(person: QueryPerson) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = person.box.tolist()
    return (x1, y1, x2, y2)
