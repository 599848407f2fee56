"""The archive on a PostgreSQL server: its transactions, its one writer, and who answers searches.

Scenes are committed together: those of a second, since a commit waits for the server's disk. What
a writer has added is seen by others after that second, or with the next scene if that comes later,
and at once when it ends or removes somebody. A writer that is killed loses the scenes of that
second; they are found again by the same command.

The first searches of a process are scans of the server, so that a command need not read the
embeddings of everybody for one question. A process that goes on asking holds them, as it would
those of a folder, if they take no more than ``FDPS_SEARCH_MEMORY`` megabytes (2048 if it is not
set). The hits are the same, to the last digit.

Axes in shapes: Q queries, D embedding dimension.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import numpy as np
import psycopg
from jaxtyping import Float32, Int64

from fdps.errors import ArchiveError, UsageError
from fdps.search.postgres.address import PostgresAddress, connect, postgres_errors
from fdps.search.postgres.erasing import (
    StillReadError,
    close_log,
    rewrite_tables,
    what_the_log_keeps,
)
from fdps.search.postgres.scan import scan, scanned_counts
from fdps.search.postgres.schema import create_tables, read_info
from fdps.search.query.matrix import BYTES_PER_NUMBER
from fdps.search.sql.search import SqlSearch
from fdps.search.sql.stamp import new_stamp
from fdps.search.sql.store import SCENE_COLUMNS, SqlStore
from fdps.search.store import EVERYBODY, Appearance, Filters
from fdps.structures import Hit

COMMIT_AFTER_S = 1.0
SCANS = 2
"""Number of queries of a process that the server answers before the process holds everybody."""

MOST_SCANNED = 10_000
"""Most people of whom the server hands out embeddings for one question, if there is another way."""

MEMORY_VARIABLE, MEMORY_MB = "FDPS_SEARCH_MEMORY", 2048
_LOCK_CLASS = 0x66647073  # "fdps"; tells our advisory locks from those of others
_WRITER, _AUDIT = "writer", "audit"


class PostgresStore(SqlStore):
    """An archive in a schema of a database; the promises are those of :class:`Store`.

    One object serves one thread, over one connection.

    Args:
        address: The address of the archive.

    Raises:
        MissingDataError: There is no archive.
        ArchiveError: It is of a newer format, or cannot be reached.
    """

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._database = self._server = connect(address)
        self._nested_writers, self._begun = 0, 0.0
        self._n_scanned = 0
        try:
            self._info = read_info(self._server, address)
        except BaseException:
            self._server.close()
            raise
        self._search, self._schema = self._new_search(), 0

    def _new_search(self) -> SqlSearch:
        return SqlSearch(self._server, self.where, self._info.dim)

    @classmethod
    def create(
        cls, address: PostgresAddress, *, model_hash: str, dim: int, model: str = ""
    ) -> "PostgresStore":
        """Begin an archive.

        Args:
            address: An address at which there is none.
            model_hash: Hash of the model whose embeddings it will hold.
            dim: Length of an embedding, at least 1.
            model: The place where that model can be loaded from.

        Raises:
            ArchiveError: There is an archive already, or the server refuses.
        """
        meta = new_stamp(model_hash=model_hash, dim=dim, model=model)
        database = connect(address)
        try:
            create_tables(database, address, meta)
        finally:
            database.close()
        return cls(address)

    @property
    def folder(self) -> None:
        """There is none."""
        return None

    @property
    def where(self) -> str:
        """The address as it was given."""
        return str(self._address)

    def close(self) -> None:
        """End the connection; closing twice is allowed."""
        self._server.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer while the context lasts.

        The lock is one of the server and ends with the connection, however that ends. When the
        machine of a writer is gone, the server notices within half a minute.
        """
        if self._nested_writers:
            yield
            return
        with self._errors():
            self._lock_writer()
        self._nested_writers += 1
        try:
            yield
            self._commit()
        except BaseException:  # a server that is gone fails here as well, and must hide no error
            with suppress(Exception):
                self._commit()
            raise
        finally:
            self._nested_writers -= 1
            with suppress(psycopg.Error):
                self._server.execute("SELECT pg_advisory_unlock_all()")
                self._server.execute("SET application_name = 'fdps'")

    def search(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """Return the ``top`` most similar people to each query, best first; ties by item."""
        self._check_query(embeddings, top)
        with self._snapshot():
            filters = filters.literal(self.find)
            if self._holds_everybody(len(embeddings), top):
                return self._holding().hits(embeddings, top, filters)
            return self._search.shown(scan(self._server, embeddings, top, filters))

    def search_appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Appearance]]:
        """Return the ``top`` most similar appearances to each query, best first; ties by track.

        Raises:
            UsageError: As for :meth:`Store.search`; or this process may not hold everybody, as it
                has to for appearances.
        """
        self._check_query(embeddings, top)
        with self._snapshot():
            self._check_memory()
            return self._holding().appearances(embeddings, top, filters.literal(self.find))

    def spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> Int64[np.ndarray, "Q _"]:
        """Count everybody who passes the filters by their similarity to each query."""
        self._check_query(embeddings, top=1)
        with self._snapshot():
            filters = filters.literal(self.find)
            if self._holds_everybody(len(embeddings), top=0):
                return self._holding().counts(embeddings, n_bins, filters)
            return scanned_counts(self._server, embeddings, n_bins, filters)

    def search_and_spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        top: int,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> tuple[list[list[Hit]], Int64[np.ndarray, "Q _"]]:
        """Do both by one look at all embeddings, once this process holds them."""
        self._check_query(embeddings, top)
        with self._snapshot():
            filters = filters.literal(self.find)
            if self._holds_everybody(len(embeddings), top):
                return self._holding().hits_and_counts(embeddings, top, n_bins, filters)
            hits = self._search.shown(scan(self._server, embeddings, top, filters))
            return hits, scanned_counts(self._server, embeddings, n_bins, filters)

    def size(self) -> tuple[int, int]:
        """Return the bytes of all tables, and about how many of them compacting gives back."""
        with self._errors():
            total, live, dead = self._server.execute(
                "SELECT CAST(sum(pg_total_relation_size(relid)) AS bigint), "
                "CAST(sum(n_live_tup) AS bigint), CAST(sum(n_dead_tup) AS bigint) "
                "FROM pg_stat_user_tables WHERE schemaname = ?",
                (self._address.archive,),
            ).fetchone() or (0, 0, 0)
        return total, total * dead // max(live + dead, 1)

    def vacuum(self) -> None:
        """Write the tables anew without what was erased; each table whole or not at all.

        Searches wait for it, and it waits for them.
        """
        with self.writing(), self._errors():
            self._commit()
            try:
                rewrite_tables(self._server)
            except StillReadError as error:
                raise ArchiveError(
                    f"somebody is reading in the database of {self.where}; nothing was changed",
                    hint="try again when long searches and backups have ended",
                ) from error
            close_log(self._server)

    def _holds_everybody(self, n_queries: int, top: int) -> bool:
        """Tell whether this process answers by itself, because it was asked often or for many."""
        if self._search.matrix.n_bytes:
            return True
        self._n_scanned += n_queries
        is_worth_it = self._n_scanned > SCANS or top > MOST_SCANNED
        return is_worth_it and self._n_bytes() <= _memory()

    def _holding(self) -> SqlSearch:
        """Bring what this process holds up to date; another archive of this name begins anew."""
        (schema,) = self._server.execute(
            "SELECT CAST(CAST(CAST(? AS text) AS regnamespace) AS bigint)",
            (self._address.archive,),
        ).fetchone() or (0,)
        if schema != self._schema:
            self._search, self._schema = self._new_search(), schema
        self._search.refresh()
        return self._search

    def _n_bytes(self) -> int:
        return BYTES_PER_NUMBER * self._info.dim * len(self)

    def _check_memory(self) -> None:
        if self._n_bytes() > _memory():
            raise UsageError(
                f"appearances are searched in memory, and everybody at {self.where} takes "
                f"{self._n_bytes() / 1e6:.0f} MB of it",
                hint=f"allow that much with {MEMORY_VARIABLE}=MEGABYTES, or search people instead",
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with postgres_errors(self._address):
            if self._server.connection.broken and not self._nested_writers:
                self._server.connection = connect(self._address).connection
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.writing(), self._errors():
            if not self._server.in_transaction:
                self._server.execute("BEGIN")
                self._begun = time.monotonic()
            self._server.execute("SAVEPOINT change")
            try:
                yield
            except BaseException:
                with suppress(psycopg.Error):
                    self._server.execute("ROLLBACK TO SAVEPOINT change")
                raise
            self._server.execute("RELEASE SAVEPOINT change")
            if time.monotonic() - self._begun >= COMMIT_AFTER_S:
                self._commit()

    @contextmanager
    def _audited(self) -> Iterator[None]:
        with self._errors():
            self._commit()  # the audit is one for all writers, so nobody keeps it locked
            self._server.execute("BEGIN")
            try:
                yield
                self._server.execute("COMMIT")
            except BaseException:
                with suppress(psycopg.Error):
                    self._server.execute("ROLLBACK")
                raise

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        with self._errors():
            if self._server.in_transaction:
                yield
                return
            self._server.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield
            finally:
                with suppress(psycopg.Error):  # the error that ends this is told instead
                    self._server.execute("ROLLBACK")

    def _commit(self) -> None:
        if self._server.in_transaction:
            with self._errors():
                self._server.execute("COMMIT")

    def _insert_scene(self, values: Sequence[object]) -> int:
        marks = ", ".join("?" * len(values))
        row = self._server.execute(
            f"INSERT INTO scenes ({SCENE_COLUMNS}, instant, second_of_day, added) "
            f"VALUES ({marks}) RETURNING id",
            values,
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _lock_audit(self) -> None:
        self._server.execute("SELECT pg_advisory_xact_lock(?, ?)", self._lock(_AUDIT))

    def _lock_writer(self) -> None:
        (is_ours,) = self._server.execute(
            "SELECT pg_try_advisory_lock(?, ?)", self._lock(_WRITER)
        ).fetchone() or (False,)
        if not is_ours:
            raise ArchiveError(
                f"{self.where} is being written by {self._writer()}",
                hint="wait until it has finished; searching is possible meanwhile",
            )
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._server.execute(
            "SELECT set_config('application_name', ?, false)",
            (f"process {os.getpid()} since {since}",),
        )

    def _lock(self, what: str) -> tuple[int, int]:
        """Return the name of a lock of this archive."""
        row = self._server.execute(
            "SELECT hashtext(? || CAST(CAST(CAST(? AS text) AS regnamespace) AS oid))",
            (what, self._address.archive),
        ).fetchone()
        assert row is not None
        return _LOCK_CLASS, row[0]

    def _writer(self) -> str:
        row = self._server.execute(
            "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND granted AND classid = ? "
            "AND objid = CAST(CAST(? AS bigint) & 4294967295 AS oid)",
            self._lock(_WRITER),
        ).fetchone()
        return row[0] if row and row[0].startswith("process") else "another process"

    def _before_erasing(self) -> None:
        """There are no files of ours."""

    def _erase_files(self, *, anything: bool) -> None:
        with self._errors():
            self._commit()
            if not anything:
                return
            try:
                rewrite_tables(self._server)
            except StillReadError:
                self.still_kept = (
                    "somebody is reading: the tables keep what was erased until "
                    "fdps archive compact has written them anew"
                )
                return
            close_log(self._server)
            self.still_kept = what_the_log_keeps(self._server)


def _memory() -> float:
    text = os.environ.get(MEMORY_VARIABLE, "") or str(MEMORY_MB)
    if not text.isdecimal():
        raise UsageError(f"{MEMORY_VARIABLE} is a number of megabytes, got {text!r}")
    return 1e6 * int(text)
