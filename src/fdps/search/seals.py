"""Seals: in every scene, a digest of all that is known of it and its people.

SQLite finds damage of its own structure, not of the values in it: a flipped bit turns one embedding
into another. The seal shows that.
"""

import hashlib
import json
import sqlite3
from collections.abc import Sequence

SCENE = "scenes.id, name, path, sha256, width, height, camera, time, frame, offset_s"
SCENE += ", instant, second_of_day, added"
_PERSON = "people.id, scene_id, x1, y1, x2, y2, score, embedding"
_BYTES = 16  # against accidents, not attacks: whoever changes a scene on purpose can seal it again


def seal_scene(connection: sqlite3.Connection, scene_id: int) -> None:
    """Seal a scene as it is now, within the transaction that changes it."""
    seal = scene_seal(connection, scene_id)
    connection.execute("UPDATE scenes SET seal = ? WHERE id = ?", (seal, scene_id))


def scene_seal(connection: sqlite3.Connection, scene_id: int) -> bytes:
    """Return what the seal of a scene should be."""
    scene = connection.execute(f"SELECT {SCENE} FROM scenes WHERE id = ?", (scene_id,)).fetchone()
    return scene_seals(connection, [scene])[scene_id]


def scene_seals(
    connection: sqlite3.Connection, scenes: Sequence[tuple[object, ...]]
) -> dict[object, bytes]:
    """Return what the seals of scenes should be; their people are read in one statement.

    Args:
        connection: Connection to the archive.
        scenes: Rows with the columns :data:`SCENE`.

    Returns:
        The seals by the numbers of the scenes.
    """
    people: dict[object, list[tuple[object, ...]]] = {scene[0]: [] for scene in scenes}
    # Ordered by number: else SQLite reads part of a row from the index, which may differ.
    rows = connection.execute(
        f"SELECT scene.value, {_PERSON} FROM json_each(?) AS scene JOIN people ON people.id IN "
        "(SELECT id FROM people WHERE scene_id = scene.value) ORDER BY people.id",
        (json.dumps(list(people)),),
    )
    for scene_id, *person in rows:
        people[scene_id].append(tuple(person))
    return {scene[0]: digest(scene, *people[scene[0]]) for scene in scenes}


def digest(*rows: tuple[object, ...]) -> bytes:
    """Digest rows as SQLite returns them, including their types.

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
