"""The people of an archive."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from fdps.search.index import Index
from fdps.serve.api import asking
from fdps.serve.api.asking import Asking
from fdps.serve.api.schemas import LARGEST_ITEM, PersonOut, SearchIn, SearchOut
from fdps.serve.api.shown import person_of, shown_person
from fdps.serve.archives import ServedArchive
from fdps.serve.dependencies import Archive, Scenes, Viewer
from fdps.serve.looking.encoding import MEDIA_TYPE

router = APIRouter(prefix="/api/v1/people", tags=["people"])

Item = Annotated[int, Path(ge=1, le=LARGEST_ITEM, description="Number of the person.")]
_MOST_SHOWN = 500


@router.get("/{item}")
async def person(item: Item, archive: Archive, user: Viewer) -> PersonOut:
    """Return somebody by number."""
    return await archive.read(lambda index: shown_person(archive, *person_of(index, item)))


@router.get("/{item}/crop", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
async def crop(
    item: Item,
    archive: Archive,
    scenes: Scenes,
    user: Viewer,
    height: Annotated[int, Query(ge=32, le=1024)] = 256,
) -> Response:
    """Return the picture of a person and their surroundings, half as wide as high."""
    found, scene = await archive.read(lambda index: person_of(index, item))
    return Response(await scenes.crop(scene, found.box, height), media_type=MEDIA_TYPE)


@router.get("/{item}/track")
async def track(item: Item, archive: Archive, user: Viewer) -> list[PersonOut]:
    """Return the sightings of a person in a row, in order of time; of a picture, that one."""
    return await archive.read(lambda index: _track(archive, index, item))


@router.post("/{item}/similar")
async def similar(
    item: Item, archive: Archive, asker: Asking, body: SearchIn | None = None
) -> SearchOut:
    """Find the people most similar to somebody of the archive."""
    given = body or SearchIn(like=[f"item:{item}"])
    asked = given.model_copy(update={"like": [f"item:{item}"]})
    return await asking.search(archive, asked, asker)


def _track(archive: ServedArchive, index: Index, item: int) -> list[PersonOut]:
    person_of(index, item)
    items = index.store.track(item)
    members = (items or [item])[:_MOST_SHOWN]
    return [shown_person(archive, *person_of(index, member)) for member in members]
