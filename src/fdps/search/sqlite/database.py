"""A connection to the SQLite file of an archive, as :class:`fdps.search.database.Database`."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from fdps.search.query import matrix


class SqliteDatabase(sqlite3.Connection):
    """A connection that also knows what SQLite says differently."""

    def stream(self, statement: str, values: Sequence[Any] = (), /) -> Iterable[Any]:
        """Yield the rows of a query; SQLite never holds them all."""
        return self.execute(statement, values)

    def numbers(
        self, columns: Sequence[str], rest: str, values: Sequence[Any] = (), /
    ) -> tuple[Int64[np.ndarray, " N"], ...]:
        """Return columns of whole numbers, an array each."""
        # One text instead of a row each takes half the time where there are many.
        texts = ", ".join(f"group_concat({column})" for column in columns)
        found = self.execute(f"SELECT {texts} {rest}", values).fetchone()
        return tuple(
            np.fromstring(text, dtype=np.int64, sep=",") if text else np.zeros(0, dtype=np.int64)
            for text in found
        )

    def embeddings(
        self, after: int, dim: int, /
    ) -> Iterator[tuple[Int64[np.ndarray, " N"], Float32[np.ndarray, "N D"]]]:
        """Yield items above ``after`` with their embeddings, rising, some at a time."""
        cursor = self.execute("SELECT id, embedding FROM people WHERE id > ? ORDER BY id", (after,))
        n_at_once = max(1, matrix.READ_BYTES // (4 * dim))
        while rows := cursor.fetchmany(n_at_once):
            items, blobs = zip(*rows, strict=True)
            yield np.array(items, dtype=np.int64), matrix.embedding_rows(blobs, dim)

    def one_of(self, numbers: Sequence[int], /) -> tuple[str, str]:
        """Return the condition that what stands before it is one of these, and its value."""
        return "IN (SELECT value FROM json_each(?))", json.dumps(list(numbers))

    def like_pattern(self, pattern: str, /) -> tuple[str, str]:
        """Return the condition that what stands before it fits a pattern, and its value."""
        return "GLOB ?", pattern

    def add_people(self, columns: str, rows: Sequence[Sequence[Any]], /) -> None:
        """Insert people; the last of the columns is the embedding, as bytes."""
        marks = ", ".join("?" * len(columns.split(",")))
        self.executemany(f"INSERT INTO people ({columns}) VALUES ({marks})", rows)

    def highest_item(self) -> int:
        """Return the highest number that was ever given to a person."""
        row = self.execute("SELECT seq FROM sqlite_sequence WHERE name = 'people'").fetchone()
        return int(row[0]) if row else 0

    def go_on_after(self, highest_item: int, /) -> None:
        """Give higher numbers to people from now on; those of scenes follow the highest anyhow."""
        self.execute("DELETE FROM sqlite_sequence WHERE name = 'people'")
        self.execute("INSERT INTO sqlite_sequence VALUES ('people', ?)", (highest_item,))

    def tables(self) -> Any:
        """Return how the tables were created."""
        return self.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
