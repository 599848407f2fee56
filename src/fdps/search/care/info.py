"""Count what is in an archive."""

from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any

from fdps.search.audit import kept_head
from fdps.search.care.retention import Retention, retention_of
from fdps.search.sql.store import SqlStore
from fdps.search.store import IndexInfo


@dataclass(frozen=True, slots=True)
class Contents:
    """The counts that an archive gives beyond those of every store.

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
        contents: Further counts.
    """

    stamp: IndexInfo
    n_people: int
    n_scenes: int
    contents: Contents


def describe(store: SqlStore) -> ArchiveInfo:
    """Count what is in an archive."""
    return ArchiveInfo(store.info, len(store), store.n_scenes, _contents(store))


def nearest_camera(store: SqlStore, name: str) -> str:
    """Find the camera of an archive whose name is most like a given, perhaps mistyped, one.

    Returns:
        The name of the camera; empty where no name is similar.
    """
    with store.reading() as database:
        rows = database.execute(
            "SELECT DISTINCT camera FROM scenes WHERE camera IS NOT NULL ORDER BY camera"
        ).fetchall()
    known = {camera.casefold(): camera for (camera,) in rows}
    alike = get_close_matches(name.casefold(), known, n=1)
    return known[alike[0]] if alike else ""


def _contents(store: SqlStore) -> Contents:
    retention, (n_bytes, n_free_bytes) = retention_of(store), store.size()
    with store.reading() as database:

        def one(statement: str) -> tuple[Any, ...]:
            return tuple(database.execute(statement).fetchone())

        sources: Counter[str] = Counter()
        for path, n_scenes in database.execute("SELECT path, count(*) FROM scenes GROUP BY path"):
            sources[str(PurePath(path).parent)] += n_scenes
        first, last = (
            one(
                "SELECT min(time) FROM scenes "
                f"WHERE instant = (SELECT {which}(instant) FROM scenes)"
            )[0]
            for which in ("min", "max")
        )
        (n_videos,) = one("SELECT count(DISTINCT path) FROM scenes WHERE offset_s IS NOT NULL")
        (n_forgotten,) = one("SELECT count(*) FROM forgotten")
        cameras = database.execute(
            "SELECT coalesce(camera, ''), count(*) FROM scenes GROUP BY 1 ORDER BY 1"
        )
        n_entries, head = kept_head(database)
        return Contents(
            n_videos=n_videos,
            cameras=dict(cameras.fetchall()),
            sources=dict(sorted(sources.items())),
            first=first,
            last=last,
            n_forgotten=n_forgotten,
            n_bytes=n_bytes,
            n_free_bytes=n_free_bytes,
            retention=retention,
            n_entries=n_entries,
            head=head,
        )
