"""Give free pages of an archive back to the disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fdps.errors import ResourceError
from fdps.search.audit import Note
from fdps.search.sql.store import SqlStore
from fdps.search.sqlite.store import SqliteStore

COPIES = 2.2  # times what the archive holds: one copy aside, one in the log, and a little to spare


@dataclass(frozen=True, slots=True)
class Compaction:
    """Sizes of the archive on disk before and after, in bytes."""

    before: int
    after: int


def compact(store: SqlStore) -> Compaction:
    """Write the tables anew without what was erased; if this is interrupted, nothing has changed.

    Raises:
        ResourceError: There is not enough room on the disk.
        ArchiveError: Another process writes, or the archive is read-only.
    """
    with store.writing():
        before, _ = store.size()
        if isinstance(store, SqliteStore):
            _check_room(store)
            with _temporary_files_in(store.folder):
                store.vacuum()
        else:
            store.vacuum()
        after, _ = store.size()
        store.record(Note("compact", details={"bytes_before": before, "bytes_after": after}))
    return Compaction(before, after)


def _check_room(store: SqliteStore) -> None:
    with store.reading() as database:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    needed = int(COPIES * (pages - free) * size)
    there = shutil.disk_usage(store.folder).free
    if there < needed:
        raise ResourceError(
            f"compacting {store.folder} needs {needed / 1e6:.1f} MB of free disk, "
            f"there are {there / 1e6:.1f} MB; nothing was changed",
            hint="make room; what was removed is erased in any case",
        )


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Let SQLite put its copy in the archive too, rather than in /tmp, because it holds people."""
    before = os.environ.get("SQLITE_TMPDIR")
    os.environ["SQLITE_TMPDIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SQLITE_TMPDIR"]
        else:
            os.environ["SQLITE_TMPDIR"] = before
