"""Read lists of training identities and of queries, in the ``.mat`` structures of CUHK-SYSU."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fdps.data.findings import Findings
from fdps.data.parsing.mat import read_variable
from fdps.data.readers.psdb import (
    PERSON,
    QUERY,
    SEARCH,
    SIGHTING,
    People,
    Search,
    image_name,
    records,
    text,
    xywh,
)
from fdps.errors import AnnotationError

Number = Callable[[int, np.ndarray | None, str], int]
"""A function that gives the identity of a row from its position, its ``idname`` and its place."""

_ID = re.compile(r"\D*(\d{1,15})", re.ASCII)


def number_in_name(position: int, name: np.ndarray | None, where: str) -> int:
    """Return the number in a name of CUHK-SYSU: ``p123`` is 123.

    Raises:
        AnnotationError: The name has no number at its end.
    """
    found = _ID.fullmatch(text(name, where))
    if found is None:
        raise AnnotationError(f"{where}: identity {text(name, where)!r} is not named like 'p123'")
    return int(found[1])


def position_in_list(position: int, name: np.ndarray | None, where: str) -> int:
    """Return the position in a list of MovieNet-PS, which names people by film and cast."""
    return position


def identify_training(
    path: Path, people: People, number: Number, findings: Findings, hint: str
) -> dict[int, list[str]]:
    """Give the training identities to their boxes.

    Args:
        path: Path of ``Train.mat`` or a file of its kind.
        people: The boxes that get the identities.
        number: Function that makes the identity of a row.
        findings: Collects faults and misses.
        hint: Advice for a missing file: what the data set should look like.

    Returns:
        The images of each identity.

    Raises:
        MissingDataError: There is no such file.
        AnnotationError: The file is not such a file, or a row is malformed.
    """
    images: dict[int, list[str]] = {}
    value = read_variable(path, ("Train",), hint=hint)
    for position, (name, _, sightings) in enumerate(records(value, PERSON, str(path))):
        with findings.tolerated():
            where = f"{path}, identity {position + 1}"
            person_id = number(position, name, where)
            if person_id in images:
                raise AnnotationError(f"{where}: {person_id} is listed twice")
            images[person_id] = []
            for image, box in _sightings(sightings, where):
                images[person_id].append(image)
                if box is not None:
                    people.identify(image, box, person_id, where)
    return images


def _sightings(value: np.ndarray | None, where: str) -> Iterator[tuple[str, np.ndarray | None]]:
    for number, (name, box, _) in enumerate(records(_given(value, where), SIGHTING, where), 1):
        row = f"{where}, sighting {number}"
        yield image_name(name, row), xywh(box, row)


def read_searches(
    path: Path, variable: str, number: Number, findings: Findings, hint: str
) -> list[Search]:
    """Read a list of queries with their galleries: ``TestG100.mat`` or one of its kind.

    Raises:
        MissingDataError: There is no such file.
        AnnotationError: The file is not such a file, or a row is malformed.
    """
    value = read_variable(path, (variable,), hint=hint)
    names: dict[int, str] = {}  # names of arrays that many entries share; `value` keeps them alive
    searches: list[Search] = []
    for position, (query, gallery) in enumerate(records(value, SEARCH, str(path))):
        where = f"{path}, query {position + 1}"
        with findings.tolerated():
            image, box, _, person = next(records(_given(query, where), QUERY, where), (None,) * 4)
            located = xywh(box, where)
            if located is None:
                raise AnnotationError(f"{where} has no box")
            entries: list[str] = []
            boxes: dict[int, np.ndarray] = {}
            for entry, (name, place, _) in enumerate(
                records(_given(gallery, where), SIGHTING, where)
            ):
                if id(name) not in names:
                    names[id(name)] = image_name(name, f"{where}, entry {entry + 1}")
                entries.append(names[id(name)])
                if place is not None and place.size:
                    boxes[entry] = _located(place, f"{where}, entry {entry + 1}")
            person_id = number(position, person, where)
            searches.append(
                Search(image_name(image, where), located, person_id, tuple(entries), boxes, where)
            )
    return searches


def identify_queried(searches: list[Search], people: People) -> None:
    """Give the identities of the queries to their boxes, in query and gallery images."""
    for search in searches:
        people.identify(search.scene, search.box, search.person_id, search.where)
        for position, box in search.boxes.items():
            where = f"{search.where}, entry {position + 1}"
            people.identify(search.gallery[position], box, search.person_id, where)


def _located(place: np.ndarray, where: str) -> np.ndarray:
    box = xywh(place, where)
    assert box is not None  # it has numbers
    return box


def _given(value: np.ndarray | None, where: str) -> np.ndarray:
    if value is None:
        raise AnnotationError(f"{where} is incomplete")
    return value
