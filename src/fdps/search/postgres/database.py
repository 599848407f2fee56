"""A connection to an archive on PostgreSQL, as :class:`fdps.search.database.Database`.

Axes in shapes: N rows, D embedding dimension.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import psycopg
from jaxtyping import Float32, Int64
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo

from fdps.search.postgres.patterns import regular_expression

READ_BYTES = 2**22  # of embeddings in one part
ROWS_AT_ONCE = 2000  # of a query that is not held whole
_COPY_HEADER = 19  # bytes before the first row of a binary copy
_VECTOR_HEAD = 4  # bytes before the numbers of a vector


class PostgresDatabase:
    """A connection that speaks as the shared statements do.

    Args:
        connection: Open connection, in autocommit mode, whose search path begins with the archive.
        archive: Name of the schema of the archive.
    """

    def __init__(self, connection: "psycopg.Connection[Any]", archive: str) -> None:
        self.connection, self.archive = connection, archive
        self.learn_vectors()

    def learn_vectors(self) -> None:
        """Let embeddings be read as in SQLite: the bytes of float32 numbers, little-endian."""
        known = TypeInfo.fetch(self.connection, "vector")
        if known:
            self.connection.adapters.register_loader(known.oid, _EmbeddingLoader)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> "psycopg.Cursor[Any]":
        """Run a statement."""
        return self.connection.execute(_translated(statement), values, binary=True)

    def executemany(
        self, statement: str, rows: Iterable[Sequence[Any]], /
    ) -> "psycopg.Cursor[Any]":
        """Run a statement once for every row of values."""
        cursor = self.connection.cursor()
        cursor.executemany(_translated(statement), list(rows))
        return cursor

    def stream(self, statement: str, values: Sequence[Any] = (), /) -> Iterator[Any]:
        """Yield the rows of a query without holding them all; for use within a transaction."""
        with self.connection.cursor(name="fdps", binary=True) as cursor:
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(_translated(statement), values)
            yield from cursor

    def numbers(
        self, columns: Sequence[str], rest: str, values: Sequence[Any] = (), /
    ) -> tuple[Int64[np.ndarray, " N"], ...]:
        """Return columns of whole numbers, an array each."""
        arrays = ", ".join(f"array_agg({column})" for column in columns)
        found = self.execute(f"SELECT {arrays} {rest}", values).fetchone()
        assert found is not None
        return tuple(np.array(column or [], dtype=np.int64) for column in found)

    def embeddings(
        self, after: int, dim: int, /
    ) -> Iterator[tuple[Int64[np.ndarray, " N"], Float32[np.ndarray, "N D"]]]:
        """Yield items above ``after`` with their embeddings, rising, some thousand at a time.

        A binary copy has rows of one length, which are an array as they are.
        """
        row = np.dtype(
            [
                ("head", "V6"),  # number of fields, length of the first
                ("item", ">i8"),
                ("head_of_embedding", f"V{4 + _VECTOR_HEAD}"),
                ("embedding", ">f4", (dim,)),
            ]
        )
        statement = (
            "COPY (SELECT id, embedding FROM people WHERE id > %s ORDER BY id) "
            "TO STDOUT (FORMAT binary)"
        )
        with self.connection.cursor() as cursor, cursor.copy(statement, (after,)) as copy:
            waiting, n_to_skip = bytearray(), _COPY_HEADER
            for data in copy:
                waiting += data
                if len(waiting) >= READ_BYTES + _COPY_HEADER:
                    n_rows = (len(waiting) - n_to_skip) // row.itemsize
                    yield _read(waiting, row, n_to_skip, n_rows)
                    waiting = waiting[n_to_skip + n_rows * row.itemsize :]
                    n_to_skip = 0
            n_rows = (len(waiting) - n_to_skip) // row.itemsize  # the two bytes at the end are none
            if n_rows:
                yield _read(waiting, row, n_to_skip, n_rows)

    def add_people(self, columns: str, rows: Sequence[Sequence[Any]], /) -> None:
        """Insert people; the last of the columns is the embedding, as bytes."""
        if not rows:
            return
        head = np.array([len(rows[0][-1]) // 4, 0], dtype=">i2").tobytes()
        types = {"id": "int8", "scene_id": "int8", "embedding": "bytea"}
        statement = f"COPY people ({columns}) FROM STDIN (FORMAT binary)"
        with self.connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types([types.get(name, "float8") for name in columns.split(", ")])
            for *values, embedding in rows:
                numbers = np.frombuffer(embedding, dtype="<f4").astype(">f4")
                copy.write_row((*values, head + numbers.tobytes()))

    def highest_item(self) -> int:
        """Return the highest number that was ever given to a person."""
        row = self.execute(
            "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM people_id_seq"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def go_on_after(self, highest_item: int, /) -> None:
        """Give higher numbers from now on: to people than this, and to others than any has."""
        for table, highest in (
            ("people", highest_item),
            ("scenes", "SELECT max(id) FROM scenes"),
            ("forgotten", "SELECT max(id) FROM forgotten"),
        ):
            self.execute(f"SELECT setval('{table}_id_seq', coalesce(({highest}), 0) + 1, false)")

    def one_of(self, numbers: Sequence[int], /) -> tuple[str, list[int]]:
        """Return the condition that what stands before it is one of these, and its value."""
        return "= ANY(CAST(? AS bigint[]))", list(numbers)

    def like_pattern(self, pattern: str, /) -> tuple[str, str]:
        """Return the condition that what stands before it fits a pattern, and its value."""
        return "~ ?", regular_expression(pattern)

    def tables(self) -> Any:
        """Return the columns of all tables and their constraints."""
        columns = self.execute(
            "SELECT CAST(table_name AS text), CAST(column_name AS text), CAST(udt_name AS text), "
            "CAST(is_nullable AS text) FROM information_schema.columns WHERE table_schema = ? "
            "ORDER BY table_name, ordinal_position",
            (self.archive,),
        ).fetchall()
        constraints = self.execute(
            "SELECT CAST(conname AS text), pg_get_constraintdef(pg_constraint.oid) "
            "FROM pg_constraint WHERE connamespace = CAST(CAST(? AS text) AS regnamespace) "
            "AND contype <> 'n' ORDER BY conname",  # some versions list NOT NULL here as well
            (self.archive,),
        ).fetchall()
        return columns, constraints

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


class _EmbeddingLoader(Loader):
    """Reads a vector as SQLite keeps it."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return np.frombuffer(data, dtype=">f4", offset=_VECTOR_HEAD).astype("<f4").tobytes()


@lru_cache(maxsize=512)
def _translated(statement: str) -> bytes:
    """Write the marks of values as psycopg wants them."""
    return statement.replace("%", "%%").replace("?", "%s").encode()


def _read(
    data: bytearray, row: np.dtype, start: int, n_rows: int
) -> tuple[Int64[np.ndarray, " N"], Float32[np.ndarray, "N D"]]:
    rows = np.frombuffer(bytes(data), dtype=row, count=n_rows, offset=start)
    return rows["item"].astype(np.int64), rows["embedding"].astype(np.float32)
