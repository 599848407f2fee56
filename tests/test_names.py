"""Names that are no UTF-8, and names that no terminal should see as they are."""

import os
import sys
from pathlib import Path

import pytest

from fdps.names import from_stored, printable, stored

LATIN = os.fsdecode(b"caf\xe9.jpg")


@pytest.mark.parametrize(
    "name", ["a.jpg", "größe/日本.png", "C:\\photos\\x.jpg", "\\n", "\\x41", "\\u1234", ""]
)
def test_a_name_that_every_writer_takes_is_stored_as_it_is(name: str) -> None:
    assert stored(name) == name


@pytest.mark.parametrize(
    ("name", "text"),
    [("a\nb", r"a\x0ab"), ("\x1b[31m", r"\x1b[31m"), ("\x85", r"\u0085"), ("\u202e", r"\u202e")],
)
def test_a_stored_name_stays_on_its_line(name: str, text: str) -> None:
    assert stored(name) == text
    assert str(from_stored(text)) == name


def test_a_byte_that_is_not_utf8_is_stored_as_an_escape() -> None:
    assert stored(LATIN) == r"caf\xe9.jpg"
    assert from_stored(r"caf\xe9.jpg") == Path(LATIN)


@pytest.mark.parametrize(
    "name",
    [
        LATIN,
        r"caf\xe9.jpg",  # these very characters, on disk
        r"\x5c",
        r"\x5cxe9",
        "\\" + LATIN,
        "\\\\xe9",
        "\\\udcff\\xff",
        "\\x\udce9",
        "\ud800.jpg",  # Windows
        r"\ud800.jpg",
        "\x85\udc85",
        "\n\\x0a",
        "\u2028\ufeff\u061c",
    ],
)
def test_every_name_comes_back(name: str) -> None:
    stored(name).encode("utf-8")
    assert str(from_stored(stored(name))) == name


@pytest.mark.long
def test_no_two_names_are_stored_alike() -> None:
    parts = ["\\", "x", "e9", "5c", "0a", "\udce9", "\n", "u", "d8", "00"]
    names = {
        a + b + c + d + e for a in parts for b in parts for c in parts for d in parts for e in parts
    }
    assert len({stored(name) for name in names}) == len(names)
    assert all(str(from_stored(stored(name))) == name for name in names)


@pytest.mark.skipif(sys.platform == "darwin", reason="APFS takes UTF-8 only")
def test_the_file_opens_by_what_was_stored(tmp_path: Path) -> None:
    (tmp_path / LATIN).write_bytes(b"here")
    text = stored(next(tmp_path.iterdir())).encode("utf-8").decode("utf-8")
    assert from_stored(text).read_bytes() == b"here"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg", "a.jpg"),
        ("größe 日本 👩‍👧 עברית", "größe 日本 👩‍👧 עברית"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines\r\tand a tab", r"two\nlines\r\tand a tab"),
        ("a\x85b\x9bc\x7f", r"a\x85b\x9bc\x7f"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\u2066a\u2069\u200f\u2028\ufeff", r"\u2066a\u2069\u200f\u2028\ufeff"),
        (LATIN, r"caf\xe9.jpg"),
        ("\ud800", r"\ud800"),
        (Path("a\nb"), r"a\nb"),
        (7, "7"),
    ],
)
def test_what_is_printed_stays_on_its_line(text: object, expected: str) -> None:
    assert printable(text) == expected
    assert len(printable(text).splitlines()) == 1
    printable(text).encode("utf-8")
