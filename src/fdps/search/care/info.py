"""Count what is in an archive."""

from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

from fdps.search.audit import kept_head
from fdps.search.care.compaction import size_on_disk
from fdps.search.care.retention import Retention, retention_of
from fdps.search.sqlite.store import SqliteStore
from fdps.search.store import IndexInfo, Store


@dataclass(frozen=True, slots=True)
class Contents:
    """The counts that an archive in a folder gives beyond those of every store.

    Args:
        n_videos: Number of files whose frames are scenes.
        cameras: Number of scenes of each camera; the empty name stands for unknown.
        sources: Number of scenes of each folder of files.
        first: Time of the earliest scene, ISO 8601, where one is known.
        last: Time of the latest scene, ISO 8601, where one is known.
        n_forgotten: Number of places where somebody was forgotten.
        n_bytes: Size on disk, in bytes.
        n_free_bytes: Those of ``n_bytes`` that compacting gives back.
        retention: The retention policy, if there is one.
        n_entries: Number of entries in the audit.
        head: Newest hash of the audit.
    """

    n_videos: int
    cameras: dict[str, int]
    sources: dict[str, int]
    first: str | None
    last: str | None
    n_forgotten: int
    n_bytes: int
    n_free_bytes: int
    retention: Retention | None
    n_entries: int
    head: str


@dataclass(frozen=True, slots=True)
class ArchiveInfo:
    """The content of an archive, counted.

    Args:
        stamp: The model, the dimension, and when the archive was created.
        n_people: Number of people in all scenes.
        n_scenes: Number of pictures and frames.
        contents: Further counts, where the archive is a folder.
    """

    stamp: IndexInfo
    n_people: int
    n_scenes: int
    contents: Contents | None


def describe(store: Store) -> ArchiveInfo:
    """Count what is in an archive."""
    contents = None
    if isinstance(store, SqliteStore) and store.folder:
        contents = _contents(store, store.folder)
    return ArchiveInfo(store.info, len(store), store.n_scenes, contents)


def nearest_camera(store: Store, name: str) -> str:
    """Find the camera of an archive whose name is most like a given, perhaps mistyped, one.

    Returns:
        The name of the camera; empty where no name is similar, or where the archive is on a server,
        which cannot list its cameras without reading all scenes.
    """
    if not isinstance(store, SqliteStore):
        return ""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT DISTINCT camera FROM scenes WHERE camera IS NOT NULL ORDER BY camera"
        ).fetchall()
    known = {camera.casefold(): camera for (camera,) in rows}
    alike = get_close_matches(name.casefold(), known, n=1)
    return known[alike[0]] if alike else ""


def _contents(store: SqliteStore, folder: Path) -> Contents:
    retention = retention_of(store)
    with store.reading() as connection:

        def one(statement: str) -> tuple[Any, ...]:
            return tuple(connection.execute(statement).fetchone())

        sources: Counter[str] = Counter()
        for path, n_scenes in connection.execute("SELECT path, count(*) FROM scenes GROUP BY path"):
            sources[str(PurePath(path).parent)] += n_scenes
        # One row each: SQLite takes the other columns from the row of the minimum or maximum.
        first, _ = one("SELECT time, min(instant) FROM scenes WHERE instant IS NOT NULL")
        last, _ = one("SELECT time, max(instant) FROM scenes WHERE instant IS NOT NULL")
        (n_videos,) = one("SELECT count(DISTINCT path) FROM scenes WHERE offset_s IS NOT NULL")
        (n_forgotten,) = one("SELECT count(*) FROM forgotten")
        cameras = connection.execute(
            "SELECT coalesce(camera, ''), count(*) FROM scenes GROUP BY 1 ORDER BY 1"
        )
        (free,), (size,) = one("PRAGMA freelist_count"), one("PRAGMA page_size")
        n_entries, head = kept_head(connection)
        return Contents(
            n_videos=n_videos,
            cameras=dict(cameras.fetchall()),
            sources=dict(sorted(sources.items())),
            first=first,
            last=last,
            n_forgotten=n_forgotten,
            n_bytes=size_on_disk(folder),
            n_free_bytes=free * size,
            retention=retention,
            n_entries=n_entries,
            head=head,
        )
