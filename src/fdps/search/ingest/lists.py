"""Read lists of sources: text with one source a line, or a column of a CSV file."""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fdps.errors import DataError
from fdps.names import from_stored, printable

LIST_SUFFIXES = frozenset({".csv", ".txt"})
LIST_MARK = "@"
LIST_COLUMNS = ("file", "path", "image")
COMMENT_MARK = "#"
SKIPPED_COLUMNS = ["file", "reason"]
"""The columns of ``skipped.csv``, in which names are written by :func:`fdps.names.stored`."""

_ENCODINGS = {  # UTF-32 comes first: its mark begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One entry of a list.

    Args:
        text: The text as it stands in the list.
        may_be_comment: Whether it is a line of text that begins with ``#``. It names a file where
            such a file exists, otherwise nothing.
    """

    text: str
    may_be_comment: bool = False

    def spellings(self) -> Iterator[str]:
        """Yield the names that the text may mean, the most literal first.

        Spaces around a name, quotes around it and the escapes of an archive's names are taken
        off only where the text names nothing as it stands.
        """
        bare = self.text.strip()
        unquoted = bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] in "\"'" else bare
        yield from dict.fromkeys([self.text, bare, unquoted, str(from_stored(unquoted))])


def read_list(path: Path) -> list[ListEntry]:
    """Read a list; blank lines are left out.

    Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark. Bytes that are not UTF-8 are taken to
    belong to a name that is not UTF-8 either.

    Args:
        path: A ``.csv`` file with a column ``file``, ``path`` or ``image``, or a text file.

    Raises:
        OSError: The file cannot be read.
        DataError: It is not text, or there is no such column.
    """
    text = _decoded(path)
    if path.suffix.lower() == ".csv":
        return [ListEntry(cell) for cell in _column(path, text) if cell.strip()]
    lines = [line for line in re.split(r"\r\n|\n|\r", text) if line.strip()]
    return [ListEntry(line, line.lstrip().startswith(COMMENT_MARK)) for line in lines]


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    encoding = next((name for mark, name in _ENCODINGS.items() if content.startswith(mark)), "")
    try:
        if encoding:
            text = content.decode(encoding)
        else:
            text = content.decode("utf-8-sig", errors="surrogateescape")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{printable(path)} is not {encoding}: {error.reason}", hint=_AS_UTF8
        ) from error
    if "\0" in text:
        raise DataError(f"{printable(path)} is not text: it holds zero bytes", hint=_AS_UTF8)
    return text


_AS_UTF8 = "save the list as UTF-8"


def _column(path: Path, text: str) -> list[str]:
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""))
        columns = [name or "" for name in rows.fieldnames or ()]
        column = next((name for name in LIST_COLUMNS if name in columns), None)
        if column is None:
            there = ", ".join(map(printable, columns)) or "no columns at all"
            raise DataError(
                f"{printable(path)} has no column of files, it has {there}",
                hint=f"name one of its columns {' or '.join(LIST_COLUMNS)}",
            )
        cells = [row[column] or "" for row in rows]
        return [str(from_stored(cell)) for cell in cells] if columns == SKIPPED_COLUMNS else cells
    except csv.Error as error:
        raise DataError(f"{printable(path)} is not CSV: {error}") from error
