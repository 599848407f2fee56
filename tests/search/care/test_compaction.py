"""Compacting gives room back, changes nothing else, and needs room."""

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from fake.photos import random_people, unit_rows
from fake.processes import hold_the_lock, pipe, running
from fake.stores import MODEL, listed
from fdps.errors import ArchiveError, ResourceError
from fdps.search import SceneRecord, SqliteStore
from fdps.search.care.compaction import compact
from fdps.search.care.verify import verify
from fdps.search.sqlite.schema import size_on_disk

DIM, SCENES = 64, 60
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Half of it was removed."""
    folder = tmp_path / "event.fdps"
    with SqliteStore.create(folder, model_hash=MODEL, dim=DIM) as store, store.writing():
        for number in range(SCENES):
            people = random_people(np.random.default_rng(number), 9, DIM)
            store.add(SceneRecord(f"{number}", f"/{number}", f"{number:064x}", 9, 9), people)
        store.remove(scenes=[str(number) for number in range(SCENES // 2)])
    return folder


def everybody(store: SqliteStore) -> list[tuple[object, ...]]:
    return listed(store.search(unit_rows(np.random.default_rng(0), 1, DIM), top=10_000)[0])


def test_room_is_given_back_and_nothing_else_changes(folder: Path) -> None:
    with SqliteStore(folder) as store, SqliteStore(folder) as reader:
        before = everybody(reader)
        sizes = compact(store)
        assert sizes.after < 0.75 * sizes.before
        assert everybody(store) == everybody(reader) == before
        (secure,) = store._connection.execute("PRAGMA secure_delete").fetchone()
        assert secure == 1
        store.add(
            SceneRecord("n", "/n", "n", 9, 9), random_people(np.random.default_rng(0), 1, DIM)
        )
        assert max(int(str(hit[-1])) for hit in everybody(store)) == SCENES * 9 + 1
    assert size_on_disk(folder) < 0.75 * sizes.before
    assert verify(folder).faults == ()


def test_too_little_room_is_told_before_anything_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "index.sqlite").read_bytes()
    with SqliteStore(folder) as store:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6, 1000))
        with pytest.raises(ResourceError, match=r"needs 0\.4 MB of free disk, there are 0\.0 MB"):
            compact(store)
    assert (folder / "index.sqlite").read_bytes() == before


@pytest.mark.long
def test_it_waits_for_no_writer(folder: Path) -> None:
    held, hold = pipe()
    with running(hold_the_lock, folder, hold), SqliteStore(folder) as store:
        assert held.recv()
        with pytest.raises(ArchiveError, match="is being written by process"):
            compact(store)
