"""What only the archive in a folder promises: files, locks of processes, damage, full disks.

What every store promises is in ``test_store.py``.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fake.photos import random_people, unit_rows
from fake.processes import add_scenes_of_three, hold_the_lock, pipe, running
from fake.stores import DIM, MODEL, SCENES, fill, people_of, scene
from fdps.errors import ArchiveError, ResourceError, UsageError
from fdps.search import SqliteStore


def new_store(folder: Path) -> SqliteStore:
    return SqliteStore.create(folder, model_hash=MODEL, dim=DIM, model="runs/x")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled") / "event.fdps"
    with new_store(folder) as store:
        fill(store)
    return folder


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(Path(shutil.copytree(filled, tmp_path / "event.fdps"))) as store:
        yield store


def reopened(store: SqliteStore) -> SqliteStore:
    assert store.folder
    return SqliteStore(store.folder)


def test_removed_embeddings_are_in_no_file(store: SqliteStore) -> None:
    assert store.folder
    erased = [row.tobytes() for row in people_of(7).embeddings]

    def files_with_them() -> list[str]:
        assert store.folder
        contents = {path.name: path.read_bytes() for path in store.folder.iterdir()}
        return [name for name, data in contents.items() if any(row in data for row in erased)]

    assert files_with_them()
    store.remove(scenes=[scene(7).name])
    assert not files_with_them()


def test_a_folder_with_other_things_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UsageError, match="exists and is not an archive"):
        new_store(tmp_path)
    with pytest.raises(UsageError, match="exists and is not an archive"):
        new_store(tmp_path / "holiday.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_an_interrupted_creation_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite.part").write_bytes(b"half")
    (tmp_path / "index.sqlite.part-journal").write_bytes(b"half")
    with new_store(tmp_path) as store:
        assert len(store) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"index.sqlite", "writer.lock"}


def damage_by_truncating(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])


def damage_by_emptying(database: Path) -> None:
    database.write_bytes(b"")


def damage_the_head(database: Path) -> None:
    database.write_bytes(b"JFIF" + database.read_bytes()[4:])


def damage_the_pages(database: Path) -> None:
    data = database.read_bytes()
    database.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


def damage_the_stamp(database: Path) -> None:
    execute(database, "DELETE FROM meta WHERE key = 'dim'")


def damage_an_embedding(database: Path) -> None:
    execute(database, "UPDATE people SET embedding = x'00' WHERE id = 3")


def put_another_database(database: Path) -> None:
    database.unlink()
    execute(database, "CREATE TABLE meta (key, value)")


def execute(database: Path, statement: str) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        damage_by_truncating,
        damage_by_emptying,
        damage_the_head,
        damage_the_pages,
        damage_the_stamp,
        damage_an_embedding,
        put_another_database,
    ],
)
def test_a_damaged_archive_says_so(store: SqliteStore, damage: Callable[[Path], None]) -> None:
    assert store.folder
    store.close()
    damage(store.folder / "index.sqlite")
    with pytest.raises(ArchiveError, match="damaged"), SqliteStore(store.folder) as opened:
        opened.search(unit_rows(np.random.default_rng(0), 1), top=1)


def test_an_archive_of_a_later_format_is_refused(store: SqliteStore) -> None:
    assert store.folder
    store.close()
    execute(store.folder / "index.sqlite", "PRAGMA user_version = 3")
    with pytest.raises(ArchiveError, match="format version 3, this fdps reads 2"):
        SqliteStore(store.folder)


def test_the_lock_ends_with_its_process(store: SqliteStore) -> None:
    held, hold = pipe()
    with running(hold_the_lock, store.folder, hold) as process:
        assert held.recv()
        with pytest.raises(ArchiveError, match=f"written by process {process.pid} since"):
            store.add(scene(30), people_of(1))
    store.add(scene(30), people_of(1))  # it was killed


def test_readers_see_whole_scenes_while_one_writes(store: SqliteStore) -> None:
    query = unit_rows(np.random.default_rng(0), 1)
    sizes = []
    with running(add_scenes_of_three, store.folder, 60) as writer, reopened(store) as reader:
        while writer.is_alive():
            (hits,) = reader.search(query, top=10_000)
            sizes.append(sum(hit.scene.startswith("new/") for hit in hits))
        assert writer.exitcode == 0
    assert sizes == sorted(sizes)
    assert {size % 3 for size in sizes} == {0}  # three people or nobody
    assert len(set(sizes)) > 2, "the reader never met the writer at work"


@contextmanager
def without_privileges() -> Iterator[None]:
    """Permissions do not bind the superuser, so be nobody for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_read_only_archive_can_be_searched_and_not_changed() -> None:
    # Not tmp_path: its parents are closed to others.
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent, "event.fdps")
        with new_store(folder) as store:
            fill(store)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        folder.chmod(0o555)
        for path in folder.iterdir():
            path.chmod(0o444)
        with without_privileges(), SqliteStore(folder) as store:
            (hits,) = store.search(people_of(7).embeddings[:1], top=1)
            assert hits[0].scene == scene(7).name
            with pytest.raises(ArchiveError, match="cannot use"):
                store.add(scene(30), people_of(1))
            with pytest.raises(ArchiveError, match="cannot use"):
                store.remove(scenes=[scene(1).name])
            with pytest.raises(ArchiveError, match="cannot create"):
                new_store(folder / "below")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        folder.chmod(0o755)


def test_a_full_disk_leaves_the_archive_as_it_was(store: SqliteStore) -> None:
    n_before = len(store)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite reports a full disk
    with pytest.raises(ResourceError, match="what was indexed before is safe"):
        store.add(scene(30), random_people(np.random.default_rng(0), 500))
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert (len(store), store.n_scenes) == (n_before, SCENES)
    store.add(scene(30), people_of(1))
