"""Rows of an archive's tables as what they stand for."""

import sqlite3
from pathlib import Path

import numpy as np

from fdps.errors import ArchiveError
from fdps.search.seals import scene_seal
from fdps.search.sqlite.schema import FORMAT_VERSION
from fdps.search.store import ArchivedPerson, IndexInfo


def read_info(connection: sqlite3.Connection, folder: Path) -> IndexInfo:
    """The stamp.

    Args:
        connection: To the archive.
        folder: For the message.

    Raises:
        ArchiveError: Something of it is missing.
    """
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    try:
        return IndexInfo(
            format_version=FORMAT_VERSION,
            model_hash=meta["model_hash"],
            dim=int(meta["dim"]),
            model=meta["model"],
            created=meta["created"],
            created_by=meta["created_by"],
        )
    except (KeyError, ValueError) as error:
        raise ArchiveError(f"{folder} is damaged: its stamp lacks {error}") from error


def read_people(
    connection: sqlite3.Connection, condition: str, value: int | str
) -> list[ArchivedPerson]:
    """Those of ``scenes JOIN people`` who fulfil a condition, by item.

    Raises:
        ArchiveError: The seal of their scene is broken.
    """
    rows = connection.execute(
        "SELECT scenes.id, seal, people.id, name, x1, y1, x2, y2, score, embedding FROM people "
        f"JOIN scenes ON scenes.id = people.scene_id WHERE {condition} ORDER BY people.id",
        (value,),
    ).fetchall()
    for scene_id, seal in {row[:2] for row in rows}:
        if scene_seal(connection, scene_id) != seal:
            raise ArchiveError(
                "the archive is damaged: somebody in it is not what was added",
                hint="fdps archive verify names all that is damaged; remove it, then index again",
            )
    return [
        ArchivedPerson(
            item,
            name,
            np.array(box, dtype=np.float32),
            score,
            np.frombuffer(embedding, dtype="<f4").astype(np.float32),
        )
        for _, _, item, name, *box, score, embedding in rows
    ]
