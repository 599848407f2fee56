"""Write ``skipped.csv``: every file that is not in the archive, with the reason."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from fdps.durable import write_file
from fdps.errors import ResourceError
from fdps.names import from_stored, printable, stored
from fdps.search.ingest.frames import Skipped
from fdps.search.ingest.lists import SKIPPED_COLUMNS

SKIPPED_FILE = "skipped.csv"


def note_skipped(folder: Path, skipped: Sequence[Skipped], done: Sequence[Path]) -> None:
    """Note these files, and keep what earlier calls noted about others.

    Names are written by :func:`fdps.names.stored`, each on a line of its own and in UTF-8; a list
    of sources reads them back.

    Args:
        folder: Folder of the archive.
        skipped: Files that were not indexed, or not wholly.
        done: All files that were looked at.

    Raises:
        ResourceError: The file cannot be written; the one before it stays.
    """
    path = folder / SKIPPED_FILE
    rows = _noted(path)
    for file_done in done:
        rows.pop(stored(file_done), None)
    rows |= {stored(file.path): printable(file.reason) for file in skipped}
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(SKIPPED_COLUMNS)
    writer.writerows(sorted(rows.items()))
    try:
        write_file(path, text.getvalue().encode())
    except OSError as error:
        raise ResourceError(f"cannot write {printable(path)}: {error.strerror}") from error


def _noted(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {
            stored(from_stored(row["file"])): printable(row.get("reason") or "")
            for row in csv.DictReader(file)
            if row.get("file")
        }
