"""Forget a person: who is meant, where the original files are, and the erasure itself."""

import csv
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdps.durable import write_file
from fdps.errors import DataError, MissingDataError
from fdps.names import printable, shortened
from fdps.search.audit import Note
from fdps.search.sql.store import SqlStore
from fdps.search.store import Store
from fdps.structures import Hit

log = logging.getLogger(__name__)

_LIST_HINT = "it needs a first line with the column item, and a number in every line below"
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class ToForget:
    """A person in an archive who may be forgotten.

    Args:
        item: Number of the person.
        scene: Name of the scene.
        box: Corners of the box, in pixels of the scene.
        similarity: Similarity to the person asked for; ``None`` if the item was named.
    """

    item: int
    scene: str
    box: tuple[float, ...]
    similarity: float | None = None


def candidates_of_hits(hits: Iterable[Hit]) -> list[ToForget]:
    """Return the people that a search found."""
    return [ToForget(hit.item, hit.scene, tuple(hit.box.tolist()), hit.similarity) for hit in hits]


def candidates_of_items(store: Store, items: Sequence[int]) -> list[ToForget]:
    """Find the people with these numbers; a warning names the numbers that are not there.

    Raises:
        MissingDataError: Nobody has any of these numbers.
    """
    wanted = list(dict.fromkeys(items))
    found = store.people(wanted)
    if not found:
        raise MissingDataError(
            f"none of the {len(wanted)} items is in the archive",
            hint="items are the numbers that fdps search --json shows",
        )
    absent = sorted({*wanted} - {one.item for one in found})
    if absent:
        log.warning(
            "%d of %d items are not in the archive: %s",
            len(absent),
            len(wanted),
            shortened(absent, most=_MOST_NAMED),
        )
    return [ToForget(one.item, one.scene, tuple(one.box.tolist())) for one in found]


def read_items(path: Path) -> list[int]:
    """Read the column ``item`` of a CSV file; a warning names the lines that repeat a number.

    Args:
        path: UTF-8 file, with or without a byte order mark and with the line ends of any system.
            Empty lines and other columns are passed over.

    Returns:
        The numbers in the order of the file, each once.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is not text, has no such column, holds no number, or has a line that
            holds something else. The message names the line.
    """
    lines: dict[int, int] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "item" not in (rows.fieldnames or ()):
                first = ",".join(rows.fieldnames or ())
                raise DataError(
                    f"{path}, line 1: expected a column item, got {printable(first)[:80]!r}",
                    hint=_LIST_HINT,
                )
            for row in rows:
                item = _item(row["item"], f"{path}, line {rows.line_num}")
                if item in lines:
                    log.warning(
                        "%s, line %d: item %d stands already in line %d",
                        path,
                        rows.line_num,
                        item,
                        lines[item],
                    )
                lines.setdefault(item, rows.line_num)
    except FileNotFoundError as error:
        raise MissingDataError(f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file: {error}", hint=_LIST_HINT) from error
    if not lines:
        raise DataError(f"{path} names nobody: no item stands below its first line")
    return list(lines)


def _item(text: str | None, where: str) -> int:
    """Return the number of the person in a line of a list."""
    number = (text or "").strip()
    if not (number.isascii() and number.isdecimal() and 0 < int(number) < 2**63):
        raise DataError(
            f"{where}: expected the number of a person as item, got {printable(number)[:80]!r}",
            hint=_LIST_HINT,
        )
    return int(number)


def forget(store: SqlStore, items: Sequence[int], *, reason: str = "", user: str = "") -> int:
    """Erase people for good; the pictures and videos themselves are never touched.

    They leave no trace of their looks in any file of the archive, and indexing the same files again
    passes over them.

    Args:
        store: The archive.
        items: Numbers of people.
        reason: The reason, noted in the audit.
        user: Who asked for it, where that is not the user of the operating system.

    Returns:
        The number of people erased.

    Raises:
        ArchiveError: Another process writes, or the archive is read-only.
    """
    note = Note("forget", reason, {"user": user} if user else None)
    return store.remove(items=items, note=note, for_good=True)


def write_candidates(store: Store, candidates: Sequence[ToForget], folder: Path) -> int:
    """Write two lists while the archive still knows where these people are.

    ``people.csv`` names the people; shortened by hand it says who is to be forgotten.
    ``originals.csv`` names the files that show them.

    Returns:
        The number of files named in ``originals.csv``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    people: list[tuple[object, ...]] = [("item", "scene", "similarity", "x1", "y1", "x2", "y2")]
    files: dict[str, list[tuple[object, ...]]] = {}
    for one in candidates:
        people.append((one.item, one.scene, one.similarity, *one.box))
        scene = store.find(name=one.scene)
        if scene:
            moment = (one.item, scene.name, scene.frame, scene.offset_s, scene.time)
            files.setdefault(scene.path, []).append((scene.path, *moment))
    originals: list[tuple[object, ...]] = [("file", "item", "scene", "frame", "offset_s", "time")]
    for rows in files.values():
        originals += rows
    for name, lines in (("people.csv", people), ("originals.csv", originals)):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)
        write_file(folder / name, text.getvalue().encode(errors="surrogateescape"))
    return len(files)
