"""Write people and scenes of an archive as REST shows them."""

import base64
import binascii
from pathlib import PurePath
from urllib.parse import quote

from fdps.search.index import Index
from fdps.search.results.calibration import Level
from fdps.search.store import Appearance, ArchivedPerson, SceneRecord
from fdps.serve.api.schemas import AppearanceOut, HitOut, PersonOut, SceneOut
from fdps.serve.archives import ServedArchive
from fdps.serve.problems import not_found
from fdps.structures import Hit


def scene_key(name: str) -> str:
    """Write the name of a scene in letters that need no escape in an address."""
    return base64.urlsafe_b64encode(name.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def name_of_key(key: str) -> str:
    """Read back what :func:`scene_key` wrote.

    Raises:
        ProblemError: It is no such key.
    """
    try:
        padded = key + "=" * (-len(key) % 4)
        name = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise not_found("scene") from error
    if not name:
        raise not_found("scene")
    return name


def scene_of(index: Index, key: str) -> SceneRecord:
    """Return the scene of a key.

    Raises:
        ProblemError: The archive has none.
    """
    scene = index.scene(name_of_key(key))
    if scene is None:
        raise not_found("scene")
    return scene


def person_of(index: Index, item: int) -> tuple[ArchivedPerson, SceneRecord]:
    """Return a person with the scene.

    Raises:
        ProblemError: The archive has nobody of this number.
    """
    found = index.store.people([item])
    scene = index.scene(found[0].scene) if found else None
    if scene is None:
        raise not_found("person")
    return found[0], scene


def shown_scene(scene: SceneRecord, n_people: int | None = None) -> SceneOut:
    """Write a scene; of its path, the name of the file alone."""
    return SceneOut(
        key=scene_key(scene.name),
        name=scene.name,
        width=scene.width,
        height=scene.height,
        camera=scene.camera,
        time=scene.time,
        offset_s=scene.offset_s,
        frame=scene.frame if scene.offset_s is not None else None,
        path_name=PurePath(scene.path).name,
        n_people=n_people,
    )


def picture_url(archive: ServedArchive, scene: SceneRecord) -> str:
    """Return the address of the picture of a scene."""
    return f"/api/v1/scenes/{scene_key(scene.name)}/picture?archive={quote(archive.key)}"


def crop_url(archive: ServedArchive, item: int) -> str:
    """Return the address of the picture of a person."""
    return f"/api/v1/people/{item}/crop?archive={quote(archive.key)}"


def shown_person(archive: ServedArchive, person: ArchivedPerson, scene: SceneRecord) -> PersonOut:
    """Write a person."""
    x1, y1, x2, y2 = person.box.tolist()
    return PersonOut(
        item=person.item,
        box=(x1, y1, x2, y2),
        score=person.score,
        scene=shown_scene(scene),
        crop=crop_url(archive, person.item),
        picture=picture_url(archive, scene),
    )


def shown_hit(
    archive: ServedArchive,
    hit: Hit,
    scene: SceneRecord,
    rank: int,
    level: Level | None,
    appearance: Appearance | None,
) -> HitOut:
    """Write a candidate."""
    x1, y1, x2, y2 = hit.box.tolist()
    return HitOut(
        rank=rank,
        item=hit.item,
        similarity=hit.similarity,
        level=level,
        box=(x1, y1, x2, y2),
        score=hit.score,
        scene=shown_scene(scene),
        crop=crop_url(archive, hit.item),
        picture=picture_url(archive, scene),
        appearance=None if appearance is None else shown_appearance(appearance),
    )


def shown_appearance(appearance: Appearance) -> AppearanceOut:
    """Write an appearance."""
    return AppearanceOut(
        n=len(appearance),
        first=appearance.first.time,
        last=appearance.last.time,
        items=list(appearance.items),
    )
