"""The files that an archive has skipped: shown with their reasons, and listed to be tried again."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fdps.durable import write_file
from fdps.errors import ResourceError
from fdps.names import from_stored, printable, stored
from fdps.search.ingest.lists import SKIPPED_COLUMNS
from fdps.search.ingest.skipped import SKIPPED_FILE
from fdps.serve.jobs.roots import Roots

RETRY_FILE = "retry.csv"


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that is not in the archive, or not wholly.

    Args:
        file: Its name as clients may see it: below its root, or without its folder.
        reason: Why it was skipped.
        may_retry: Whether it is below a root, so that clients may index it.
        path: Where it is on this machine; no client learns of it.
    """

    file: str
    reason: str
    may_retry: bool
    path: Path


def skipped_files(archive: Path, roots: Roots) -> list[SkippedFile]:
    """List the files that an archive has skipped, in the order of their paths.

    Args:
        archive: Folder of the archive.
        roots: The folders that may be indexed.
    """
    return list(_skipped(archive, roots))


def written_list(archive: Path, roots: Roots) -> Path | None:
    """Write a list of the skipped files that clients may index, as ``fdps index`` takes it.

    Returns:
        The list, in the folder of the archive; ``None`` where there is no such file.

    Raises:
        ResourceError: It cannot be written.
    """
    chosen = [one for one in _skipped(archive, roots) if one.may_retry]
    if not chosen:
        return None
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(SKIPPED_COLUMNS)
    writer.writerows((stored(one.path), one.reason) for one in chosen)
    path = archive / RETRY_FILE
    try:
        write_file(path, text.getvalue().encode())
    except OSError as error:
        raise ResourceError(f"cannot write {RETRY_FILE}: {error.strerror}") from error
    return path


def _skipped(archive: Path, roots: Roots) -> Iterator[SkippedFile]:
    try:
        text = (archive / SKIPPED_FILE).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return
    for row in csv.DictReader(io.StringIO(text, newline="")):
        path = from_stored(row.get("file") or "")
        shown = roots.shown(path)
        reason = roots.hide(printable(row.get("reason") or ""))
        yield SkippedFile(shown or printable(path.name), reason, shown is not None, path)
