"""The two stores give the same hits for 500 random queries with random filters."""

import itertools
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fake.photos import random_people, unit_rows
from fake.processes import pipe, running
from fake.stores import DIM, MODEL
from fdps.search import Filters, SceneRecord, Store
from fdps.search.open_store import create_store, open_store
from fdps.structures import Detections, Hit

if TYPE_CHECKING:
    from fake.postgres import PostgresServer

N_SCENES, N_QUERIES, PER_FILTER = 120, 500, 4
REMOVED_EVERY = 50  # scenes
CAMERAS = (None, "gate", "hall", 'stage "B"', "roof")
PATTERNS = ("", "", "*", "day1/*", "*/00?.jpg", "day[12]/0[0-4]*", "*7.jpg", "day_/*", "nobody*")


def scene_of(number: int) -> SceneRecord:
    name = f"day{number % 3}/{number:03}.jpg"
    camera = CAMERAS[number * 7 % 11 % (len(CAMERAS) - 1)]  # nobody was on the roof
    time = f"2026-05-{number % 9 + 1:02}T{number % 24:02}:{number % 60:02}:00+02:00"
    known = time if number % 7 else None
    return SceneRecord(name, f"/{name}", f"{number:064x}", 99, 99, camera, known)


def people_of(number: int) -> Detections:
    rng = np.random.default_rng([0, number])
    return random_people(rng, int(rng.integers(0, 8)), DIM)


def fill_alike(store: Store) -> None:
    with store.writing():
        for number in range(N_SCENES):
            store.add(scene_of(number), people_of(number))
        store.remove(scenes=[scene_of(number).name for number in range(5, 100, 9)])


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


@pytest.mark.long
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


@dataclass(frozen=True)
class Asked:
    """A search, the scenes that were in the archive at that moment, and what was found."""

    queries: np.ndarray
    top: int
    filters: Filters
    scenes: frozenset[str]
    answers: list[list[Hit]]


def write_on(where: str | Path, said: Connection) -> None:
    """Add scenes for ever, and now and then remove one; tell the number of each."""
    with open_store(where) as store:
        for number in itertools.count(N_SCENES):
            store.add(scene_of(number), people_of(number))
            if number % REMOVED_EVERY == 0:
                store.remove(scenes=[scene_of(number - N_SCENES // 2).name])
            said.send(number)


@pytest.mark.slow  # a quarter of a minute each beside other work
@pytest.mark.parametrize("kind", ["folder", "server, in memory", "server, by its scan"])
def test_while_another_writes_hits_are_those_of_one_moment(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The scenes of that moment, and no others, in a folder that nobody writes give the same."""
    where: str | Path = tmp_path / "written.fdps"
    if kind != "folder":
        where = f"{request.getfixturevalue('postgres').url()}?archive=written_{len(kind)}"
        scans = 10**9 if "scan" in kind else 2
        monkeypatch.setattr("fdps.search.postgres.store.SCANS", scans)
    create_store(where, model_hash=MODEL, dim=DIM).close()
    with open_store(where) as store:
        fill_alike(store)
        written, saying = pipe()
        rng, asked, n_scenes = np.random.default_rng(1), [], 0
        with running(write_on, where, saying):
            written.recv()  # it has begun
            for queries in np.split(unit_rows(rng, N_QUERIES), N_QUERIES // PER_FILTER):
                filters, top = random_filters(rng), int(rng.choice([1, 5, 50, 1000]))
                with store.reading() as database:
                    names = database.execute("SELECT name FROM scenes").fetchall()
                    answers = store.search(queries, top=top, filters=filters)
                scenes = frozenset(name for (name,) in names)
                asked.append(Asked(queries, top, filters, scenes, answers))
            while written.poll():
                n_scenes = written.recv() + 1
    assert len({one.scenes for one in asked}) > 10, "the reader never met the writer at work"
    with create_store(tmp_path / "all.fdps", model_hash=MODEL, dim=DIM) as everything:
        with everything.writing():
            for number in range(n_scenes + 1):
                everything.add(scene_of(number), people_of(number))
        for one in asked:
            found = everything.search(one.queries, top=len(everything), filters=one.filters)
            for hits, seen in zip(found, one.answers, strict=True):
                there = [hit for hit in hits if hit.scene in one.scenes][: one.top]
                assert comparable(seen) == comparable(there), one.filters
