"""The embeddings of an archive in memory, kept up to date with its database.

Axes: N people, B people of one block, D embedding dimension.
"""

import sqlite3
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from fdps.errors import ArchiveError

BLOCK_BYTES = 2**26
"""Size of a block: 64 MiB, so that the memory of an archive grows without being copied."""

READ_BYTES = 2**18
"""Amount to read at once: it stays in the processor's cache, twice as fast as 4 MiB at once."""


class EmbeddingMatrix:
    """All embeddings of an archive as blocks of float32 rows, ordered by rising item.

    The matrix is read when it is first needed, and again when the archive has changed: people who
    were added are appended, and after a removal everything is read anew.

    Args:
        dim: D, the length of an embedding.

    Attributes:
        items: Item of every row, (N,) int64, rising.
    """

    def __init__(self, dim: int) -> None:
        self.items = np.zeros(0, dtype=np.int64)
        self._dim = dim
        self._rows_per_block = max(1, BLOCK_BYTES // (4 * dim))
        self._rows_per_read = min(max(1, READ_BYTES // (4 * dim)), self._rows_per_block)
        self._memory: list[np.ndarray] = []
        self._removals = 0
        self._state: tuple[int, int] | None = None

    @property
    def blocks(self) -> list[Float32[np.ndarray, "B D"]]:
        """Return the rows of :attr:`items`; all blocks but the last are of one size."""
        starts = range(0, len(self.items), self._rows_per_block)
        return [
            memory[: len(self.items) - start]
            for memory, start in zip(self._memory, starts, strict=True)
        ]

    def refresh(self, connection: sqlite3.Connection, own_changes: int) -> bool:
        """Bring the matrix up to the state that ``connection`` sees.

        Args:
            connection: Connection within a read transaction.
            own_changes: Number of commits through this connection; SQLite counts only those of
                others.

        Returns:
            Whether people or scenes may have changed; other processes also write what does not
            concern a search, such as what they have searched for.

        Raises:
            ArchiveError: An embedding does not have D numbers, or removals are not counted.
        """
        state = (connection.execute("PRAGMA data_version").fetchone()[0], own_changes)
        if state == self._state:
            return False
        removals, n_before = _removals(connection), len(self.items)
        has_changed = self._state is None or removals != self._removals
        if removals != self._removals:
            self.items = self.items[:0]
            self._memory.clear()
        self._append(connection)
        self._removals, self._state = removals, state
        return has_changed or len(self.items) != n_before

    def _append(self, connection: sqlite3.Connection) -> None:
        """Append whoever has a higher item than the last one: all new, as nobody was removed."""
        cursor = connection.execute(
            "SELECT id, embedding FROM people WHERE id > ? ORDER BY id",
            (int(self.items[-1]) if len(self.items) else 0,),
        )
        items: list[int] = []
        while rows := cursor.fetchmany(self._rows_per_read):
            self._write(len(self.items) + len(items), [blob for _, blob in rows])
            items.extend(item for item, _ in rows)
        self.items = np.concatenate([self.items, np.array(items, dtype=np.int64)])

    def _write(self, first: int, blobs: list[bytes]) -> None:
        """Put embeddings into the rows from ``first`` on, which may reach into a new block."""
        embeddings = embedding_rows(blobs, self._dim)
        block, row = divmod(first, self._rows_per_block)
        here = self._rows_per_block - row
        for number, part in ((block, embeddings[:here]), (block + 1, embeddings[here:])):
            if len(part) == 0:
                continue
            if number == len(self._memory):
                self._memory.append(np.empty((self._rows_per_block, self._dim), dtype=np.float32))
            start = row if number == block else 0
            self._memory[number][start : start + len(part)] = part


def _removals(connection: sqlite3.Connection) -> int:
    row = connection.execute(
        "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'removals'"
    ).fetchone()
    if row is None:
        raise ArchiveError(
            "the archive is damaged: it does not count its removals",
            hint="restore it from a backup, or index the pictures again",
        )
    return int(row[0])


def embedding_rows(blobs: Sequence[bytes], dim: int) -> Float32[np.ndarray, "_ D"]:
    """Turn embeddings, as the database keeps them, into rows.

    Raises:
        ArchiveError: An embedding does not have ``dim`` numbers.
    """
    if any(not isinstance(blob, bytes) or len(blob) != 4 * dim for blob in blobs):
        raise ArchiveError(
            f"the archive is damaged: an embedding has not {dim} numbers",
            hint="restore it from a backup, or index the pictures again",
        )
    return np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), dim)
