"""Find people again by their place: after indexing anew everybody has another number.

Axes in shapes: N places, M people.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32

from fdps.boxes import iou
from fdps.search.sql.erasure import SAME_PLACE
from fdps.search.store import ArchivedPerson, SceneRecord, Store
from fdps.serve.cases.case import Place


def assigned(
    places: Float32[np.ndarray, "N 4"], people: Float32[np.ndarray, "M 4"]
) -> list[int | None]:
    """Assign people to places in one frame, the best overlap first; nobody is assigned twice.

    Args:
        places: Boxes that were noted.
        people: Boxes of the people who are there.

    Returns:
        For each place the row in ``people``, or ``None`` where nobody overlaps it by half.

    Example:
        >>> boxes = np.array([[0, 0, 10, 20], [8, 0, 18, 20]], dtype=np.float32)
        >>> assigned(boxes, boxes[1:] + 1)
        [None, 0]
    """
    found: list[int | None] = [None] * len(places)
    if not len(places) or not len(people):
        return found
    overlap = iou(places, people)
    while True:
        row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
        if overlap[row, column] < SAME_PLACE:
            return found
        found[row] = int(column)
        overlap[row, :] = overlap[:, column] = -1


def boxes_of(places: Iterable[Place]) -> Float32[np.ndarray, "N 4"]:
    """Return the boxes of places, one row each."""
    return np.array([place.box for place in places], dtype=np.float32).reshape(-1, 4)


def boxes_of_people(people: Iterable[ArchivedPerson]) -> Float32[np.ndarray, "M 4"]:
    """Return the boxes of people, one row each."""
    return np.array([person.box for person in people], dtype=np.float32).reshape(-1, 4)


def place_of(scene: SceneRecord, person: ArchivedPerson) -> Place:
    """Return the place of a person in an archive."""
    x1, y1, x2, y2 = person.box.tolist()
    return Place(scene.sha256, scene.frame, (x1, y1, x2, y2))


def places_of(store: Store, items: Iterable[int]) -> dict[int, Place]:
    """Return the places of people by their numbers; people who are not there are left out."""
    found = {}
    for person in store.people(list(items)):
        scene = store.find(name=person.scene)
        if scene:
            found[person.item] = place_of(scene, person)
    return found


def people_at(
    store: Store, places: Iterable[Place]
) -> dict[Place, tuple[SceneRecord, ArchivedPerson]]:
    """Find who is at places at present.

    Args:
        store: The archive.
        places: Places, in any number of files.

    Returns:
        The scene and the person for each place where somebody is.
    """
    files: dict[str, dict[int, list[Place]]] = defaultdict(lambda: defaultdict(list))
    for place in dict.fromkeys(places):
        files[place.sha256][place.frame].append(place)
    found = {}
    for sha256, frames in files.items():
        for scene in store.find_all(sha256=sha256):
            noted = frames.get(scene.frame, [])
            people = store.people_in(scene.name) if noted else []
            rows = assigned(boxes_of(noted), boxes_of_people(people))
            for place, row in zip(noted, rows, strict=True):
                if row is not None:
                    found[place] = (scene, people[row])
    return found
