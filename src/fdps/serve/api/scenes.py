"""The scenes of an archive and their pictures."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from fdps.errors import UsageError
from fdps.search.care.browse import list_scenes, scenes_beside, spread_scenes
from fdps.search.index import Index
from fdps.search.store import ArchivedPerson, Filters, SceneRecord
from fdps.serve.api.asking import item_of
from fdps.serve.api.schemas import SceneOut, ScenesOut, SceneWithPeopleOut
from fdps.serve.api.shown import picture_url, scene_of, shown_person, shown_scene
from fdps.serve.archives import ServedArchive
from fdps.serve.dependencies import Archive, Scenes, Viewer
from fdps.serve.looking.encoding import LONGEST_SIDE, MEDIA_TYPE

router = APIRouter(prefix="/api/v1/scenes", tags=["scenes"])

Key = Annotated[str, Path(max_length=8000, description="Key of the scene, as results show it.")]
Text = Annotated[str, Query(max_length=500)]
_OTHERS = "others-of:"
_MOST_OFFSET = 10**12


@router.get("")
async def scenes(
    archive: Archive,
    user: Viewer,
    camera: Annotated[str | None, Query(max_length=500)] = None,
    after: Annotated[str, Query(max_length=64)] = "",
    before: Annotated[str, Query(max_length=64)] = "",
    source: Text = "",
    offset: Annotated[int, Query(ge=0, le=_MOST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    spread: Annotated[
        bool,
        Query(description="Of the scenes with somebody in them, `limit` spread evenly over all."),
    ] = False,
) -> ScenesOut:
    """List scenes in order of time, those without one last."""
    if spread and offset:
        raise UsageError("scenes that are spread evenly have no offset", hint="leave one out")
    filters = Filters(
        cameras=(camera,) if camera else (), after=after, before=before, source=source
    )
    page = await archive.read(
        lambda index: (
            spread_scenes(index.store, filters, n=limit)
            if spread
            else list_scenes(index.store, filters, offset=offset, limit=limit)
        )
    )
    shown = zip(page.scenes, page.n_people, strict=True)
    return ScenesOut(total=page.total, scenes=[shown_scene(*one) for one in shown])


@router.get("/{key}")
async def scene(key: Key, archive: Archive, user: Viewer) -> SceneWithPeopleOut:
    """Return a scene, everybody in it, and the scenes just before and after."""
    return await archive.read(partial(_shown, archive, key))


@router.get(
    "/{key}/picture", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}}
)
async def picture(
    key: Key,
    archive: Archive,
    pictures: Scenes,
    user: Viewer,
    width: Annotated[int, Query(ge=32, le=LONGEST_SIDE)] = 1280,
    blur: Annotated[
        str,
        Query(
            max_length=2000,
            description="People to blur, `item,item`; or `others-of:ITEM`: all but one.",
        ),
    ] = "",
) -> Response:
    """Return the picture of a scene, upright and without metadata."""
    scene, people = await archive.read(partial(_with_people, key))
    boxes = {person.item: person.box for person in people}
    if blur.startswith(_OTHERS):
        alone = _of_scene(boxes, blur.removeprefix(_OTHERS))
        content = await pictures.scene(scene, width, alone=boxes[alone])
    else:
        chosen = [_of_scene(boxes, text) for text in blur.split(",") if text]
        content = await pictures.scene(scene, width, blurred=[boxes[item] for item in chosen])
    return Response(content, media_type=MEDIA_TYPE)


def _of_scene(boxes: Mapping[int, object], text: str) -> int:
    item = item_of(text)
    if item not in boxes:
        raise UsageError(f"person {item} is not in this scene")
    return item


def _with_people(key: str, index: Index) -> tuple[SceneRecord, list[ArchivedPerson]]:
    scene = scene_of(index, key)
    return scene, index.people_in(scene.name)


def _shown(archive: ServedArchive, key: str, index: Index) -> SceneWithPeopleOut:
    scene, people = _with_people(key, index)
    before, after = scenes_beside(index.store, scene)
    return SceneWithPeopleOut(
        scene=shown_scene(scene, len(people)),
        picture=picture_url(archive, scene),
        people=[shown_person(archive, person, scene) for person in people],
        before=_all(before),
        after=_all(after),
    )


def _all(scenes: list[SceneRecord]) -> list[SceneOut]:
    return [shown_scene(scene) for scene in scenes]
