"""The SQLite file of an archive: its tables, how it is created and opened, and who may write.

.. code-block:: text

    name.fdps/
      index.sqlite   everything: meta, scenes, people, videos, tracks, audit, forgotten
                     (-wal and -shm while in use)
      writer.lock    a second, tiny database; its write lock is held by the one writer
      skipped.csv    files that were not indexed, with the reason

The lock is SQLite's own, so it works wherever SQLite does and ends with the process that holds it,
however that ends.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from fdps.durable import sync_folder
from fdps.errors import ArchiveError, FdpsError, MissingDataError, ResourceError, UsageError
from fdps.search.audit import append, stamp
from fdps.search.sql.stamp import read_stamp
from fdps.search.sqlite.database import SqliteDatabase
from fdps.search.sqlite.migration import migrate_1_to_2
from fdps.search.store import IndexInfo

FORMAT_VERSION = 2
APPLICATION_ID = 0x66647073  # "fdps"; tells our files from other SQLite databases
DATABASE, LOCK = "index.sqlite", "writer.lock"
READER_TIMEOUT_S = 30.0  # a commit blocks readers for milliseconds; this is for slow disks

SCENES = """
CREATE TABLE {name} (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,  -- of the file
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    camera TEXT,
    time TEXT,             -- ISO 8601 with an offset from UTC
    frame INTEGER NOT NULL DEFAULT 0,  -- number in the video; 0 for a picture
    offset_s REAL,                     -- from the beginning of the video; NULL for a picture
    instant REAL,          -- the time as seconds since 1970, and ...
    second_of_day REAL,    -- ... where the camera stood, for filters
    added REAL,            -- seconds since 1970, UTC; for retention
    seal BLOB,             -- digest of this row and its people, for verify
    UNIQUE (path, frame),
    UNIQUE (sha256, frame)
);
"""
VIDEOS = """
-- Videos of which every frame that a sampling takes is here.
CREATE TABLE videos (
    sha256 TEXT NOT NULL,
    sampling TEXT NOT NULL,
    PRIMARY KEY (sha256, sampling)
) WITHOUT ROWID;
"""
TRACKS = """
-- People of a video who are one person for a while. Who is not here is alone.
CREATE TABLE tracks (
    item INTEGER PRIMARY KEY REFERENCES people (id) ON DELETE CASCADE,
    track INTEGER NOT NULL  -- lowest item of these people when they were linked
);
"""
CARE = """
-- Who did what, each entry chained to the one before by its hash; see audit.py.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    purpose TEXT NOT NULL,
    details TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
-- Where somebody was forgotten: indexing the same file again passes over who is there.
CREATE TABLE forgotten (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL,
    frame INTEGER NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    seal BLOB NOT NULL
);
CREATE INDEX forgotten_of_file ON forgotten (sha256, frame);
"""
SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
{SCENES.format(name="scenes")}{VIDEOS}{CARE}CREATE TABLE people (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- AUTOINCREMENT: a number is never used again
    scene_id INTEGER NOT NULL REFERENCES scenes (id) ON DELETE CASCADE,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    score REAL NOT NULL,
    embedding BLOB NOT NULL  -- float32, little-endian, unit length
);
-- Holds all that filters ask for, so that they never read past the embeddings.
CREATE INDEX people_of_scene ON people (scene_id, y1, y2);
{TRACKS}"""


class BeingWrittenError(ArchiveError):
    """Another process is the one writer of an archive."""


def create_database(folder: Path, meta: Mapping[str, str]) -> None:
    """Write an empty archive; it appears whole or not at all, and a failure leaves no folder.

    Raises:
        ArchiveError: There is an archive already, or the folder cannot be written.
        ResourceError: The disk is full.
        UsageError: ``folder`` is a file, or holds other things.
    """
    database = folder / DATABASE
    if database.exists():
        raise ArchiveError(f"there is an archive at {folder} already", hint="open it instead")
    aside = folder / f"{DATABASE}.part"
    if not _is_free(folder, leftovers=(LOCK, aside.name)):
        raise UsageError(
            f"{folder} exists and is not an archive", hint="name a new folder, such as NAME.fdps"
        )
    with _gone_on_failure(folder, (LOCK, aside.name)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(f"cannot create {folder}: {error.strerror}") from error
        with writer_lock(folder), sqlite_errors(folder):
            for leftover in folder.glob(f"{aside.name}*"):
                leftover.unlink()
            with closing(
                sqlite3.connect(aside, isolation_level=None, factory=SqliteDatabase)
            ) as connection:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
                connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
                connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
                append(connection, "create", details=stamp(connection))
                connection.execute("PRAGMA journal_mode = WAL")
            aside.replace(database)


@contextmanager
def _gone_on_failure(folder: Path, leftovers: tuple[str, ...]) -> Iterator[None]:
    """Remove what was made of an archive that cannot be begun, such as on a full disk.

    What another process is writing there is left alone.

    Args:
        folder: Folder of the archive; it is removed, with those above it, if it was not there
            before.
        leftovers: Beginnings of the names of files that creating an archive makes.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BeingWrittenError:
        raise
    except BaseException:
        if not (folder / DATABASE).exists():
            with suppress(OSError):  # the error that brought us here is the one to report
                for path in folder.iterdir():
                    if path.name.startswith(leftovers):
                        path.unlink()
                for path in made:
                    path.rmdir()
        raise


def _is_free(folder: Path, *, leftovers: tuple[str, ...]) -> bool:
    """Tell whether there is nothing but what an interrupted creation may leave."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(path.name.startswith(leftovers) for path in folder.iterdir())


def open_database(folder: Path) -> SqliteDatabase:
    """Connect to an archive as a reader; writing also takes :func:`writer_lock`.

    Raises:
        MissingDataError: There is no archive.
        ArchiveError: The folder is damaged, of a newer format, or not an archive; or it is of an
            older format and cannot be migrated now.
    """
    database = folder / DATABASE
    if not database.is_file():
        raise MissingDataError(
            f"no archive at {folder}", hint=f"build one: fdps index SOURCE -o {folder} --model RUN"
        )
    with sqlite_errors(folder):
        if _version(database) == 1:
            with writer_lock(folder):
                migrate_1_to_2(database, SCENES, (VIDEOS, TRACKS, CARE))
        connection = connect(database)
        try:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if application != APPLICATION_ID:
                raise ArchiveError(f"{database} is not an archive of fdps, or is damaged")
            if version != FORMAT_VERSION:
                raise ArchiveError(
                    f"{folder} has format version {version}, this fdps reads {FORMAT_VERSION}",
                    hint="use the version of fdps that wrote it, or index the pictures again",
                )
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def read_info(connection: sqlite3.Connection, folder: Path) -> IndexInfo:
    """Read the stamp of an archive.

    Args:
        connection: Connection to the archive.
        folder: Folder of the archive, for the message.

    Raises:
        ArchiveError: A part of the stamp is missing.
    """
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    return read_stamp(meta, str(folder), FORMAT_VERSION)


def rename_folder(folder: Path, name: Path) -> None:
    """Give a closed archive another name, which is then safe on the disk.

    Raises:
        ArchiveError: There is something of that name.
    """
    try:
        folder.rename(name)
    except OSError as error:
        raise ArchiveError(
            f"{folder} cannot become {name}: {error.strerror}",
            hint="move what is there, then run the same command again",
        ) from error
    sync_folder(name.parent)


def size_on_disk(folder: Path) -> int:
    """Return the size of all files of an archive, in bytes."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _version(database: Path) -> int:
    """Return the format of an archive; 0 for a file that is none."""
    with closing(connect(database)) as connection:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            return 0
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def connect(database: Path) -> SqliteDatabase:
    """Open the file, whatever it is; on a read-only medium it is opened as it stands."""
    address = f"file:{quote(str(database.absolute()))}"

    def attempt(options: str) -> SqliteDatabase:
        connection = sqlite3.connect(
            f"{address}?{options}",
            uri=True,
            isolation_level=None,
            timeout=READER_TIMEOUT_S,
            factory=SqliteDatabase,
        )
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    try:
        return attempt("mode=rw")
    except sqlite3.OperationalError as error:
        # On a read-only medium SQLite cannot make the files it shares with other processes. If
        # nobody left a log either, the file alone is the archive and does not change.
        refused = error.sqlite_errorcode & 0xFF in (
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_CANTOPEN,
        )
        if not refused or database.with_name(f"{DATABASE}-wal").exists():
            raise
        return attempt("mode=ro&immutable=1")


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Be the only process that writes into an archive.

    Raises:
        ArchiveError: Another process writes (its process id is named), or the folder is read-only.
    """
    with sqlite_errors(folder), closing(_lock_connection(folder)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE IF NOT EXISTS writer (pid INTEGER, since TEXT)")
            connection.execute("DELETE FROM writer")
            since = datetime.now(UTC).isoformat(timespec="seconds")
            connection.execute("INSERT INTO writer VALUES (?, ?)", (os.getpid(), since))
            connection.execute("COMMIT")  # visible to those who ask who it is ...
            connection.execute("BEGIN IMMEDIATE")  # ... and held from here on
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise BeingWrittenError(
                f"{folder} is being written by {_holder(connection)}",
                hint="wait until it has finished; searching is possible meanwhile",
            ) from error
        yield


def _lock_connection(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / LOCK, isolation_level=None, timeout=0)
    connection.execute("PRAGMA synchronous = OFF")  # safety after a power cut means nothing here
    return connection


def _holder(connection: sqlite3.Connection) -> str:
    try:
        pid, since = connection.execute("SELECT pid, since FROM writer").fetchone()
    except (sqlite3.OperationalError, TypeError):  # the other process is just writing its name
        return "another process"
    return f"process {pid} since {since}"


@contextmanager
def sqlite_errors(folder: Path) -> Iterator[None]:
    """Turn what SQLite reports about an archive into what the user can do about it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.ProgrammingError):  # a bug of ours, not the user's file
            raise
        raise _readable(error, folder) from error
    except UnicodeDecodeError as error:  # SQLite quotes a damaged name in its message
        raise _damaged(folder, error) from error


def _readable(error: sqlite3.DatabaseError, folder: Path) -> FdpsError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
        return ResourceError(
            f"cannot write {folder}: {error}; what was indexed before is safe",
            hint="make room, then run the same command again: it continues",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ArchiveError(f"{folder} is in use by another process: {error}", hint="try again")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return ArchiveError(
            f"cannot use {folder}: {error}", hint="check the permissions, or copy it elsewhere"
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return ArchiveError(f"{folder} holds another scene of this name or content: {error}")
    return _damaged(folder, error)


def _damaged(folder: Path, error: Exception) -> ArchiveError:
    return ArchiveError(
        f"{folder} is damaged: {error}", hint="restore it from a backup, or index again"
    )
