"""Patterns mean on a server what they mean in a folder."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake.postgres import PostgresServer
from fdps.search.postgres.patterns import regular_expression

LETTERS = "ab0-_^]/.\\[*?!(){}|+$\n é"


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> Iterator["psycopg.Connection[tuple[bool]]"]:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        yield connection


def fits_both(
    server: "psycopg.Connection[tuple[bool]]", pattern: str, text: str
) -> tuple[bool, bool]:
    with closing(sqlite3.connect(":memory:")) as folder:
        (in_folder,) = folder.execute("SELECT ? GLOB ?", (text, pattern)).fetchone()
    values = (text, regular_expression(pattern))
    row = server.execute("SELECT CAST(%s AS text) ~ %s", values).fetchone()
    assert row
    return bool(in_folder), row[0]


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "a\nb", True),
        ("a?c", "a\nc", True),
        ("[]a]*", "]x", True),
        ("[^]a]", "b", True),
        ("[a-", "a", False),  # a set that is not closed fits nothing
        ("[c-a]", "b", False),
        ("[a-]", "-", True),
        ("*.jpg", "x.jpg\n", False),
        ("\\d", "\\d", True),
        ("A*", "abc", False),
    ],
)
def test_corners(
    server: "psycopg.Connection[tuple[bool]]", pattern: str, text: str, fits: bool
) -> None:
    assert fits_both(server, pattern, text) == (fits, fits)


@given(pattern=st.text(LETTERS, max_size=8), text=st.text(LETTERS, max_size=6))
def test_random_patterns(
    server: "psycopg.Connection[tuple[bool]]", pattern: str, text: str
) -> None:
    in_folder, on_server = fits_both(server, pattern, text)
    assert in_folder == on_server
