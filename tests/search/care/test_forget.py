"""Whoever is forgotten is in no file of the archive, and does not come back."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.photos import random_people, write_photos
from fake.stores import MODEL, Archive
from fdps.errors import DataError, MissingDataError
from fdps.search import Index, SceneRecord, SqliteStore
from fdps.search.audit import entries
from fdps.search.care.forget import (
    ToForget,
    candidates_of_hits,
    candidates_of_items,
    forget,
    read_items,
    write_candidates,
)
from fdps.search.care.verify import verify
from fdps.structures import Detections

WIDE, PER_SCENE = 64, 3
WINDOW = 32  # bytes: eight numbers of an embedding


def record(number: int) -> SceneRecord:
    return SceneRecord(f"p/{number}", f"/p/{number}", f"{number:064x}", 99, 99)


def crowd(number: int) -> Detections:
    return random_people(np.random.default_rng(number), PER_SCENE, WIDE)


def embedding_of(item: int) -> np.ndarray:
    """Items count from 1, by scene."""
    row: np.ndarray = crowd((item - 1) // PER_SCENE).embeddings[(item - 1) % PER_SCENE]
    return row


def filled(folder: Path, n_scenes: int) -> SqliteStore:
    store = SqliteStore.create(folder, model_hash=MODEL, dim=WIDE)
    with store.writing():
        for number in range(n_scenes):
            store.add(record(number), crowd(number))
    return store


def traces(folder: Path, items: list[int]) -> list[int]:
    """Those of whose embeddings any 32 bytes in a row are in any file."""
    content = b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    found = []
    for item in items:
        blob = embedding_of(item).tobytes()
        windows = (blob[start : start + WINDOW] for start in range(len(blob) - WINDOW + 1))
        if any(window in content for window in windows):
            found.append(item)
    return found


@pytest.mark.parametrize(
    ("n_people", "n_scenes"),
    [(10, 30), pytest.param(100, 300, marks=pytest.mark.slow)],
)
def test_no_byte_of_the_forgotten_is_in_any_file(
    tmp_path: Path, n_people: int, n_scenes: int
) -> None:
    folder = tmp_path / "event.fdps"
    chosen = np.random.default_rng(5).permutation(n_scenes * PER_SCENE) + 1
    gone, others = chosen[:n_people].tolist(), chosen[n_people : 2 * n_people].tolist()
    with filled(folder, n_scenes) as store:
        (folder / "index.sqlite.v1.bak").write_bytes((folder / "index.sqlite").read_bytes())
        (folder / "skipped.csv").write_text("file,reason\n")
        assert traces(folder, gone + others) == gone + others  # so the search can fail
        for item in gone:
            assert forget(store, [item], reason="art. 17") == 1
        assert {path.name for path in folder.iterdir()} == {
            *("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"),
            *("skipped.csv", "writer.lock"),
        }
        assert traces(folder, gone) == []
        for item in gone:
            (hits,) = store.search(embedding_of(item)[np.newaxis], top=10_000)
            assert item not in [hit.item for hit in hits]
        with store.reading() as connection:
            assert [entry.purpose for entry in entries(connection)].count("art. 17") == n_people
    assert traces(folder, gone) == []
    assert traces(folder, others) == others
    assert verify(folder).faults == ()


def test_a_reader_delays_only_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "event.fdps"
    monkeypatch.setattr("fdps.search.sqlite.schema.READER_TIMEOUT_S", 0.1)
    filled(folder, 4).close()
    with SqliteStore(folder) as reader:
        with SqliteStore(folder) as writer:
            writer.add(record(4), crowd(4))  # is in the log
            with reader.reading() as connection:
                connection.execute("SELECT count(*) FROM people").fetchone()
                forget(writer, [1, 13])
                assert "another process is reading" in writer.still_kept
        reader.search(embedding_of(2)[np.newaxis], top=1)
    assert traces(folder, [1, 2, 13]) == [2]


def test_an_idle_reader_is_not_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "event.fdps"
    filled(folder, 4).close()
    with SqliteStore(folder) as reader, SqliteStore(folder) as writer:
        reader.search(embedding_of(2)[np.newaxis], top=1)
        forget(writer, [1])
        assert writer.still_kept == ""
        assert traces(folder, [1, 2]) == [2]
        (hits,) = reader.search(embedding_of(1)[np.newaxis], top=100)
        assert 1 not in [hit.item for hit in hits]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 4)
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path: Path, photos: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "event.fdps", ColourEmbedder()) as index:
        index.add(photos)
        yield index


def places(index: Index) -> set[tuple[object, ...]]:
    (hits,) = index.store.search(np.eye(1, 6, dtype=np.float32), top=1000)
    return {(hit.scene, *hit.box.tolist()) for hit in hits}


@pytest.mark.long
def test_the_forgotten_do_not_come_back_with_the_same_content(index: Index, photos: Path) -> None:
    before = places(index)
    (gone, *_), *_ = index.store.search(np.eye(1, 6, dtype=np.float32), top=1)
    forget(index.store, [gone.item])
    lost = before - places(index)
    assert lost == {(gone.scene, *gone.box.tolist())}
    index.add(photos, again=True)
    assert before - places(index) == lost
    index.remove(scenes=[gone.scene])
    index.add(photos)
    assert before - places(index) == lost
    assert index.folder
    assert verify(index.folder).faults == ()


def test_changed_content_is_another_picture(index: Index, photos: Path) -> None:
    before = places(index)
    (gone, *_), *_ = index.store.search(np.eye(1, 6, dtype=np.float32), top=1)
    forget(index.store, [gone.item])
    path = photos.parent / gone.scene
    path.write_bytes(path.read_bytes() + b"\0")  # the same pixels, other bytes
    index.add(photos)
    assert places(index) == before


def test_a_person_who_was_removed_and_not_forgotten_comes_back(index: Index, photos: Path) -> None:
    before = places(index)
    (gone, *_), *_ = index.store.search(np.eye(1, 6, dtype=np.float32), top=1)
    index.remove(items=[gone.item])
    index.add(photos, again=True)
    assert places(index) == before


def test_the_files_that_show_them_are_named(index: Index, tmp_path: Path) -> None:
    (hits,) = index.store.search(np.eye(1, 6, dtype=np.float32), top=3)
    found = candidates_of_hits(hits)
    n_files = write_candidates(index.store, found, tmp_path / "out")
    with (tmp_path / "out/originals.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["item"]) for row in rows} == {hit.item for hit in hits}
    assert len({row["file"] for row in rows}) == n_files
    assert all(Path(row["file"]).exists() for row in rows)
    assert read_items(tmp_path / "out/people.csv") == [hit.item for hit in hits]
    by_item = candidates_of_items(index.store, [hit.item for hit in hits] + [10**6])
    assert [(one.item, one.scene, one.box) for one in by_item] == [
        (one.item, one.scene, one.box) for one in found
    ]


def test_lists_that_make_no_sense_are_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="none of the 1 items"):
        candidates_of_items(index.store, [10**6])
    with pytest.raises(MissingDataError, match="no such file"):
        read_items(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"person\n1\n", "line 1: expected a column item, got 'person'"),
        (b"item;scene\n1;a\n", "line 1: expected a column item, got 'item;scene'"),
        (b"", "line 1: expected a column item, got ''"),
        (b"\n\n", "line 1: expected a column item, got ''"),
        (b"item\none\n", "line 2: expected the number of a person as item, got 'one'"),
        (b"scene,item\na,3\n\nb,x\n", "line 4: expected .*, got 'x'"),
        (b"scene,item\na,3\nb\n", "line 3: expected .*, got ''"),
        (b"item\n0\n", "line 2: expected .*, got '0'"),
        (b"item\n-1\n", "line 2: expected .*, got '-1'"),
        (b"item\n1.5\n", "line 2: expected .*, got '1.5'"),
        ("item\n\u0663\n".encode(), "line 2: expected"),  # a digit, but not one of ours
        (b"item\n99999999999999999999\n", "line 2: expected"),  # more than an archive can hold
        (b"item\n1\nitem\n2\n", "line 3: expected .*, got 'item'"),  # two lists, one file
        (b"item\n", "names nobody"),
        (b"\xff\xfeitem", "is no CSV file"),
        (bytes(range(256)), "is no CSV file"),
        (b"item\n\x1b[2J\n", r"line 2: expected .*, got '.{1,3}x1b\[2J'"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "ids.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_items(tmp_path / "ids.csv")


@pytest.mark.parametrize(
    "content",
    [
        b"item\n3\n1\n",
        b"\xef\xbb\xbfitem\r\n3\r\n1\r\n",  # as Excel writes it
        b'scene,item\n"a, b\nc",3\n\n\nd, 1 \n',
        b"item\n3\n1",
    ],
)
def test_lists_of_other_systems_are_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_bytes(content)
    assert read_items(tmp_path / "ids.csv") == [3, 1]


def test_what_a_list_says_twice_or_in_vain_is_named(
    index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ids.csv").write_text("item\n1\n2\n1\n")
    assert read_items(tmp_path / "ids.csv") == [1, 2]
    assert "line 4: item 1 stands already in line 2" in caplog.text
    candidates_of_items(index.store, [1, *range(10**6, 10**6 + 20)])
    assert "20 of 21 items are not in the archive: 1000000, 1000001" in caplog.text
    assert "and 10 more" in caplog.text


def test_every_kind_of_archive_forgets(archive: Archive) -> None:
    store = archive.open()
    (hits,) = store.search(np.eye(1, 6, dtype=np.float32), top=2)
    assert forget(store, [hit.item for hit in hits]) == 2
    (left,) = store.search(np.eye(1, 6, dtype=np.float32), top=1000)
    assert not {hit.item for hit in hits} & {hit.item for hit in left}
    (one, *_) = candidates_of_items(store, [left[0].item])
    assert isinstance(one, ToForget)
