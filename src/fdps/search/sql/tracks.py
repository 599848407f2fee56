"""The tracks of videos in the database of an archive: link, keep and read them.

Axes in shapes: N people.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import groupby
from operator import itemgetter

import numpy as np
from jaxtyping import Bool, Int64

from fdps.search.database import Database
from fdps.search.query.matrix import EmbeddingMatrix, embedding_rows
from fdps.search.query.pooling import FoundRows, Groups
from fdps.search.query.tracklets import PeopleOfFrame, link_people
from fdps.search.store import Appearance, Filters, SceneRecord
from fdps.structures import Hit

_OF_VIDEO = "people JOIN scenes ON scenes.id = people.scene_id WHERE scenes.sha256 = ?"
_SCENE = ", ".join(f"scenes.{field.name}" for field in fields(SceneRecord))


def link_video(database: Database, sha256: str, dim: int) -> None:
    """Link the people of a video anew, from all frames of it that are in the archive.

    The same people give the same tracks, however often and in whatever order they were added.

    Args:
        database: Database within a write transaction.
        sha256: SHA-256 of the video.
        dim: Length of an embedding.

    Raises:
        ArchiveError: An embedding does not have ``dim`` numbers.
    """
    members: dict[int, list[int]] = {}
    items = _Items()
    for numbers in link_people(lambda: items.frames(database, sha256, dim)):
        for number, item in zip(numbers.tolist(), items.latest, strict=True):
            members.setdefault(number, []).append(item)
    tracks = {item: min(group) for group in members.values() for item in group if len(group) > 1}
    before = dict(
        database.execute(
            f"SELECT item, track FROM tracks WHERE item IN (SELECT people.id FROM {_OF_VIDEO})",
            (sha256,),
        )
    )
    if tracks != before:
        database.executemany("DELETE FROM tracks WHERE item = ?", [(item,) for item in before])
        database.executemany("INSERT INTO tracks VALUES (?, ?)", sorted(tracks.items()))
        database.execute(
            "INSERT INTO meta VALUES ('links', '1') "
            "ON CONFLICT (key) DO UPDATE "
            "SET value = CAST(CAST(meta.value AS INTEGER) + 1 AS TEXT)"
        )


class _Items:
    """Reads the people of a video, and remembers the items of the frame read last."""

    def __init__(self) -> None:
        self.latest: list[int] = []

    def frames(self, database: Database, sha256: str, dim: int) -> Iterator[PeopleOfFrame]:
        """Yield frame after frame; frames without people are left out."""
        rows = database.execute(
            f"SELECT frame, offset_s, people.id, x1, y1, x2, y2, embedding FROM {_OF_VIDEO} "
            "ORDER BY frame, people.id",
            (sha256,),
        )
        for _, people in groupby(rows, key=itemgetter(0)):
            _, times, items, x1, y1, x2, y2, blobs = zip(*people, strict=True)
            self.latest = list(items)
            yield PeopleOfFrame(
                time_s=times[0] or 0.0,
                boxes=np.array([x1, y1, x2, y2], dtype=np.float32).T,
                embeddings=embedding_rows(blobs, dim),
            )


def items_of_track(database: Database, item: int) -> list[int]:
    """Return everybody on the track of a person, in order of time; nobody without a track."""
    rows = database.execute(
        "SELECT item FROM tracks JOIN people ON people.id = item "
        "JOIN scenes ON scenes.id = people.scene_id "
        "WHERE track = (SELECT track FROM tracks WHERE item = ?) ORDER BY scenes.frame, item",
        (item,),
    )
    return [member for (member,) in rows]


class TrackGroups:
    """The people of each appearance by the last filter; read again when videos are linked anew."""

    def __init__(self) -> None:
        self._n_links = -1
        self._labels: Int64[np.ndarray, " N"] | None = None
        self._last: tuple[Filters, Groups] | None = None

    def forget(self) -> None:
        """Forget who was read, because people were added or removed."""
        self._labels = self._last = None

    def groups(
        self,
        database: Database,
        matrix: EmbeddingMatrix,
        filters: Filters,
        allowed: Callable[[Filters], Bool[np.ndarray, " N"] | None],
    ) -> Groups:
        """Return the groups of the people who pass a filter.

        Args:
            database: Database within a read transaction.
            matrix: Embeddings of the same state of the archive.
            filters: Conditions on the people to look at.
            allowed: Function that tells which people pass.
        """
        row = database.execute("SELECT value FROM meta WHERE key = 'links'").fetchone()
        n_links = int(row[0]) if row else 0
        if self._labels is None or n_links != self._n_links:
            self._labels, self._last = track_labels(database, matrix.items), None
            self._n_links = n_links
        if self._last is None or self._last[0] != filters:
            self._last = (filters, Groups(matrix.blocks, self._labels, allowed(filters)))
        return self._last[1]


def track_labels(database: Database, items: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
    """Return the track of everybody; whoever is alone is a track of their own, named by their item.

    Args:
        database: Database within a read transaction.
        items: Items of everybody, rising.
    """
    labels = items.copy()
    members, tracks = database.numbers(("item", "track"), "FROM tracks")
    labels[np.searchsorted(items, members)] = tracks
    return labels


def appearance(database: Database, found: FoundRows, items: Int64[np.ndarray, " N"]) -> Appearance:
    """Read the scenes and people of an appearance.

    Args:
        database: Database within a read transaction.
        found: Rows of the members of the appearance.
        items: Items of everybody.
    """
    members = items[found.rows].tolist()
    among, value = database.one_of(members)
    in_order = database.execute(
        "SELECT people.id, scenes.id FROM people JOIN scenes ON scenes.id = people.scene_id "
        f"WHERE people.id {among} ORDER BY scenes.frame, people.id",
        (value,),
    ).fetchall()
    first, last = (_scene(database, in_order[place][1]) for place in (0, -1))
    best = int(np.argmax(found.similarities))  # the lowest item of equals
    name, *box, score = database.execute(
        "SELECT name, x1, y1, x2, y2, score FROM people JOIN scenes ON scenes.id = people.scene_id "
        "WHERE people.id = ?",
        (members[best],),
    ).fetchone()
    hit = Hit(
        scene=name,
        box=np.array(box, dtype=np.float32),
        similarity=float(found.similarities[best]),
        score=score,
        item=members[best],
    )
    return Appearance(found.similarity, hit, tuple(item for item, _ in in_order), first, last)


def _scene(database: Database, scene_id: int) -> SceneRecord:
    row = database.execute(f"SELECT {_SCENE} FROM scenes WHERE id = ?", (scene_id,)).fetchone()
    return SceneRecord(*row)
