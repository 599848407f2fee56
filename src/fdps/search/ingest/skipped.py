"""``skipped.csv``: every file that is not in the archive, with the reason."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from fdps.durable import write_file
from fdps.search.ingest.frames import Skipped

SKIPPED_FILE = "skipped.csv"


def note_skipped(folder: Path, skipped: Sequence[Skipped], done: Sequence[Path]) -> None:
    """Note these files, and keep what earlier calls noted about others.

    Args:
        folder: Of the archive.
        skipped: Files that were not indexed, or not wholly.
        done: All files that were looked at.
    """
    path = folder / SKIPPED_FILE
    rows: dict[str, str] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    for file_done in done:
        rows.pop(str(file_done), None)
    rows |= {str(file.path): file.reason for file in skipped}
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["file", "reason"])
    writer.writerows(sorted(rows.items()))
    write_file(path, text.getvalue().encode(errors="surrogateescape"))
