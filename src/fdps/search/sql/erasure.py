"""Erase scenes and people from the tables of an archive, and keep the forgotten out.

Whoever is forgotten leaves a mark: the hash of the file, the frame and the box, but nothing of the
person's looks. When the same content is indexed again, a detection that overlaps a mark is passed
over. A file whose content has changed is another file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fdps.boxes import iou
from fdps.search.audit import MOST_NAMED
from fdps.search.database import Database
from fdps.search.seals import digest, seal_scene
from fdps.search.store import SceneRecord
from fdps.structures import Detections

SAME_PLACE = 0.5
"""Least IoU with the box of somebody forgotten at which a detection is taken for that person."""


@dataclass(frozen=True, slots=True)
class Erased:
    """The scenes and people that were erased, as the audit names them.

    Args:
        n_scenes: Number of scenes, erased with all their people.
        n_people: Number of people, those of the scenes included.
        scenes: Names of the first of these scenes.
        items: Numbers of the first of those people who were erased alone.
    """

    n_scenes: int
    n_people: int
    scenes: tuple[str, ...]
    items: tuple[int, ...]


def erase(
    database: Database, scenes: Sequence[str], items: Sequence[int], *, for_good: bool
) -> Erased:
    """Erase scenes with their people, and single people, within a transaction.

    Args:
        database: Database within a transaction.
        scenes: Names of scenes; missing scenes are passed over.
        items: Numbers of people; missing people are passed over.
        for_good: Whether to mark where they were.
    """
    gone_scenes = [name for name in dict.fromkeys(scenes) if _of_scene(database, name)]
    n_of_scenes = sum(_erase_scene(database, name, for_good) for name in gone_scenes)
    gone_items, touched = [], set()
    for item in dict.fromkeys(map(int, items)):
        row = database.execute("SELECT scene_id FROM people WHERE id = ?", (item,)).fetchone()
        if row is None:
            continue
        if for_good:
            _mark(database, "people.id", item)
        database.execute("DELETE FROM people WHERE id = ?", (item,))
        gone_items.append(item)
        touched.add(row[0])
    for scene_id in touched:
        seal_scene(database, scene_id)
    if gone_scenes or gone_items:
        note_removal(database)
    return Erased(
        n_scenes=len(gone_scenes),
        n_people=n_of_scenes + len(gone_items),
        scenes=tuple(gone_scenes[:MOST_NAMED]),
        items=tuple(gone_items[:MOST_NAMED]),
    )


def note_removal(database: Database) -> None:
    """Tell every open index that rows are gone, so that it reads its matrix anew."""
    database.execute(
        "UPDATE meta SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) WHERE key = 'removals'"
    )


def without_forgotten(database: Database, scene: SceneRecord, people: Detections) -> Detections:
    """Return the people of a scene without those who were forgotten there."""
    marks = database.execute(
        "SELECT x1, y1, x2, y2 FROM forgotten WHERE sha256 = ? AND frame = ?",
        (scene.sha256, scene.frame),
    ).fetchall()
    if not marks or not len(people):
        return people
    stays = (iou(people.boxes, np.array(marks, dtype=np.float32)) < SAME_PLACE).all(axis=1)
    return replace(
        people,
        boxes=people.boxes[stays],
        scores=people.scores[stays],
        embeddings=people.embeddings[stays],
    )


def _of_scene(database: Database, name: str) -> int | None:
    row = database.execute("SELECT id FROM scenes WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def _erase_scene(database: Database, name: str, for_good: bool) -> int:
    """Erase a scene and return how many people it had."""
    scene_id = _of_scene(database, name)
    if for_good:
        _mark(database, "people.scene_id", scene_id)
    (n_people,) = database.execute(
        "SELECT count(*) FROM people WHERE scene_id = ?", (scene_id,)
    ).fetchone()
    database.execute(  # a frame of the video is missing now
        "DELETE FROM videos WHERE sha256 = (SELECT sha256 FROM scenes WHERE id = ?)", (scene_id,)
    )
    database.execute("DELETE FROM scenes WHERE id = ?", (scene_id,))
    return int(n_people)


def _mark(database: Database, column: str, value: int | None) -> None:
    places = database.execute(
        "SELECT sha256, frame, x1, y1, x2, y2 FROM people "
        f"JOIN scenes ON scenes.id = people.scene_id WHERE {column} = ?",
        (value,),
    ).fetchall()
    database.executemany(
        "INSERT INTO forgotten (sha256, frame, x1, y1, x2, y2, seal) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(*place, digest(place)) for place in places],
    )
