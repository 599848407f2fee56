"""Archives of format 1 open, keep everything, and leave a backup."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fake.photos import random_people, unit_rows
from fake.processes import hold_the_lock, pipe, running
from fdps.errors import ArchiveError
from fdps.search import Filters, SceneRecord, SqliteStore
from fdps.search.sqlite import schema as database_module
from fdps.search.sqlite.schema import APPLICATION_ID

SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE scenes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL UNIQUE,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    camera TEXT,
    time TEXT
);
CREATE TABLE people (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scene_id INTEGER NOT NULL REFERENCES scenes (id) ON DELETE CASCADE,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    score REAL NOT NULL,
    embedding BLOB NOT NULL
);
CREATE INDEX people_of_scene ON people (scene_id, y1, y2);
"""
META = {
    "model_hash": "a" * 64, "dim": "6", "model": "runs/x", "created": "2026-01-01T00:00:00+00:00",
    "created_by": "0.0.1", "removals": "3",
}  # fmt: skip
TIMES = {0: "2026-05-02T14:31:07+02:00", 1: "long ago"}
SCENES, PEOPLE = 5, 3


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "event.fdps"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "index.sqlite", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA_1)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", META.items())
        for number in range(SCENES):
            row = (number + 10, f"p/{number}", f"/p/{number}", f"{number:064x}", 9, 8, "gate")
            connection.execute(
                "INSERT INTO scenes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, TIMES.get(number))
            )
            people = random_people(np.random.default_rng(number), PEOPLE)
            for box, score, embedding in zip(
                people.boxes, people.scores, people.embeddings, strict=True
            ):
                connection.execute(
                    "INSERT INTO people (scene_id, x1, y1, x2, y2, score, embedding) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (number + 10, *box.tolist(), float(score), embedding.tobytes()),
                )
        connection.execute("DELETE FROM people WHERE id = 15")  # its number stays taken
    return folder


def test_everything_is_kept(old: Path) -> None:
    before = (old / "index.sqlite").read_bytes()
    with SqliteStore(old) as store:
        assert (store.info.format_version, store.info.model_hash) == (2, META["model_hash"])
        assert (store.n_scenes, len(store)) == (SCENES, SCENES * PEOPLE - 1)
        assert store.find(name="p/0") == SceneRecord(
            "p/0", "/p/0", f"{0:064x}", 9, 8, "gate", TIMES[0]
        )
        for number in range(SCENES):
            people = random_people(np.random.default_rng(number), PEOPLE)
            (hits,) = store.search(people.embeddings[:1], top=1)
            assert (hits[0].scene, hits[0].item) == (f"p/{number}", number * PEOPLE + 1)
            assert hits[0].box.tolist() == people.boxes[0].tolist()
        store.add(
            SceneRecord("new", "/new", "f" * 64, 9, 9), random_people(np.random.default_rng(9), 1)
        )
        (hits,) = store.search(random_people(np.random.default_rng(9), 1).embeddings, top=1)
        assert hits[0].item == SCENES * PEOPLE + 1
        everybody = store.search_appearances(unit_rows(np.random.default_rng(0), 1), top=99)[0]
        assert len(everybody) == len(store)  # pictures have no tracks
        store.remove(scenes=["p/1"])
        assert len(store) == SCENES * PEOPLE - PEOPLE
    assert before  # it was there


def test_known_times_can_be_searched_and_others_stay(old: Path) -> None:
    query = unit_rows(np.random.default_rng(0), 1)
    with SqliteStore(old) as store:
        for filters in (
            Filters(after="2026-05-02T12:31:07Z", before="2026-05-02T12:31:08Z"),
            Filters(time_of_day="14:31-14:32"),
        ):
            (hits,) = store.search(query, top=99, filters=filters)
            assert {hit.scene for hit in hits} == {"p/0"}
        scene = store.find(name="p/1")
        assert scene
        assert scene.time == "long ago"


def test_the_backup_is_the_archive_as_it_was(old: Path) -> None:
    SqliteStore(old).close()
    with closing(sqlite3.connect(old / "index.sqlite.v1.bak")) as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (1,)
        assert backup.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert backup.execute("SELECT count(*) FROM people").fetchone() == (14,)
    with closing(sqlite3.connect(old / "index.sqlite")) as present:
        assert present.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert present.execute("PRAGMA foreign_key_check").fetchall() == []
    SqliteStore(old).close()  # and it opens again


def test_what_is_erased_is_erased_in_the_backup_too(old: Path) -> None:
    with SqliteStore(old) as store:
        assert (old / "index.sqlite.v1.bak").exists()
        store.remove(items=[1])
    lost = random_people(np.random.default_rng(0), PEOPLE).embeddings[0].tobytes()
    assert not any(lost in path.read_bytes() for path in old.iterdir())
    assert not (old / "index.sqlite.v1.bak").exists()


def test_an_interrupted_migration_changes_nothing(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "VIDEOS", "CREATE TABLE scenes_2 (broken)")
    with pytest.raises(ArchiveError):
        SqliteStore(old)
    monkeypatch.undo()
    with SqliteStore(old) as store:
        assert len(store) == 14


def test_it_waits_for_the_writer(old: Path) -> None:
    held, hold = pipe()
    with running(hold_the_lock, old, hold):
        assert held.recv()
        with pytest.raises(ArchiveError, match="is being written by process"):
            SqliteStore(old)
    SqliteStore(old).close()
