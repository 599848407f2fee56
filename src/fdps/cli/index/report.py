"""Print the report of ``fdps index``."""

import json
from typing import TYPE_CHECKING

from fdps.errors import DataError
from fdps.names import printable, stored

if TYPE_CHECKING:
    from fdps.search import Index, IngestSummary

_SHOWN = 5  # skipped files shown; the others are in skipped.csv


def report(out: str, archive: "Index", summary: "IngestSummary", *, json_output: bool) -> None:
    """Print what became of the files.

    Args:
        out: The archive, as the user named it.
        archive: The open archive.
        summary: Summary of the ingest.
        json_output: Whether to print one object instead of lines.

    Raises:
        DataError: No file could be indexed.
    """
    refuse_unreadable(summary)
    if json_output:
        figures = {
            "archive": out,
            "n_files": summary.n_files,
            "n_added": summary.n_added,
            "n_replaced": summary.n_replaced,
            "n_known": summary.n_known,
            "n_moved": summary.n_moved,
            "n_people_added": summary.n_people,
            "skipped": [
                {"file": stored(file.path), "reason": file.reason} for file in summary.skipped
            ],
            "n_scenes": archive.n_scenes,
            "n_people": len(archive),
        }
        print(json.dumps(figures))
        return
    replaced = f", {summary.n_replaced} of them anew" if summary.n_replaced else ""
    print(f"Added   {summary.n_added} pictures with {summary.n_people} people{replaced}")
    if summary.n_known:
        print(f"Known   {summary.n_known} files were in the archive already")
    if summary.n_moved:
        print(f"Moved   {summary.n_moved} files to where they are now, with their scenes")
    print_skipped(out, archive, summary)
    print(f"Archive {printable(out)}: {len(archive)} people in {archive.n_scenes} pictures")
    print(f"Next    fdps search {printable(out)} --query PICTURE")


def refuse_unreadable(summary: "IngestSummary") -> None:
    """Refuse to go on where no file could be read.

    Raises:
        DataError: No file could be indexed; it names the first of them with the reasons.
    """
    if summary.n_added + summary.n_known + summary.n_moved == 0:
        raise DataError(
            f"none of {summary.n_files} files could be indexed",
            hint="\n".join(
                f"{printable(file.path)}: {printable(file.reason)}"
                for file in summary.skipped[:_SHOWN]
            ),
        )


def print_skipped(out: str, archive: "Index", summary: "IngestSummary") -> None:
    """Print the first files that were skipped, and where the others are listed."""
    for file in summary.skipped[:_SHOWN]:
        print(f"Skipped {printable(file.path)}: {printable(file.reason)}")
    if len(summary.skipped) > _SHOWN:
        rest = f"{out}/skipped.csv names each" if archive.folder else "--json names each"
        print(f"Skipped {len(summary.skipped)} files in all; {rest}")
