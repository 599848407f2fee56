"""The archive in one folder: SQLite holds the truth, a matrix in memory answers the searches.

Axes in shapes: N people, Q queries, K results, D embedding dimension.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from fdps.search.sql.search import SqlSearch
from fdps.search.sql.stamp import new_stamp
from fdps.search.sql.store import SCENE_COLUMNS, SqlStore
from fdps.search.sqlite.migration import BACKUPS
from fdps.search.sqlite.schema import (
    create_database,
    open_database,
    read_info,
    size_on_disk,
    sqlite_errors,
    writer_lock,
)
from fdps.search.store import EVERYBODY, Appearance, Filters
from fdps.structures import Hit


class SqliteStore(SqlStore):
    """An archive in the folder ``name.fdps``; the promises are those of :class:`Store`.

    One object serves one thread.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection = self._database = open_database(folder)
        self._nested_writers = 0
        self._own_changes = 0
        try:
            with sqlite_errors(folder):
                self._info = read_info(self._connection, folder)
        except BaseException:
            self._connection.close()
            raise
        self._search = SqlSearch(self._database, str(folder), self._info.dim)

    @classmethod
    def create(cls, folder: Path, *, model_hash: str, dim: int, model: str = "") -> "SqliteStore":
        """Begin an archive.

        Args:
            folder: A folder that is new or empty.
            model_hash: Hash of the model whose embeddings it will hold.
            dim: Length of an embedding, at least 1.
            model: The place where that model can be loaded from.

        Raises:
            ArchiveError: There is an archive already, or the folder cannot be written.
            UsageError: ``folder`` is a file, or holds other things.
        """
        create_database(folder, new_stamp(model_hash=model_hash, dim=dim, model=model))
        return cls(folder)

    @property
    def folder(self) -> Path:
        """The folder of the archive."""
        return self._folder

    @property
    def where(self) -> str:
        """The folder of the archive, as a text."""
        return str(self._folder)

    def close(self) -> None:
        """Let go of the files; closing twice is allowed."""
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer while the context lasts."""
        if self._nested_writers:
            yield
            return
        with writer_lock(self._folder):
            self._nested_writers += 1
            try:
                yield
            finally:
                self._nested_writers -= 1

    def search(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """Return the ``top`` most similar people to each query, best first; ties by item."""
        with self._searching(embeddings, top) as searching:
            return searching.hits(embeddings, top, filters.literal(self.find))

    def search_appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Appearance]]:
        """Return the ``top`` most similar appearances to each query, best first; ties by track."""
        with self._searching(embeddings, top) as searching:
            return searching.appearances(embeddings, top, filters.literal(self.find))

    def spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> Int64[np.ndarray, "Q _"]:
        """Count everybody who passes the filters by their similarity to each query."""
        with self._searching(embeddings, top=1) as searching:
            return searching.counts(embeddings, n_bins, filters.literal(self.find))

    def search_and_spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        top: int,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> tuple[list[list[Hit]], Int64[np.ndarray, "Q _"]]:
        """Do both by one look at all embeddings."""
        with self._searching(embeddings, top) as searching:
            return searching.hits_and_counts(embeddings, top, n_bins, filters.literal(self.find))

    def size(self) -> tuple[int, int]:
        """Return the bytes of all files, and how many of them compacting gives back."""
        with self._errors():
            free, size = (
                self._database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("freelist_count", "page_size")
            )
        return size_on_disk(self._folder), free * size

    def vacuum(self) -> None:
        """Write the file anew without its free pages; this happens whole or not at all."""
        with self.writing(), self._errors():
            self._database.execute("VACUUM")
            self._erase_files(anything=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with sqlite_errors(self._folder):
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.writing(), self._audited():
            yield
        self._own_changes += 1

    @contextmanager
    def _audited(self) -> Iterator[None]:
        """Run a transaction; by itself it is one in which nothing that searches read changes."""
        with self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk rolls back by itself
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        if self._connection.in_transaction:
            yield
            return
        with self._errors():
            self._database.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._database.execute("COMMIT")

    @contextmanager
    def _searching(self, embeddings: np.ndarray, top: int) -> Iterator[SqlSearch]:
        """Let a search read everything inside from one state of the archive."""
        self._check_query(embeddings, top)
        with self._snapshot():
            # SQLite counts the changes of others only.
            others = self._database.execute("PRAGMA data_version").fetchone()[0]
            self._search.refresh((others, self._own_changes))
            yield self._search

    def _insert_scene(self, values: Sequence[object]) -> int:
        marks = ", ".join("?" * len(values))
        scene_id = self._connection.execute(
            f"INSERT INTO scenes ({SCENE_COLUMNS}, instant, second_of_day, added) VALUES ({marks})",
            values,
        ).lastrowid
        assert scene_id is not None
        return scene_id

    def _before_erasing(self) -> None:
        # Backups of a migration show who is erased. They go before the commit: the archive can do
        # without them, and a crash must not leave the person in one.
        for backup in self._folder.glob(BACKUPS):
            backup.unlink()

    def _erase_files(self, *, anything: bool) -> None:
        """Empty the log, which still holds pages as they were; a reader at work may delay this.

        That is done in any case, because a removal before may have been stopped just before it.
        """
        with self._errors():
            busy, *_ = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self.still_kept = ""
        if busy:
            self.still_kept = (
                "another process is reading: the log keeps what was erased until it closes the "
                "archive"
            )

    def _lock_audit(self) -> None:
        """Nothing is left to do: a transaction that writes has locked the whole file."""
