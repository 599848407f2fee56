"""Damage of an archive is found, byte by byte, and a whole archive is called whole."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fake.photos import unit_rows
from fake.stores import DIM, MODEL, fill, listed, people_of, scene
from fdps.errors import ArchiveError, MissingDataError
from fdps.search import Index, SqliteStore
from fdps.search.audit import Note
from fdps.search.care.info import describe
from fdps.search.care.retention import Retention, set_retention
from fdps.search.care.verify import Verification, verify

FLIPS = 200


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With something in every table."""
    folder = tmp_path_factory.mktemp("whole") / "event.fdps"
    with SqliteStore.create(folder, model_hash=MODEL, dim=DIM, model="runs/x") as store:
        fill(store)
        store.finish(scene(3).sha256, "0.5s")
        store.remove(items=[2], note=Note("forget"), for_good=True)
        store.remove(scenes=[scene(11).name])
        set_retention(store, Retention("30d"))
        Index(store, purpose="test").search(people_of(7).embeddings[0])
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "event.fdps"))


def execute(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "index.sqlite", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_whole_archive_is_whole_and_not_changed(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = verify(folder)
    with SqliteStore(folder) as store:
        assert (found.n_scenes, found.n_people) == (store.n_scenes, len(store)) == (19, 26)
    assert (found.faults, found.notes) == ((), ())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


DAMAGES = {
    "embedding": (
        "UPDATE people SET embedding = zeroblob(24) WHERE id = 5",
        "the embedding of item 5 has length 0, not 1",
    ),
    "embedding too short": (
        "UPDATE people SET embedding = x'0000' WHERE id = 5",
        "the embedding of item 5 has not 6 numbers",
    ),
    "embedding of another": (
        "UPDATE people SET embedding = (SELECT embedding FROM people WHERE id = 6) WHERE id = 5",
        "or its people are not what was added",
    ),
    "box": ("UPDATE people SET x1 = x1 + 1 WHERE id = 5", "'photos/003.png' or its people"),
    "score": ("UPDATE people SET score = 0.5 WHERE id = 5", "'photos/003.png' or its people"),
    "person gone": ("DELETE FROM people WHERE id = 5", "'photos/003.png' or its people"),
    "camera": ("UPDATE scenes SET camera = 'x' WHERE id = 4", "'photos/003.png' or its people"),
    "time": ("UPDATE scenes SET instant = 0 WHERE id = 4", "'photos/003.png' or its people"),
    "added": ("UPDATE scenes SET added = 0 WHERE id = 4", "'photos/003.png' or its people"),
    "orphan": ("DELETE FROM scenes WHERE id = 4", "of people belongs to none of scenes"),
    "stamp": (
        "UPDATE meta SET value = 'runs/y' WHERE key = 'model'",
        "stamp: model is not what it was",
    ),
    "tables": ("CREATE TABLE other (x)", "stamp: schema is not what it was"),
    "retention": (
        "UPDATE meta SET value = '{}' WHERE key = 'note:retention'",
        "notes: retention is not what was written",
    ),
    "note": ("INSERT INTO meta VALUES ('note:x', 'y')", "notes: x is not what was written"),
    "forgotten": ("UPDATE forgotten SET x1 = x1 + 9", "forgotten: mark 1 is not what was written"),
    "tracks": (
        "INSERT INTO tracks VALUES (5, 5), (9, 5)",
        "tracks: track 5 joins people of 2 videos",
    ),
    "track": ("INSERT INTO tracks VALUES (5, 6)", "track 6 is not named after its first person"),
    "audit": ("UPDATE audit SET who = 'x' WHERE seq = 1", "audit: entry 1 was changed"),
    "numbers": (
        "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'people'",
        "is beyond the last number that was given",
    ),
    "index": ("PRAGMA user_version = 9", "format version is 9, this fdps checks 2"),
    "head": ("PRAGMA application_id = 9", "is not an archive of fdps"),
}


@pytest.mark.parametrize(("statement", "fault"), DAMAGES.values(), ids=DAMAGES.keys())
def test_each_fault_is_named(folder: Path, statement: str, fault: str) -> None:
    execute(folder, statement)
    assert fault in "\n".join(verify(folder).faults)


def test_an_index_that_lacks_a_row_is_named(folder: Path) -> None:
    execute(
        folder,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema "
        "WHERE name = 'forgotten_of_file') WHERE name = 'people_of_scene'",
    )
    assert any(fault.startswith("structure: ") for fault in verify(folder).faults)


def test_a_calibration_that_was_changed_is_named(folder: Path) -> None:
    with Index.open(folder) as index:
        assert isinstance(index.store, SqliteStore)
        index.store.write_note("calibration", "x" * 1000)
    assert verify(folder).faults == ()
    execute(folder, "UPDATE meta SET value = replace(value, 'x', 'y') WHERE key GLOB '*calib*'")
    assert verify(folder).faults == ("notes: calibration is not what was written",)


def test_stale_files_and_backups_are_noted(folder: Path) -> None:
    for name in ("skipped.csv", "skipped.csv.part", "index.sqlite.v1.bak"):
        (folder / name).touch()
    assert verify(folder) == Verification(
        faults=(),
        notes=(
            "index.sqlite.v1.bak is a backup from before a migration; it holds everybody of then",
            "skipped.csv.part does not belong to the archive",
        ),
        n_scenes=19,
        n_people=26,
        n_entries=verify(folder).n_entries,
    )


def test_no_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no archive at"):
        verify(tmp_path)


def test_many_faults_are_cut_short(folder: Path) -> None:
    execute(folder, "UPDATE people SET embedding = x'00'")
    faults = verify(folder).faults
    assert len([fault for fault in faults if fault.startswith("people: ")]) == 26
    assert len(faults) < 60


def what_it_says(folder: Path) -> tuple[object, ...]:
    """Everything that a user can see."""
    query = unit_rows(np.random.default_rng(0), 1)
    with SqliteStore(folder) as store:
        hits = listed(store.search(query, top=1000)[0])
        names = [hit[0] for hit in hits]
        scenes = [store.find(name=str(name)) for name in names]
        describe(store)
        people = [str(person) for person in store.people(range(1, 30))]
        return (hits, scenes, people, store.n_scenes, store.info, store.note("retention"))


def flip(folder: Path, content: bytes, offset: int, bit: int) -> None:
    flipped = bytearray(content)
    flipped[offset] ^= 1 << bit
    (folder / "index.sqlite").write_bytes(flipped)
    for leftover in folder.glob("index.sqlite-*"):
        leftover.unlink()


def answer(folder: Path, *, is_noted: bool) -> tuple[object, ...] | None:
    """What it says; ``None`` if it says that it is damaged. Anything else is a crash."""
    try:
        if is_noted:
            with Index.open(folder) as index:
                index.search(unit_rows(np.random.default_rng(0), 1)[0], 1)
        return what_it_says(folder)
    except ArchiveError:
        return None


@pytest.mark.long
def test_flipped_bits_are_found_or_do_no_harm(folder: Path) -> None:
    before = what_it_says(folder)
    content = (folder / "index.sqlite").read_bytes()
    rng = np.random.default_rng(1)
    # Half of them where there is something: most of a small archive is empty pages.
    used = np.flatnonzero(np.frombuffer(content, dtype=np.uint8))
    places = [*rng.integers(len(content), size=FLIPS // 2), *rng.choice(used, FLIPS // 2)]
    harmful, n_found = [], 0
    for number, offset in enumerate(map(int, places)):
        bit = int(rng.integers(8))
        flip(folder, content, offset, bit)
        is_found = bool(verify(folder).faults)
        after = answer(folder, is_noted=number % 8 == 0)  # which waits for the disk
        if not is_found and after not in (before, None):
            harmful.append((offset, bit))
        n_found += is_found
    assert harmful == []
    assert n_found > FLIPS // 4  # so the search can fail
