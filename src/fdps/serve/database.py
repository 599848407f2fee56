"""A small database of the server, for work that must not be lost once it was acknowledged.

A change is one transaction, and it is on the disk before :meth:`Database.writing` returns: SQLite
with a write-ahead log and ``synchronous = FULL``. What is erased is overwritten
(``secure_delete``). A server that is killed loses at most the change that was under way.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from fdps.errors import ArchiveError, FdpsError, ResourceError
from fdps.names import printable

APPLICATION_ID = 0x66647077  # "fdpw": work of people, as archives are "fdps"
TIMEOUT_S = 30.0  # another process, such as `fdps archive forget`, writes for a moment
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM)
_IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_REFUSED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


class Database:
    """A SQLite file that all threads of the server share; one of them uses it at a time.

    Args:
        path: The file; it is made where there is none.
        schema: Statements that make the tables.
        version: Version of these tables; a file of a newer one is refused.
        changes: Statements that bring a file of a version to the next one, by the older version.

    Raises:
        ArchiveError: The file is damaged, of another version, of another program, or it cannot be
            written.
        ResourceError: The disk is full.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        version: int,
        changes: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        self.path = path
        # What a client is told names no folder of this machine beyond the archive.
        self._name = printable(Path(path.parent.name, path.name))
        self._lock = threading.RLock()
        with self._errors():
            self._connection = sqlite3.connect(
                path, isolation_level=None, timeout=TIMEOUT_S, check_same_thread=False
            )
            try:
                self._prepare(schema, version, changes)
            except BaseException:
                self._connection.close()
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Let everything that is read inside be of one state.

        Raises:
            ArchiveError: The file is damaged, or in use for too long.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Make a change, whole or not at all; afterwards it is on the disk.

        Raises:
            ArchiveError: The file is damaged, read-only, or in use for too long.
            ResourceError: The disk is full.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def empty_log(self) -> bool:
        """Empty the log, which still holds pages as they were; whether no reader was in the way."""
        with self._lock, self._errors():
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def close(self) -> None:
        """Let go of the file; closing twice is allowed."""
        with self._lock:
            self._connection.close()

    def _prepare(self, schema: str, version: int, changes: Mapping[int, str]) -> None:
        with self._transaction("BEGIN IMMEDIATE") as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (there,) = connection.execute("PRAGMA user_version").fetchone()
            (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not n_tables and not application:
                _run(connection, schema)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version}")
            elif application != APPLICATION_ID:
                raise ArchiveError(f"{self._name} is not a file of fdps serve, or is damaged")
            elif not set(range(there, version)) <= changes.keys() or there > version:
                raise ArchiveError(
                    f"{self._name} has version {there}, this fdps reads {version}",
                    hint="use the version of fdps that wrote it",
                )
            else:
                for older in range(there, version):
                    _run(connection, changes[older])
                connection.execute(f"PRAGMA user_version = {version}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.execute("PRAGMA foreign_keys = ON")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk rolls back by itself
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what SQLite reports into what the user can do about it."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError):  # a bug of ours, not the user's file
                raise
            raise self._readable(error) from error

    def _readable(self, error: sqlite3.DatabaseError) -> FdpsError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        name = self._name
        if code in _NO_ROOM:
            return ResourceError(
                f"cannot write {name}: {error}; this change was not kept, earlier ones are safe",
                hint="make room on the disk, then try again",
            )
        if code in _IN_USE:
            return ArchiveError(f"{name} is in use by another process: {error}", hint="try again")
        if code in _REFUSED:
            return ArchiveError(f"cannot use {name}: {error}", hint="check the permissions")
        return ArchiveError(f"{name} is damaged: {error}", hint="restore it from a backup")


def _run(connection: sqlite3.Connection, statements: str) -> None:
    """Run statements that no text with a semicolon is part of, within a transaction."""
    for statement in filter(str.strip, statements.split(";")):
        connection.execute(statement)
