"""An archive of twenty scenes in either kind of store, and what a plain sort finds in it."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fake.photos import random_people
from fdps.search import SceneRecord, Store
from fdps.search.open_store import create_store, open_store
from fdps.search.sql.store import SqlStore
from fdps.structures import Detections, Hit

DIM, MODEL = 6, "a" * 64
SCENES = 20
_numbers = itertools.count()


def scene(number: int) -> SceneRecord:
    camera = ("gate", "hall")[number % 2]
    name = f"photos/{number:03}.png"
    time = f"2026-05-02T{number % 24:02}:30:00+02:00" if number % 5 else None
    return SceneRecord(name, f"/disk/{name}", f"{number:064x}", 160, 120, camera, time)


def hour(scene: SceneRecord) -> int:
    """Of a scene with a time, where its camera stood."""
    assert scene.time
    return int(scene.time[11:13])


def people_of(number: int) -> Detections:
    return random_people(np.random.default_rng(number), number % 4, DIM)


def fill(store: Store, numbers: range = range(SCENES)) -> None:
    with store.writing():
        for number in numbers:
            store.add(scene(number), people_of(number))


def listed(hits: list[Hit]) -> list[tuple[object, ...]]:
    return [(h.scene, h.box.tolist(), h.similarity, h.score, h.item) for h in hits]


def without_items(hits: list[Hit]) -> list[tuple[str, list[float]]]:
    return [(hit.scene, hit.box.tolist()) for hit in hits]


def brute_force(
    query: np.ndarray, top: int, keep: Callable[[SceneRecord, np.ndarray], bool]
) -> list[tuple[str, list[float]]]:
    """Scene and box by a plain sort of what went in; equal ones in the order of addition."""
    rows = []
    for number in range(SCENES):
        people = people_of(number)
        for box, embedding in zip(people.boxes, people.embeddings, strict=True):
            if keep(scene(number), box):
                similarity = float(np.float64(embedding) @ np.float64(query))
                rows.append((-similarity, len(rows), scene(number).name, box.tolist()))
    return [(name, box) for *_, name, box in sorted(rows)[:top]]


class Place:
    """Where the archives of one test are: folders, or schemas of a database.

    Args:
        root: A folder, or the address of a database.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = root

    def new(self) -> Path | str:
        """Where there is no archive yet."""
        if isinstance(self.root, Path):
            return self.root / f"{next(_numbers)}.fdps"
        return f"{self.root}?archive=people_{os.getpid()}_{next(_numbers)}"

    def create(self, where: Path | str | None = None) -> tuple[Path | str, SqlStore]:
        """An empty archive, and where it is."""
        where = where or self.new()
        return where, create_store(where, model_hash=MODEL, dim=DIM, model="runs/x")


class Archive:
    """An archive that a test opens as often as it likes."""

    def __init__(self, where: Path | str) -> None:
        self.where = where
        self._stores: list[SqlStore] = []

    @classmethod
    @contextmanager
    def filled(cls, place: Place, numbers: range = range(SCENES)) -> Iterator["Archive"]:
        """A new one of these scenes; its stores are closed at the end."""
        where, store = place.create()
        fill(store, numbers)
        store.close()
        archive = cls(where)
        try:
            yield archive
        finally:
            for opened in archive._stores:
                opened.close()

    def open(self) -> SqlStore:
        """Another store of it."""
        self._stores.append(open_store(self.where))
        return self._stores[-1]
