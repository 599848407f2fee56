"""The embeddings of an archive in memory, kept up to date with its database.

Axes: N people, D embedding dimension.
"""

import sqlite3

import numpy as np

from fdps.errors import ArchiveError

ROWS_PER_READ = 4096  # 4 MB at D = 256: what is read is never in memory twice


class EmbeddingMatrix:
    """All embeddings as one float32 matrix, rows by rising item.

    It is read when it is first needed, and again when the archive has changed: people that were
    added are appended, after a removal everything is read anew.

    Args:
        dim: D.

    Attributes:
        items: (N,) int64, rising.
        embeddings: (N, D) float32 unit rows.
    """

    def __init__(self, dim: int) -> None:
        self.items = np.zeros(0, dtype=np.int64)
        self.embeddings = np.zeros((0, dim), dtype=np.float32)
        self._removals = 0
        self._state: tuple[int, int] | None = None

    def refresh(self, connection: sqlite3.Connection, own_changes: int) -> None:
        """Bring the matrix up to the state that ``connection`` sees.

        Args:
            connection: Within a read transaction.
            own_changes: Commits through this connection; SQLite counts only those of others.

        Raises:
            ArchiveError: An embedding has not D numbers.
        """
        state = (connection.execute("PRAGMA data_version").fetchone()[0], own_changes)
        if state == self._state:
            return
        (removals,) = connection.execute(
            "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'removals'"
        ).fetchone()
        if removals != self._removals:
            self.items, self.embeddings = self.items[:0], self.embeddings[:0]
        self._append(connection)
        self._removals, self._state = removals, state

    def _append(self, connection: sqlite3.Connection) -> None:
        n_old, dim = self.embeddings.shape
        # Nobody was removed, so all others are new. Counting those directly would read the blobs.
        (n_people,) = connection.execute("SELECT count(*) FROM people").fetchone()
        n_new = n_people - n_old
        items = np.empty(n_old + n_new, dtype=np.int64)
        embeddings = np.empty((n_old + n_new, dim), dtype=np.float32)
        items[:n_old], embeddings[:n_old] = self.items, self.embeddings
        cursor = connection.execute(
            "SELECT id, embedding FROM people WHERE id > ? ORDER BY id",
            (int(self.items[-1]) if n_old else 0,),
        )
        for start in range(n_old, n_old + n_new, ROWS_PER_READ):
            rows = cursor.fetchmany(ROWS_PER_READ)
            here = slice(start, start + len(rows))
            items[here] = [item for item, _ in rows]
            embeddings[here] = _numbers([blob for _, blob in rows], dim)
        self.items, self.embeddings = items, embeddings


def _numbers(blobs: list[bytes], dim: int) -> np.ndarray:
    if any(len(blob) != 4 * dim for blob in blobs):
        raise ArchiveError(
            f"the archive is damaged: an embedding has not {dim} numbers",
            hint="restore it from a backup, or index the pictures again",
        )
    return np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), dim)
