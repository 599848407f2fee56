"""Check that an archive is whole, by comparing every byte that counts with others in the archive.

SQLite checks the structure of its file, PostgreSQL the pages that it reads. A seal covers the
values of every scene and its people. The chain of the audit covers everything else: the stamp, the
tables, the calibration and the retention.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fdps.errors import ArchiveError, MissingDataError
from fdps.search import audit
from fdps.search.database import Database
from fdps.search.ingest.skipped import SKIPPED_FILE
from fdps.search.open_store import open_store
from fdps.search.seals import digest, scene_seal
from fdps.search.sqlite.schema import APPLICATION_ID, DATABASE, FORMAT_VERSION, LOCK, connect
from fdps.search.store import UNIT_TOLERANCE

MOST_FAULTS = 100  # most faults told of one kind
_FILES = {DATABASE, LOCK, SKIPPED_FILE}
_FILES |= {f"{name}-{end}" for name in (DATABASE, LOCK) for end in ("wal", "shm", "journal")}


@dataclass(frozen=True, slots=True)
class Verification:
    """The findings in an archive.

    Args:
        faults: Everything that is wrong; empty if nothing is.
        notes: Findings that do no harm, such as backups and files that nobody needs.
        n_scenes: Number of scenes that were compared with their seals.
        n_people: Number of people in these scenes.
        n_entries: Number of entries in the audit.
    """

    faults: tuple[str, ...]
    notes: tuple[str, ...]
    n_scenes: int = 0
    n_people: int = 0
    n_entries: int = 0


def verify(path_or_uri: str | Path, *, expect: str = "") -> Verification:
    """Read everything in an archive and name what is wrong. Nothing is changed.

    Args:
        path_or_uri: The folder of the archive, or its address on a server.
        expect: Head of the audit that was noted earlier.

    Raises:
        MissingDataError: There is no archive.
        ArchiveError: The server cannot be reached.
        UsageError: The address is of an unknown kind.
    """
    if "://" in str(path_or_uri):
        return _verify_on_server(str(path_or_uri), expect)
    folder = Path(path_or_uri)
    database = folder / DATABASE
    if not database.is_file():
        raise MissingDataError(f"no archive at {folder}", hint="check the path")
    notes = tuple(sorted(_stale(folder)))
    try:
        connection = connect(database)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return Verification((f"file: {error}",), notes)
    with closing(connection):
        found = _attempt("file", lambda: _kind(connection))
        if found:
            return Verification(tuple(found), notes)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")  # one state of the archive is read, whoever writes
        faults = _attempt("structure", lambda: _structure(connection))
        faults += _faults(connection, expect)
        return Verification(tuple(faults), notes, *_counts(connection))


def _verify_on_server(address: str, expect: str) -> Verification:
    with open_store(address) as store, store.reading() as database:
        return Verification(
            tuple(_faults(database, expect)), tuple(_unchecked_pages(database)), *_counts(database)
        )


def _unchecked_pages(database: Database) -> Iterator[str]:
    if database.execute("SHOW data_checksums").fetchone()[0] != "on":
        yield "the server does not check its pages (pg_checksums --enable lets it)"


def _faults(database: Database, expect: str) -> list[str]:
    """Return what is wrong in the tables, within a transaction that reads one state of them."""
    checks: dict[str, Callable[[], Iterator[str]]] = {
        "stamp": lambda: _stamp(database),
        "notes": lambda: _kept_notes(database),
        "scenes": lambda: _scenes(database),
        "people": lambda: _embeddings(database),
        "tracks": lambda: _tracks(database),
        "forgotten": lambda: _forgotten(database),
        "audit": lambda: iter(audit.faults(database, expect=expect)),
    }
    return [fault for name, check in checks.items() for fault in _attempt(name, check)]


def _counts(database: Database) -> list[int]:
    return [_count(database, table) for table in ("scenes", "people", "audit")]


def _attempt(name: str, check: Callable[[], Iterator[str]]) -> list[str]:
    """Return the faults that a check finds, and the error that ends it, if there is one."""
    found: list[str] = []
    try:
        for fault in check():
            found.append(fault)
            if len(found) == MOST_FAULTS:
                found.append(f"{name}: more faults, not named")
                break
    except (sqlite3.DatabaseError, ArchiveError, TypeError, ValueError, LookupError) as error:
        found.append(f"{name}: cannot be read: {error}")
    return found


def _count(database: Database, table: str) -> int:
    try:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return 0


def _stale(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.name.endswith(".bak"):
            yield f"{path.name} is a backup from before a migration; it holds everybody of then"
        elif path.name not in _FILES:
            yield f"{path.name} does not belong to the archive"


def _kind(database: Database) -> Iterator[str]:
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        yield f"file: {DATABASE} is not an archive of fdps, or its head is damaged"
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT_VERSION:
        yield f"file: format version is {version}, this fdps checks {FORMAT_VERSION}"


def _structure(database: Database) -> Iterator[str]:
    for (line,) in database.execute(f"PRAGMA integrity_check({MOST_FAULTS})"):
        if line != "ok":
            yield f"structure: {line}"
    for table, row, parent, _ in database.execute("PRAGMA foreign_key_check"):
        yield f"structure: row {row} of {table} belongs to none of {parent}"
    used = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'people'").fetchone()
    last = database.execute("SELECT max(id) FROM people").fetchone()[0] or 0
    if (used[0] if used else 0) < last:
        yield f"structure: item {last} is beyond the last number that was given"


def _details(database: Database, *actions: str) -> Iterator[dict[str, Any]]:
    """Yield the details of audit entries with these actions, newest first."""
    marks = ", ".join("?" * len(actions))
    for (text,) in database.execute(
        f"SELECT details FROM audit WHERE action IN ({marks}) ORDER BY seq DESC", actions
    ):
        yield json.loads(text)


def _stamp(database: Database) -> Iterator[str]:
    noted = next(_details(database, "create", "migrate", "copied"), {})
    present = audit.stamp(database)
    for key in sorted(present):
        if present[key] != noted.get(key):
            yield f"stamp: {key} is not what it was when the archive was created"


def _kept_notes(database: Database) -> Iterator[str]:
    noted: dict[str, str] = {}
    for details in _details(database, "note", *audit.NOTE_ACTIONS.values()):
        if "key" not in details:  # this entry is of scenes that a retention erased
            continue
        noted.setdefault(details["key"], details["sha256"])
    present = dict(database.execute("SELECT key, value FROM meta WHERE key LIKE 'note:%'"))
    for key in sorted({*noted, *(key.removeprefix("note:") for key in present)}):
        text = present.get(f"note:{key}")
        if text is None or audit.text_hash(text) != noted.get(key):
            yield f"notes: {key} is not what was written"


def _scenes(database: Database) -> Iterator[str]:
    for scene_id, name, seal in database.stream("SELECT id, name, seal FROM scenes"):
        if scene_seal(database, scene_id) != seal:
            yield f"scenes: {name!r} or its people are not what was added (scene {scene_id})"


def _embeddings(database: Database) -> Iterator[str]:
    (dim,) = database.execute("SELECT value FROM meta WHERE key = 'dim'").fetchone()
    for item, blob in database.stream("SELECT id, embedding FROM people"):
        if not isinstance(blob, bytes) or len(blob) != 4 * int(dim):
            yield f"people: the embedding of item {item} has not {dim} numbers"
            continue
        embedding = np.frombuffer(blob, dtype="<f4").astype(np.float64)
        with np.errstate(all="ignore"):
            length = float(np.sqrt(embedding @ embedding))
        if not abs(length - 1) <= UNIT_TOLERANCE:
            yield f"people: the embedding of item {item} has length {length:.6g}, not 1"


def _tracks(database: Database) -> Iterator[str]:
    rows = database.execute(
        "SELECT track, count(DISTINCT scenes.sha256), min(item) FROM tracks "
        "JOIN people ON people.id = item JOIN scenes ON scenes.id = people.scene_id GROUP BY track"
    )
    for track, n_videos, first in rows:
        if n_videos > 1:
            yield f"tracks: track {track} joins people of {n_videos} videos"
        if not isinstance(track, int) or track > first:
            yield f"tracks: track {track} is not named after its first person"


def _forgotten(database: Database) -> Iterator[str]:
    rows = database.execute("SELECT id, seal, sha256, frame, x1, y1, x2, y2 FROM forgotten")
    for row_id, seal, *place in rows:
        if digest(tuple(place)) != seal:
            yield f"forgotten: mark {row_id} is not what was written"
