"""``skipped.csv``: every file that is not in the archive, with the reason."""

import csv
from collections.abc import Sequence
from pathlib import Path

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
    aside = path.with_name(f"{path.name}.part")
    with aside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "reason"])
        writer.writerows(sorted(rows.items()))
    aside.replace(path)
