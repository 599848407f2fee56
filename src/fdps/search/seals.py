"""Seals: a digest in every scene over all that is known of it and its people.

SQLite finds damage of its own structure, not of the values in it; a flipped bit of an embedding is
an embedding. The seal tells.
"""

import hashlib
import sqlite3

_SCENE = "id, name, path, sha256, width, height, camera, time, frame, offset_s"
_SCENE += ", instant, second_of_day, added"
_PERSON = "id, scene_id, x1, y1, x2, y2, score, embedding"
_BYTES = 16  # accidents, not attacks: whoever changes a scene on purpose can seal it again


def seal_scene(connection: sqlite3.Connection, scene_id: int) -> None:
    """Seal a scene as it is now; within the transaction that changes it."""
    seal = scene_seal(connection, scene_id)
    connection.execute("UPDATE scenes SET seal = ? WHERE id = ?", (seal, scene_id))


def scene_seal(connection: sqlite3.Connection, scene_id: int) -> bytes:
    """What the seal of a scene should be."""
    scene = connection.execute(f"SELECT {_SCENE} FROM scenes WHERE id = ?", (scene_id,)).fetchone()
    # By number, or SQLite takes part of a row from the index, which may differ from the table.
    people = connection.execute(
        f"SELECT {_PERSON} FROM people "
        "WHERE id IN (SELECT id FROM people WHERE scene_id = ?) ORDER BY id",
        (scene_id,),
    )
    return digest(scene, *people)


def digest(*rows: tuple[object, ...]) -> bytes:
    """Of rows as SQLite returns them, types included.

    Example:
        >>> digest((1, "a"), (2.5, None, b"x")).hex()
        'cf1d7237e17d84c9166883d58b990ea2'
    """
    state = hashlib.blake2b(digest_size=_BYTES)
    for row in rows:
        for value in row:
            if isinstance(value, bytes):  # embeddings are most of it
                state.update(b"%d:" % len(value) + value)
            else:
                state.update(repr(value).encode("utf-8", "surrogatepass") + b"\n")
        state.update(b"\n")
    return state.digest()
