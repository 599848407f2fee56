"""Walk through an archive: its scenes in order of time, those beside one, and its cameras."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from fdps.errors import UsageError
from fdps.search.sqlite.filters import filter_conditions
from fdps.search.sqlite.store import SqliteStore
from fdps.search.store import EVERYBODY, Filters, SceneRecord, Store

_COLUMNS = ", ".join(f"scenes.{field.name}" for field in fields(SceneRecord))
_N_PEOPLE = "(SELECT count(*) FROM people WHERE people.scene_id = scenes.id)"
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ScenePage:
    """Some of the scenes of an archive.

    Args:
        total: Number of all that pass the filters.
        scenes: Scenes in order of time, those without one last.
        n_people: Number of people in each.
    """

    total: int
    scenes: tuple[SceneRecord, ...]
    n_people: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of an archive.

    Args:
        name: Its name; empty for scenes whose camera nobody told.
        n_scenes: Number of its scenes.
        n_people: Number of people in them.
        first: Time of the first, ISO 8601, where one is known.
        last: Time of the last, likewise.
    """

    name: str
    n_scenes: int
    n_people: int
    first: str | None
    last: str | None


def list_scenes(
    store: Store, filters: Filters = EVERYBODY, *, offset: int = 0, limit: int = 50
) -> ScenePage:
    """List scenes in order of time.

    Args:
        store: The archive.
        filters: Conditions on scenes; ``min_height`` is one on people and is not allowed.
        offset: Number of scenes to pass over.
        limit: Most scenes to list.

    Raises:
        UsageError: The archive is on a server, or a number is negative or ``min_height`` given.
    """
    if filters.min_height > 0 or not 0 <= offset <= _LARGEST or not 0 <= limit <= _LARGEST:
        raise UsageError(
            f"scenes are listed from 0 on and by no height of people, got offset {offset}, "
            f"limit {limit}, min_height {filters.min_height:g}"
        )
    folder = _in_folder(store)
    conditions, arguments = filter_conditions(filters.literal(store.find))
    with folder.reading() as connection:
        (total,) = connection.execute(
            f"SELECT count(*) FROM scenes WHERE {conditions}", arguments
        ).fetchone()
        rows = connection.execute(
            f"SELECT {_N_PEOPLE}, {_COLUMNS} FROM scenes WHERE {conditions} "
            "ORDER BY instant IS NULL, instant, id LIMIT ? OFFSET ?",
            (*arguments, limit, offset),
        ).fetchall()
    return ScenePage(
        total, tuple(SceneRecord(*row[1:]) for row in rows), tuple(row[0] for row in rows)
    )


def scenes_beside(
    store: Store, scene: SceneRecord, *, most: int = 5
) -> tuple[list[SceneRecord], list[SceneRecord]]:
    """Return the scenes just before and just after one, in order.

    They are frames of the same video; for a picture, pictures of the same camera by time, or by the
    order in which they were added where its time is not known.

    Args:
        store: The archive.
        scene: The scene.
        most: Most scenes on either side.

    Raises:
        UsageError: The archive is on a server.
    """
    before = _beside(store, scene, most, is_before=True)
    return before[::-1], _beside(store, scene, most, is_before=False)


def list_cameras(store: Store) -> list[Camera]:
    """List the cameras of an archive by name.

    Raises:
        UsageError: The archive is on a server.
    """
    with _in_folder(store).reading() as connection:
        counts = connection.execute(
            f"SELECT coalesce(camera, ''), count(*), sum({_N_PEOPLE}) FROM scenes "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
        # SQLite takes the other columns from the row of the minimum or maximum.
        bounds = [
            {
                camera: time
                for camera, time, _ in connection.execute(
                    f"SELECT coalesce(camera, ''), time, {which}(instant) FROM scenes "
                    "WHERE instant IS NOT NULL GROUP BY 1"
                )
            }
            for which in ("min", "max")
        ]
    return [
        Camera(name, n_scenes, n_people, *(times.get(name) for times in bounds))
        for name, n_scenes, n_people in counts
    ]


def _beside(store: Store, scene: SceneRecord, most: int, *, is_before: bool) -> list[SceneRecord]:
    sign, direction = ("<", "DESC") if is_before else (">", "ASC")
    values: Sequence[object]
    if scene.offset_s is not None:
        condition, order = f"path = ? AND frame {sign} ?", f"frame {direction}"
        values = (scene.path, scene.frame)
    elif scene.time is not None:
        condition = (
            f"camera IS ? AND offset_s IS NULL AND (instant, id) {sign} "
            "(SELECT instant, id FROM scenes WHERE name = ?)"
        )
        order = f"instant {direction}, id {direction}"
        values = (scene.camera, scene.name)
    else:
        condition = (
            "camera IS ? AND offset_s IS NULL AND instant IS NULL AND id "
            f"{sign} (SELECT id FROM scenes WHERE name = ?)"
        )
        order = f"id {direction}"
        values = (scene.camera, scene.name)
    with _in_folder(store).reading() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM scenes WHERE {condition} ORDER BY {order} LIMIT ?",
            (*values, most),
        ).fetchall()
    return [SceneRecord(*row) for row in rows]


def _in_folder(store: Store) -> SqliteStore:
    if not isinstance(store, SqliteStore):
        raise UsageError(
            "an archive on a server cannot list its scenes",
            hint="search it; archives in a folder can be browsed",
        )
    return store
