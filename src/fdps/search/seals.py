"""Seals: in every scene, a digest of all that is known of it and its people.

A database finds damage of its own structure, not of the values in it: a flipped bit turns one
embedding into another. The seal shows that.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from fdps.search.database import Database

SCENE = "scenes.id, name, path, sha256, width, height, camera, time, frame, offset_s"
SCENE += ", instant, second_of_day, added"
_PERSON = "people.id, scene_id, x1, y1, x2, y2, score, embedding"
_BYTES = 16  # against accidents, not attacks: whoever changes a scene on purpose can seal it again


def seal_scene(database: Database, scene_id: int) -> None:
    """Seal a scene as it is now, within the transaction that changes it."""
    seal = scene_seal(database, scene_id)
    database.execute("UPDATE scenes SET seal = ? WHERE id = ?", (seal, scene_id))


def scene_seal(database: Database, scene_id: int) -> bytes:
    """Return what the seal of a scene should be."""
    scene = database.execute(f"SELECT {SCENE} FROM scenes WHERE id = ?", (scene_id,)).fetchone()
    return scene_seals(database, [scene])[scene_id]


def scene_seals(database: Database, scenes: Sequence[tuple[Any, ...]]) -> dict[object, bytes]:
    """Return what the seals of scenes should be; their people are read in one statement.

    Args:
        database: The archive.
        scenes: Rows with the columns :data:`SCENE`.

    Returns:
        The seals by the numbers of the scenes.
    """
    people: dict[Any, list[tuple[object, ...]]] = {scene[0]: [] for scene in scenes}
    among, value = database.one_of(list(people))
    # People are found by their scene and read by their number: else SQLite reads part of a row from
    # its index, which may differ from the row.
    rows = database.execute(
        f"SELECT {_PERSON} FROM people "
        f"WHERE id IN (SELECT id FROM people WHERE scene_id {among}) ORDER BY id",
        (value,),
    )
    for person in rows:
        people.setdefault(person[1], []).append(tuple(person))
    return {scene[0]: digest(scene, *people[scene[0]]) for scene in scenes}


def digest(*rows: tuple[object, ...]) -> bytes:
    """Digest rows as a database returns them, including their types.

    Example:
        >>> digest((1, "a"), (2.5, None, b"x")).hex()
        'cf1d7237e17d84c9166883d58b990ea2'
    """
    state = hashlib.blake2b(digest_size=_BYTES)
    for row in rows:
        for value in row:
            if isinstance(value, bytes):  # embeddings are most of a row
                state.update(b"%d:" % len(value) + value)
            else:
                state.update(repr(value).encode("utf-8", "surrogatepass") + b"\n")
        state.update(b"\n")
    return state.digest()
