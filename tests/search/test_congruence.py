"""The two stores give the same hits for 500 random queries with random filters."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fake.photos import random_people, unit_rows
from fake.stores import DIM, MODEL
from fdps.search import Filters, SceneRecord, Store
from fdps.search.open_store import create_store
from fdps.structures import Hit

if TYPE_CHECKING:
    from fake.postgres import PostgresServer

N_SCENES, N_QUERIES, PER_FILTER = 120, 500, 4
CAMERAS = (None, "gate", "hall", 'stage "B"', "roof")
PATTERNS = ("", "", "*", "day1/*", "*/00?.jpg", "day[12]/0[0-4]*", "*7.jpg", "day_/*", "nobody*")


def fill_alike(store: Store) -> None:
    rng = np.random.default_rng(0)
    with store.writing():
        for number in range(N_SCENES):
            name = f"day{number % 3}/{number:03}.jpg"
            camera = CAMERAS[int(rng.integers(len(CAMERAS) - 1))]  # nobody was on the roof
            time = f"2026-05-{number % 9 + 1:02}T{number % 24:02}:{number % 60:02}:00+02:00"
            known = time if number % 7 else None
            record = SceneRecord(name, f"/{name}", f"{number:064x}", 99, 99, camera, known)
            people = random_people(rng, int(rng.integers(0, 8)), DIM)
            store.add(record, people)
        store.remove(scenes=[f"day{number % 3}/{number:03}.jpg" for number in range(5, 100, 9)])


def random_filters(rng: np.random.Generator) -> Filters:
    n_cameras = int(rng.integers(0, 3))
    cameras = tuple(str(CAMERAS[int(k)]) for k in rng.integers(1, len(CAMERAS), size=n_cameras))
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
    return Filters(
        cameras,
        pattern,
        float(rng.choice([0, 0, 10, 33.3, 54])),
        after=str(rng.choice(["", "", "2026-05-02T22:00:00Z"])),
        before=str(rng.choice(["", "", "2026-05-06T12:00:00+02:00"])),
        time_of_day=str(rng.choice(["", "", "", "08:00-18:30", "20:00-06:00"])),
        source=str(rng.choice(["", "", "/day[01]/*", "*/0*"])),
    )


def comparable(hits: list[Hit]) -> list[tuple[object, ...]]:
    """Everything about the hits, to the last digit."""
    return [(hit.item, hit.scene, hit.box.tolist(), hit.similarity, hit.score) for hit in hits]


@pytest.mark.parametrize("n_scans", [2, 10**9], ids=["in memory", "by the server"])
def test_both_stores_give_the_same_hits(
    postgres: "PostgresServer", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_scans: int
) -> None:
    monkeypatch.setattr("fdps.search.postgres.store.SCANS", n_scans)
    places = (tmp_path / "event.fdps", f"{postgres.url()}?archive=alike_{n_scans}")
    stores = [create_store(place, model_hash=MODEL, dim=DIM) for place in places]
    for store in stores:
        fill_alike(store)
    local, remote = stores
    assert (len(local), local.n_scenes) == (len(remote), remote.n_scenes)
    rng, n_hits = np.random.default_rng(1), 0
    for queries in np.split(unit_rows(rng, N_QUERIES), N_QUERIES // PER_FILTER):
        filters, top = random_filters(rng), int(rng.choice([1, 5, 50, 1000]))
        answers = [store.search(queries, top=top, filters=filters) for store in stores]
        for hits, others in zip(*answers, strict=True):
            assert comparable(hits) == comparable(others), filters
            n_hits += len(hits)
    assert n_hits > 5 * N_QUERIES, "the filters let hardly anybody pass"
    for store in stores:
        store.close()
