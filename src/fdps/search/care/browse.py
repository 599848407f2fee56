"""Walk through an archive: its scenes in order of time, some of them, those beside one, cameras."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from fdps.errors import UsageError
from fdps.search.sql.filters import filter_conditions
from fdps.search.sql.store import SqlStore
from fdps.search.store import EVERYBODY, Filters, SceneRecord

_COLUMNS = ", ".join(f"scenes.{field.name}" for field in fields(SceneRecord))
_N_PEOPLE = "(SELECT count(*) FROM people WHERE people.scene_id = scenes.id)"
_HAS_PEOPLE = "EXISTS (SELECT 1 FROM people WHERE people.scene_id = scenes.id)"
_IN_ORDER = "instant IS NULL, instant, id"
_LARGEST, _LARGEST_SPREAD = 2**63 - 1, 10_000


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
    store: SqlStore, filters: Filters = EVERYBODY, *, offset: int = 0, limit: int = 50
) -> ScenePage:
    """List scenes in order of time.

    Args:
        store: The archive.
        filters: Conditions on scenes; ``min_height`` is one on people and is not allowed.
        offset: Number of scenes to pass over.
        limit: Most scenes to list.

    Raises:
        UsageError: A number is negative, or ``min_height`` is given.
    """
    if filters.min_height > 0 or not 0 <= offset <= _LARGEST or not 0 <= limit <= _LARGEST:
        raise UsageError(
            f"scenes are listed from 0 on and by no height of people, got offset {offset}, "
            f"limit {limit}, min_height {filters.min_height:g}"
        )
    with store.reading() as database:
        conditions, arguments = filter_conditions(database, filters.literal(store.find))
        (total,) = database.execute(
            f"SELECT count(*) FROM scenes WHERE {conditions}", arguments
        ).fetchone()
        rows = database.execute(
            f"SELECT {_N_PEOPLE}, {_COLUMNS} FROM scenes WHERE {conditions} "
            f"ORDER BY {_IN_ORDER} LIMIT ? OFFSET ?",
            (*arguments, limit, offset),
        ).fetchall()
    return ScenePage(
        total, tuple(SceneRecord(*row[1:]) for row in rows), tuple(row[0] for row in rows)
    )


def spread_scenes(store: SqlStore, filters: Filters = EVERYBODY, *, n: int) -> ScenePage:
    """Choose scenes spread evenly over all in which somebody was found, in order of time.

    Args:
        store: The archive.
        filters: Conditions on scenes; ``min_height`` is one on people and is not allowed.
        n: Most scenes to choose, at least 1.

    Returns:
        The chosen scenes; ``total`` counts all that have somebody.

    Raises:
        UsageError: ``n`` is below 1, or ``min_height`` is given.
    """
    if filters.min_height > 0 or not 1 <= n <= _LARGEST_SPREAD:
        raise UsageError(
            f"between 1 and {_LARGEST_SPREAD} scenes are chosen, and by no height of people, got "
            f"{n}, min_height {filters.min_height:g}"
        )
    with store.reading() as database:
        conditions, arguments = filter_conditions(database, filters.literal(store.find))
        rows = database.execute(
            f"SELECT total, {_N_PEOPLE}, {_COLUMNS} FROM scenes JOIN "
            "(SELECT id AS chosen, count(*) OVER () AS total, "
            f"row_number() OVER (ORDER BY {_IN_ORDER}) - 1 AS place FROM scenes "
            f"WHERE {conditions} AND {_HAS_PEOPLE}) AS placed ON scenes.id = chosen "
            # The places at which n times their number passes another multiple of the total.
            "WHERE place = 0 OR place * ? / total > (place - 1) * ? / total "
            f"ORDER BY {_IN_ORDER}",
            (*arguments, n, n),
        ).fetchall()
    return ScenePage(
        rows[0][0] if rows else 0,
        tuple(SceneRecord(*row[2:]) for row in rows),
        tuple(row[1] for row in rows),
    )


def scenes_beside(
    store: SqlStore, scene: SceneRecord, *, most: int = 5
) -> tuple[list[SceneRecord], list[SceneRecord]]:
    """Return the scenes just before and just after one, in order.

    They are frames of the same video; for a picture, pictures of the same camera by time, or by the
    order in which they were added where its time is not known.

    Args:
        store: The archive.
        scene: The scene.
        most: Most scenes on either side.
    """
    before = _beside(store, scene, most, is_before=True)
    return before[::-1], _beside(store, scene, most, is_before=False)


def list_cameras(store: SqlStore) -> list[Camera]:
    """List the cameras of an archive by name."""
    with store.reading() as database:
        counts = database.execute(
            f"SELECT coalesce(camera, ''), count(*), CAST(sum({_N_PEOPLE}) AS BIGINT) FROM scenes "
            "GROUP BY coalesce(camera, '') ORDER BY 1"
        ).fetchall()
        bounds = [
            dict(
                database.execute(
                    "SELECT edges.name, min(time) FROM scenes JOIN "
                    f"(SELECT coalesce(camera, '') AS name, {which}(instant) AS edge FROM scenes "
                    "WHERE instant IS NOT NULL GROUP BY coalesce(camera, '')) AS edges "
                    "ON coalesce(camera, '') = edges.name AND instant = edges.edge "
                    "GROUP BY edges.name"
                ).fetchall()
            )
            for which in ("min", "max")
        ]
    return [
        Camera(name, n_scenes, n_people, *(times.get(name) for times in bounds))
        for name, n_scenes, n_people in counts
    ]


def _beside(
    store: SqlStore, scene: SceneRecord, most: int, *, is_before: bool
) -> list[SceneRecord]:
    camera, of_camera = "camera = ?", [scene.camera]
    if scene.camera is None:
        camera, of_camera = "camera IS NULL", []
    sign, direction = ("<", "DESC") if is_before else (">", "ASC")
    values: Sequence[object]
    if scene.offset_s is not None:
        condition, order = f"path = ? AND frame {sign} ?", f"frame {direction}"
        values = (scene.path, scene.frame)
    elif scene.time is not None:
        condition = (
            f"{camera} AND offset_s IS NULL AND (instant, id) {sign} "
            "(SELECT instant, id FROM scenes WHERE name = ?)"
        )
        order = f"instant {direction}, id {direction}"
        values = (*of_camera, scene.name)
    else:
        condition = (
            f"{camera} AND offset_s IS NULL AND instant IS NULL AND id "
            f"{sign} (SELECT id FROM scenes WHERE name = ?)"
        )
        order = f"id {direction}"
        values = (*of_camera, scene.name)
    with store.reading() as database:
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM scenes WHERE {condition} ORDER BY {order} LIMIT ?",
            (*values, most),
        ).fetchall()
    return [SceneRecord(*row) for row in rows]
