"""Read tables that spreadsheets write: rows by column name, each with its line number."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from fdps.errors import AnnotationError


def read_text(file: Path) -> str:
    """Return the text of a file in UTF-8, without the mark that spreadsheets put in front.

    Raises:
        AnnotationError: The file has another encoding, or a zero byte.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{file} is not UTF-8: {error}", hint="save it with the encoding UTF-8"
        ) from error
    if "\0" in text:
        raise AnnotationError(f"{file} is no text: it has zero bytes", hint="save it as UTF-8")
    return text


def read_rows(
    file: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Return rows with their line numbers; empty lines are skipped.

    Args:
        file: Table with a heading, whose columns may be in any order.
        required: Columns that must be there.
        optional: Columns that may be there.

    Raises:
        AnnotationError: The heading or a row does not fit; the message has file and line.
    """
    reader = csv.reader(io.StringIO(read_text(file), newline=""))
    rows = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(file, header, required, optional)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise AnnotationError(
                    f"{file}, line {reader.line_num}: expected {len(header)} values, "
                    f"got {len(cells)}"
                )
            rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise AnnotationError(f"{file}, line {reader.line_num}: {error}") from error
    return rows


def _check_header(
    file: Path, header: Sequence[str], required: Sequence[str], optional: Sequence[str]
) -> None:
    unknown = [name for name in header if name not in (*required, *optional)]
    missing = [name for name in required if name not in header]
    if missing or unknown or len(set(header)) < len(header):
        may = f" and may be {','.join(optional)}" if optional else ""
        raise AnnotationError(
            f"{file}, line 1: the columns must be {','.join(required)}{may}, got "
            f"{','.join(header)}",
            hint="the first line names the columns; they are separated by commas",
        )


def number(text: str, what: str, where: str) -> float:
    """Read a finite number.

    Raises:
        AnnotationError: The text is not one.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(f"{where}: {what} must be a number, got {text!r}")
    return value


def whole_number(text: str, what: str, where: str) -> int:
    """Read a whole number of at most 64 bits; ``7.0`` is one.

    Raises:
        AnnotationError: The text is not one.
    """
    value = number(text, what, where)
    if not value.is_integer() or abs(value) >= 2**53:
        raise AnnotationError(f"{where}: {what} must be a whole number, got {text!r}")
    return int(value)
