"""What statements may rely on, whichever of the two databases runs them.

A statement has a ``?`` for every value, and uses no word that only one of the databases knows. What
they say differently is said here.

Axes in shapes: N rows, D embedding dimension.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64


@runtime_checkable
class Rows(Protocol):
    """The answer to a statement."""

    @property
    def rowcount(self) -> int:
        """Number of rows that the statement changed."""

    def fetchone(self) -> Any:
        """Return the next row, or ``None``."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows that are left."""


@runtime_checkable
class Database(Protocol):
    """A connection to the tables of one archive."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Rows:
        """Run a statement."""

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> Rows:
        """Run a statement once for every row of values."""

    def stream(self, statement: str, values: Sequence[Any] = (), /) -> Iterable[Any]:
        """Yield the rows of a query without holding them all; for use within a transaction."""

    def numbers(
        self, columns: Sequence[str], rest: str, values: Sequence[Any] = (), /
    ) -> tuple[Int64[np.ndarray, " N"], ...]:
        """Return columns of whole numbers, an array each, of ``SELECT columns`` and the rest."""

    def embeddings(
        self, after: int, dim: int, /
    ) -> Iterator[tuple[Int64[np.ndarray, " N"], Float32[np.ndarray, "N D"]]]:
        """Yield items above ``after`` with their embeddings, rising, some thousand at a time.

        Raises:
            ArchiveError: An embedding does not have ``dim`` numbers.
        """

    def one_of(self, numbers: Sequence[int], /) -> tuple[str, Any]:
        """Return the condition that what stands before it is one of these, and its one value."""

    def like_pattern(self, pattern: str, /) -> tuple[str, Any]:
        """Return the condition that what stands before it fits a pattern, and its one value.

        ``*`` stands for any letters, ``?`` for one, and ``[...]`` for one of those in it.
        """

    def add_people(self, columns: str, rows: Sequence[Sequence[Any]], /) -> None:
        """Insert people; the last of the columns is the embedding, as bytes."""

    def highest_item(self) -> int:
        """Return the highest number that was ever given to a person."""

    def go_on_after(self, highest_item: int, /) -> None:
        """Give higher numbers from now on: to people than this, and to scenes than any has."""

    def tables(self) -> Any:
        """Describe the tables as the database holds them, always in the same words."""
