"""The archive in one folder holds the promises of a store."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.photos import random_people, unit_rows
from fake.processes import add_scenes_of_three, hold_the_lock, pipe, running
from fdps.errors import ArchiveError, MissingDataError, ResourceError, UsageError
from fdps.search import Filters, SceneRecord, SqliteStore
from fdps.structures import Detections, Hit

DIM, MODEL = 6, "a" * 64
SCENES = 20


def scene(number: int) -> SceneRecord:
    camera = ("gate", "hall")[number % 2]
    name = f"photos/{number:03}.png"
    time = f"2026-05-02T{number % 24:02}:30:00+02:00" if number % 5 else None
    return SceneRecord(name, f"/disk/{name}", f"{number:064x}", 160, 120, camera, time)


def people_of(number: int) -> Detections:
    return random_people(np.random.default_rng(number), number % 4, DIM)


def hour(scene: SceneRecord) -> int:
    assert scene.time
    return int(scene.time[11:13])


def new_store(folder: Path) -> SqliteStore:
    return SqliteStore.create(folder, model_hash=MODEL, dim=DIM, model="runs/x")


def fill(store: SqliteStore, numbers: range = range(SCENES)) -> None:
    with store.writing():
        for number in numbers:
            store.add(scene(number), people_of(number))


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


def listed(hits: list[Hit]) -> list[tuple[object, ...]]:
    return [(h.scene, h.box.tolist(), h.similarity, h.score, h.item) for h in hits]


def brute_force(
    query: np.ndarray, top: int, keep: Callable[[SceneRecord, np.ndarray], bool]
) -> list[tuple[str, list[float], int]]:
    """Scene, box and item by a plain sort of what went in."""
    rows, item = [], 0
    for number in range(SCENES):
        people = people_of(number)
        for box, embedding in zip(people.boxes, people.embeddings, strict=True):
            item += 1
            if keep(scene(number), box):
                similarity = float(np.float64(embedding) @ np.float64(query))
                rows.append((-similarity, item, scene(number).name, box.tolist()))
    return [(name, box, item) for _, item, name, box in sorted(rows)[:top]]


@pytest.mark.parametrize("top", [1, 5, 1000])
@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        (Filters(), lambda scene, box: True),
        (Filters(cameras=("hall",)), lambda scene, box: scene.camera == "hall"),
        (Filters(cameras=("hall", "gate")), lambda scene, box: True),
        (Filters(scenes="photos/00*"), lambda scene, box: scene.name < "photos/01"),
        (Filters(min_height=30.0), lambda scene, box: box[3] - box[1] >= 30),
        (
            Filters(("gate",), "photos/01*", 20.0),
            lambda s, box: s.camera == "gate" and s.name > "photos/01" and box[3] - box[1] >= 20,
        ),
        (Filters(cameras=("roof",)), lambda scene, box: False),
        (
            Filters(after="2026-05-02T06:30:00+02:00", before="2026-05-02T07:30:00Z"),
            lambda scene, box: scene.time and 6 <= hour(scene) < 9,
        ),
        (Filters(time_of_day="17:00-02:30"), lambda s, box: s.time and hour(s) not in range(2, 17)),
        (Filters(time_of_day="02:30-03:30"), lambda scene, box: scene.time and hour(scene) == 2),
        (Filters(source="/disk/*/01?.png"), lambda scene, box: "/01" in scene.path),
    ],
)
def test_search_equals_brute_force(
    store: SqliteStore,
    top: int,
    filters: Filters,
    keep: Callable[[SceneRecord, np.ndarray], bool],
) -> None:
    queries = unit_rows(np.random.default_rng(99), 4)
    found = store.search(queries, top=top, filters=filters)
    assert [[(h.scene, h.box.tolist(), h.item) for h in hits] for hits in found] == [
        brute_force(query, top, keep) for query in queries
    ]


@pytest.mark.parametrize(
    "wrong", [{"after": "noon"}, {"before": "noon"}, {"time_of_day": "noon"}], ids=str
)
def test_a_filter_that_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="a time"):
        Filters(**wrong)


def test_frames_of_one_file_are_scenes_of_their_own(store: SqliteStore) -> None:
    frames = [
        replace(scene(0), name=f"clip@{n}", path="/clip", sha256="c" * 64, frame=n, offset_s=n / 2)
        for n in range(3)
    ]
    for frame in frames:
        store.add(frame, people_of(3))
    assert store.find_all(path="/clip") == store.find_all(sha256="c" * 64) == frames
    store.add(replace(frames[1], camera="new"), people_of(1))
    assert [frame.camera for frame in store.find_all(path="/clip")] == ["gate", "gate", "new"]
    assert not store.is_finished("c" * 64, "0.5s")
    store.finish("c" * 64, "0.5s")
    store.finish("c" * 64, "0.5s")
    assert store.is_finished("c" * 64, "0.5s")
    assert not store.is_finished("c" * 64, "1s")
    store.remove(scenes=["clip@2"])
    assert not store.is_finished("c" * 64, "0.5s")


def test_what_goes_in_comes_out_after_opening_again(store: SqliteStore) -> None:
    people = people_of(7)
    with reopened(store) as other_store:
        (hits,) = other_store.search(people.embeddings[:1], top=1)
        assert hits[0].scene == scene(7).name
        assert hits[0].box.tolist() == people.boxes[0].tolist()
        assert hits[0].score == float(people.scores[0])
        assert hits[0].similarity == pytest.approx(1, abs=1e-6)
        assert other_store.info == store.info
        assert other_store.n_scenes == SCENES
        assert len(other_store) == sum(len(people_of(n)) for n in range(SCENES))
        assert other_store.find(name=scene(7).name) == scene(7)
        assert other_store.find(sha256=scene(7).sha256) == scene(7)
        assert other_store.find(name=scene(7).name, sha256=scene(8).sha256) is None


def test_the_stamp_says_which_model(store: SqliteStore) -> None:
    assert (store.info.model_hash, store.info.dim, store.info.model) == (MODEL, DIM, "runs/x")
    assert store.info.format_version == 2


def test_an_open_store_sees_what_others_add_and_remove(store: SqliteStore) -> None:
    query = unit_rows(np.random.default_rng(5), 1)
    with reopened(store) as reader:
        before = listed(reader.search(query, top=1000)[0])
        store.add(scene(SCENES), people_of(7))
        added = listed(reader.search(query, top=1000)[0])
        assert len(added) == len(before) + 3
        store.remove(scenes=[scene(SCENES).name])
        assert listed(reader.search(query, top=1000)[0]) == before
        assert listed(store.search(query, top=1000)[0]) == before


def test_remove_erases_scenes_and_people(store: SqliteStore) -> None:
    gone = people_of(7).embeddings
    (first, *_), *_ = store.search(gone[:1], top=1)
    n_before = len(store)
    assert store.remove(scenes=[scene(11).name, "no such scene"], items=[first.item, 10**6]) == 4
    assert len(store) == n_before - 4
    assert store.find(name=scene(11).name) is None
    assert store.find(name=scene(7).name) == scene(7)  # the picture stays, its person is gone
    (hits,) = store.search(gone[:1], top=1000)
    assert first.item not in [hit.item for hit in hits]
    assert scene(11).name not in [hit.scene for hit in hits]


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


def test_items_are_not_used_again(store: SqliteStore) -> None:
    query = people_of(19).embeddings[:1]
    last = max(hit.item for hit in store.search(query, top=1000)[0])
    store.remove(scenes=[scene(19).name])
    store.add(scene(19), people_of(19))
    assert store.search(query, top=1)[0][0].item > last


def test_a_changed_file_replaces_its_scene(store: SqliteStore) -> None:
    n_before = len(store)
    store.add(replace(scene(7), sha256="f" * 64), people_of(1))
    assert len(store) == n_before - 3 + 1
    assert store.n_scenes == SCENES
    assert store.find(sha256=scene(7).sha256) is None


@pytest.mark.parametrize("taken", ["name", "sha256"])
def test_two_scenes_do_not_share(store: SqliteStore, taken: str) -> None:
    fresh, n_before = scene(SCENES), len(store)
    clashing = replace(fresh, **{taken: getattr(scene(3), taken)})
    with pytest.raises(ArchiveError, match="another scene of this name or content"):
        store.add(clashing, people_of(7))
    assert (len(store), store.n_scenes) == (n_before, SCENES)  # nothing half-written


@pytest.mark.parametrize(
    "embeddings",
    [
        np.ones((1, DIM), dtype=np.float32),  # not of unit length
        np.eye(1, DIM + 1, dtype=np.float32),  # another dimension
        np.full((1, DIM), np.nan, dtype=np.float32),
    ],
)
def test_unfit_embeddings_are_refused(store: SqliteStore, embeddings: np.ndarray) -> None:
    with pytest.raises(UsageError, match="embeddings must have"):
        store.search(embeddings, top=1)
    with pytest.raises(UsageError, match="embeddings must have"):
        store.add(scene(50), replace(people_of(1), embeddings=embeddings))


def test_top_below_one_is_refused(store: SqliteStore) -> None:
    with pytest.raises(UsageError, match="top must be at least 1, got 0"):
        store.search(unit_rows(np.random.default_rng(0), 1), top=0)


def test_an_empty_archive_finds_nobody(tmp_path: Path) -> None:
    with new_store(tmp_path / "new.fdps") as store:
        assert store.search(unit_rows(np.random.default_rng(0), 2), top=3) == [[], []]
        assert (len(store), store.n_scenes) == (0, 0)


def test_creating_twice_is_refused(store: SqliteStore) -> None:
    assert store.folder
    with pytest.raises(ArchiveError, match="already"):
        new_store(store.folder)


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


def test_opening_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no archive at"):
        SqliteStore(tmp_path / "none.fdps")


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


def test_a_second_writer_is_told_who_the_first_is(store: SqliteStore) -> None:
    with reopened(store) as second:
        with store.writing():
            store.add(scene(30), people_of(1))  # the writer itself goes on
            with pytest.raises(ArchiveError, match=f"written by process {os.getpid()} since"):
                second.add(scene(31), people_of(1))
            assert second.find(name=scene(30).name)  # reading goes on
        second.add(scene(31), people_of(1))


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
