"""The embeddings of an archive in memory, kept up to date with its database.

Axes: N people, B people of one block, D embedding dimension.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from fdps.errors import ArchiveError
from fdps.search.database import Database
from fdps.search.query.codes import Codes, can_multiply_codes

BLOCK_BYTES = 2**26
"""Size of a block: 64 MiB, so that the memory of an archive grows without being copied."""

BYTES_PER_NUMBER = 5
"""Memory that a number of an embedding takes: as float32, and coded in eight bits."""

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
        self._memory: list[np.ndarray] = []
        self._codes: list[Codes] = []
        self._removals = 0
        self._is_read = False
        self._state: object = None

    @property
    def n_bytes(self) -> int:
        """Memory that the blocks take, in bytes."""
        return sum(block.nbytes for block in self._memory)

    @property
    def blocks(self) -> list[Float32[np.ndarray, "B D"]]:
        """Return the rows of :attr:`items`; all blocks but the last are of one size."""
        starts = range(0, len(self.items), self._rows_per_block)
        return [
            memory[: len(self.items) - start]
            for memory, start in zip(self._memory, starts, strict=True)
        ]

    def codes(self) -> list[Codes]:
        """Return the rows of the first blocks in eight bits, those of one more block each time.

        Coding a block takes as long as some searches, so that no search waits for all of them.
        Only full blocks are coded: a small archive is searched fast enough without. There are none
        where the library is missing that multiplies them.
        """
        n_full = len(self.items) // self._rows_per_block
        if len(self._codes) < n_full and can_multiply_codes():
            self._codes.append(Codes.of(self._memory[len(self._codes)]))
        return self._codes

    def refresh(self, database: Database, state: object = None) -> bool:
        """Bring the matrix up to the state of the archive that ``database`` sees.

        Args:
            database: Database within a read transaction.
            state: Anything that differs after every change of the database; ``None`` if nothing
                tells.

        Returns:
            Whether people or scenes may have changed; other processes also write what does not
            concern a search, such as what they have searched for.

        Raises:
            ArchiveError: An embedding does not have D numbers, or removals are not counted.
        """
        if self._is_read and state is not None and state == self._state:
            return False
        removals, n_before = count_of_removals(database), len(self.items)
        has_changed = not self._is_read or removals != self._removals
        if removals != self._removals:
            self.items = self.items[:0]
            self._memory.clear()
            self._codes.clear()
        self._append(database)
        self._is_read, self._removals, self._state = True, removals, state
        return has_changed or len(self.items) != n_before

    def _append(self, database: Database) -> None:
        """Append whoever has a higher item than the last one: all new, as nobody was removed."""
        last = int(self.items[-1]) if len(self.items) else 0
        n_rows, parts = len(self.items), [self.items]
        for items, embeddings in database.embeddings(last, self._dim):
            self._write(n_rows, embeddings)
            n_rows += len(items)
            parts.append(items)
        self.items = np.concatenate(parts)

    def _write(self, first: int, embeddings: Float32[np.ndarray, "_ D"]) -> None:
        """Put embeddings into the rows from ``first`` on, which may reach into new blocks."""
        while len(embeddings):
            block, row = divmod(first, self._rows_per_block)
            if block == len(self._memory):
                self._memory.append(np.empty((self._rows_per_block, self._dim), dtype=np.float32))
            here = embeddings[: self._rows_per_block - row]
            self._memory[block][row : row + len(here)] = here
            first, embeddings = first + len(here), embeddings[len(here) :]


def count_of_removals(database: Database) -> int:
    """Return how often somebody was removed, which tells readers to read anew.

    Raises:
        ArchiveError: Nothing counts them.
    """
    row = database.execute(
        "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'removals'"
    ).fetchone()
    if row is None:
        raise ArchiveError(
            "the archive is damaged: it does not count its removals",
            hint="restore it from a backup, or index the pictures again",
        )
    return int(row[0])


def embedding_rows(blobs: Sequence[Any], dim: int) -> Float32[np.ndarray, "_ D"]:
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
