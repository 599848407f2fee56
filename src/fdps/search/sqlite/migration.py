"""Bring an archive of an older format to the present one, with a backup beside it."""

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from fdps.durable import sync_folder
from fdps.errors import UsageError
from fdps.search.audit import append, stamp
from fdps.search.seals import seal_scene
from fdps.search.sqlite.database import SqliteDatabase
from fdps.search.times import instant, second_of_day

BACKUPS = "index.sqlite.v*.bak*"


def migrate_1_to_2(database: Path, scenes: str, tables: Sequence[str]) -> None:
    """Add what videos, times and the care of an archive need; people and their numbers stay.

    The migration happens whole or not at all, and only once ``index.sqlite.v1.bak`` is safe on the
    disk. Removing a person later removes that backup as well.

    Args:
        database: The database file; the caller is the one writer.
        scenes: Statement for a table of format 2, with a place for its name.
        tables: Statements for the tables that format 1 does not have.
    """
    with closing(
        sqlite3.connect(database, isolation_level=None, factory=SqliteDatabase)
    ) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] != 1:
            return  # another process was faster
        _back_up(connection, database.with_name(f"{database.name}.v1.bak"))
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = OFF")  # else dropping the old table drops people
        connection.execute("BEGIN EXCLUSIVE")
        try:
            _change(connection, scenes, tables)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _change(connection: SqliteDatabase, scenes: str, tables: Sequence[str]) -> None:
    connection.execute(scenes.format(name="scenes_2"))
    for statement in ";\n".join(tables).split(";\n"):  # not executescript, which commits first
        connection.execute(statement)
    columns = "id, name, path, sha256, width, height, camera, time"
    connection.execute(f"INSERT INTO scenes_2 ({columns}) SELECT {columns} FROM scenes")
    timed = connection.execute("SELECT id, time FROM scenes WHERE time IS NOT NULL").fetchall()
    for scene_id, text in timed:
        with suppress(
            UsageError
        ):  # format 1 took any text for a time; it stays, and no filter fits
            connection.execute(
                "UPDATE scenes_2 SET instant = ?, second_of_day = ? WHERE id = ?",
                (instant(text), second_of_day(text), scene_id),
            )
    connection.execute("DROP TABLE scenes")
    connection.execute("ALTER TABLE scenes_2 RENAME TO scenes")
    # Format 1 did not note when a scene was added, so its time is counted from now.
    connection.execute("UPDATE scenes SET added = ?", (time.time(),))
    for (scene_id,) in connection.execute("SELECT id FROM scenes").fetchall():
        seal_scene(connection, scene_id)
    connection.execute("PRAGMA user_version = 2")
    append(connection, "migrate", details=stamp(connection))


def _back_up(connection: SqliteDatabase, backup: Path) -> None:
    aside = backup.with_name(f"{backup.name}.part")
    aside.unlink(missing_ok=True)
    with closing(sqlite3.connect(aside)) as copy:
        connection.backup(copy)
    descriptor = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.replace(backup)
    sync_folder(backup.parent)
