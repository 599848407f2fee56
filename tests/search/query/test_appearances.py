"""A search for appearances gives what pooling everybody by hand gives."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.photos import random_people, unit_rows, write_photos
from fake.processes import index_until_linking, pipe, running
from fake.stores import DIM, MODEL
from fake.videos import walking_frames, write_video
from fdps.errors import ArchiveError, UsageError
from fdps.search import Appearance, Filters, Index, SceneRecord, SqliteStore
from fdps.search.query import matrix, pooling

N_FRAMES = 40
EVERYBODY = Filters()


def frame_scene(number: int, video: str = "a") -> SceneRecord:
    return SceneRecord(
        name=f"{video}.mp4@{number}",
        path=f"/{video}.mp4",
        sha256=video * 64,
        width=100,
        height=100,
        camera=("gate", "hall")[number % 2],
        time=f"2026-05-02T10:00:{number:02}+00:00",
        frame=number,
        offset_s=float(number),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Forty frames of three people, in tracks that have nothing to do with places."""
    store = SqliteStore.create(tmp_path / "event.fdps", model_hash=MODEL, dim=DIM)
    with store, store.writing():
        rng = np.random.default_rng(0)
        for number in range(N_FRAMES):
            store.add(frame_scene(number), random_people(rng, 3, DIM))
        items = np.arange(1, 3 * N_FRAMES + 1)
        tracks = rng.integers(0, 50, size=len(items))  # of 0 to 7 members
        rows = [(int(i), int(items[tracks == t][0])) for i, t in zip(items, tracks, strict=True)]
        with store._transaction():
            store._connection.executemany("INSERT INTO tracks VALUES (?, ?)", rows)
        yield store


def everybody(store: SqliteStore) -> list[tuple[int, int, np.ndarray, np.ndarray, SceneRecord]]:
    """Item, track, embedding, box and scene of everybody."""
    people = []
    for item, track, blob, name, *box in store._connection.execute(
        "SELECT people.id, coalesce(track, people.id), embedding, name, x1, y1, x2, y2 FROM people "
        "JOIN scenes ON scenes.id = scene_id LEFT JOIN tracks ON item = people.id ORDER BY 1"
    ):
        scene = store.find(name=name)
        assert scene
        people.append((item, track, np.frombuffer(blob, "<f4"), np.array(box), scene))
    return people


def pooled_by_hand(
    store: SqliteStore, query: np.ndarray, filters: Filters
) -> list[tuple[float, list[int]]]:
    """Similarity and items of every appearance, best first."""
    groups: dict[int, list[tuple[int, np.ndarray]]] = {}
    for item, track, embedding, box, scene in everybody(store):
        is_allowed = (not filters.cameras or scene.camera in filters.cameras) and (
            box[3] - box[1] >= filters.min_height
        )
        if is_allowed:
            groups.setdefault(track, []).append((item, embedding.astype(np.float64)))
    rows = []
    for track, members in groups.items():
        mean = np.mean([embedding for _, embedding in members], axis=0)
        if len(members) > 1:
            mean = mean / np.linalg.norm(mean)
        rows.append((-float(mean @ query.astype(np.float64)), track, [i for i, _ in members]))
    return [(-negative, items) for negative, _, items in sorted(rows)]


@pytest.mark.parametrize("rows_per_block", [7, 10_000])
@pytest.mark.parametrize(
    "filters",
    [
        EVERYBODY,
        Filters(cameras=("gate",)),
        Filters(min_height=30.0),
        Filters(cameras=("hall",), min_height=45.0),  # most tracks lose all members but one
        Filters(cameras=("roof",)),
    ],
)
def test_search_equals_pooling_by_hand(
    store: SqliteStore, filters: Filters, rows_per_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "BLOCK_BYTES", 4 * DIM * rows_per_block)
    monkeypatch.setattr(pooling, "ROWS_AT_ONCE", 5)
    monkeypatch.setattr(pooling, "QUERIES_PER_PASS", 2)
    queries = unit_rows(np.random.default_rng(1), 5, DIM)
    with SqliteStore(store.folder or Path()) as reader:
        for top in (1, 4, 1000):
            found = reader.search_appearances(queries, top=top, filters=filters)
            for query, of_query in zip(queries, found, strict=True):
                expected = pooled_by_hand(store, query, filters)[:top]
                assert [list(a.items) for a in of_query] == [items for _, items in expected]
                np.testing.assert_allclose(
                    [a.similarity for a in of_query], [s for s, _ in expected], atol=1e-12
                )


def test_an_appearance_says_from_when_to_when_and_shows_its_best(store: SqliteStore) -> None:
    query = unit_rows(np.random.default_rng(1), 1, DIM)
    (found,) = store.search_appearances(query, top=1000)
    (hits,) = store.search(query, top=1000)
    by_item = {hit.item: hit for hit in hits}
    assert sorted(item for a in found for item in a.items) == sorted(by_item)
    for appearance in found:
        numbers = [(item - 1) // 3 for item in appearance.items]
        assert appearance.first == frame_scene(min(numbers))
        assert appearance.last == frame_scene(max(numbers))
        assert len(appearance) == len(numbers)
        best = max((by_item[item] for item in appearance.items), key=lambda hit: hit.similarity)
        assert appearance.best.item == best.item
        assert appearance.best.similarity == best.similarity
        assert (appearance.best.scene, appearance.best.score) == (best.scene, best.score)
        assert appearance.best.box.tolist() == best.box.tolist()
        if len(appearance) == 1:
            assert appearance.similarity == best.similarity


def test_equal_appearances_come_by_track_also_at_the_cut(tmp_path: Path) -> None:
    people = random_people(np.random.default_rng(0), 3, DIM)
    twins = replace(people, embeddings=people.embeddings[:1].repeat(3, axis=0))
    with SqliteStore.create(tmp_path / "a.fdps", model_hash=MODEL, dim=DIM) as store:
        for number in range(20):
            store.add(frame_scene(number), twins)
        with store._transaction():
            rows = [(item, item - (item - 1) % 2) for item in range(1, 61)]
            store._connection.executemany("INSERT INTO tracks VALUES (?, ?)", rows)
        (found,) = store.search_appearances(twins.embeddings[:1], top=1000)
        assert [a.items for a in found] == [(item, item + 1) for item in range(1, 61, 2)]
        (first,) = store.search_appearances(twins.embeddings[:1], top=7)
        assert [a.items for a in first] == [a.items for a in found[:7]]


def test_members_that_cancel_each_other_are_like_nobody(tmp_path: Path) -> None:
    there = np.eye(1, DIM, dtype=np.float32)
    people = random_people(np.random.default_rng(0), 2, DIM)
    opposite = replace(people, embeddings=np.concatenate([there, -there]))
    with SqliteStore.create(tmp_path / "a.fdps", model_hash=MODEL, dim=DIM) as store:
        store.add(frame_scene(0), opposite)
        with store._transaction():
            store._connection.executemany("INSERT INTO tracks VALUES (?, 1)", [(1,), (2,)])
        ((found,),) = store.search_appearances(opposite.embeddings[:1], top=5)
        assert (found.similarity, found.items, found.best.item) == (0.0, (1, 2), 1)


def test_removing_a_member_keeps_the_rest(store: SqliteStore) -> None:
    query = unit_rows(np.random.default_rng(1), 1, DIM)
    (before,) = store.search_appearances(query, top=1000)
    whole = max(before, key=len)
    assert len(whole) > 3
    gone = whole.items[0]  # also where it gave the track its number
    store.remove(items=[gone])
    (after,) = store.search_appearances(query, top=1000)
    assert whole.items[1:] in [a.items for a in after]
    assert [(a.similarity, list(a.items)) for a in after] == [
        (pytest.approx(s, abs=1e-12), items)
        for s, items in pooled_by_hand(store, query[0], EVERYBODY)
    ]
    n_tracked = "SELECT count(*) FROM tracks"
    assert store._connection.execute(n_tracked).fetchone() == (3 * N_FRAMES - 1,)
    store.remove(scenes=[frame_scene(n).name for n in range(N_FRAMES)])
    assert store._connection.execute(n_tracked).fetchone() == (0,)
    assert store.search_appearances(query, top=5) == [[]]


def test_damaged_embeddings_are_named_not_linked(store: SqliteStore) -> None:
    store._connection.execute("UPDATE people SET embedding = x'00' WHERE id = 5")
    with pytest.raises(ArchiveError, match=f"an embedding has not {DIM} numbers"):
        store.link("a" * 64)


def test_an_open_store_sees_new_tracks(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    query = unit_rows(np.random.default_rng(1), 1, DIM)
    with SqliteStore(store.folder or Path()) as reader:
        (before,) = reader.search_appearances(query, top=1000)
        # As if nobody but people had ever been looked at: linking alone has to be noticed.
        monkeypatch.setattr(matrix.EmbeddingMatrix, "refresh", lambda *_: False)
        store.link("a" * 64)
        (after,) = reader.search_appearances(query, top=1000)
        again = {a.items for a in reader.search_appearances(query, top=1000)[0]}
    assert {a.items for a in before} != {a.items for a in after} == again
    tracks = store._connection.execute("SELECT item, track FROM tracks").fetchall()
    assert {frozenset(a.items) for a in after if len(a) > 1} == {
        frozenset(item for item, track in tracks if track == name) for _, name in tracks
    }


def test_unfit_queries_are_refused(store: SqliteStore) -> None:
    with pytest.raises(UsageError, match="top must be at least 1, got 0"):
        store.search_appearances(unit_rows(np.random.default_rng(0), 1, DIM), top=0)
    with pytest.raises(UsageError, match="embeddings must have"):
        store.search_appearances(np.ones((1, DIM), dtype=np.float32), top=1)


# From videos.


def write_walks(folder: Path, n_videos: int = 1) -> None:
    """Two people who cross, ten frames a second; the second leaves for six seconds in between."""
    for number in range(n_videos):
        frames = walking_frames(
            120 + number,
            {0: lambda n: n, 3: lambda n: 130 - n if n < 20 or n >= 80 else None},
        )
        write_video(folder / f"{number}.mp4", frames)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "walk.fdps", ColourEmbedder()) as index:
        yield index


def found_in(index: Index, **options: object) -> list[Appearance]:
    query = unit_rows(np.random.default_rng(0), 1)[0]
    return index.search_appearances(query, 1000, **options)  # type: ignore[arg-type]


def intervals(index: Index) -> list[tuple[str, float | None, float | None, int]]:
    return sorted(
        (Path(a.first.path).name, a.first.offset_s, a.last.offset_s, len(a))
        for a in found_in(index)
    )


WALKS = [("0.mp4", 0.0, 1.5, 4), ("0.mp4", 0.0, 11.5, 24), ("0.mp4", 8.0, 11.5, 8)]


@pytest.mark.long
def test_people_of_a_video_are_linked_when_it_is_finished(index: Index, tmp_path: Path) -> None:
    write_walks(tmp_path / "in")
    index.add(tmp_path / "in", time_from="name:%Y", camera="gate")
    assert intervals(index) == WALKS
    for appearance in found_in(index):
        assert appearance.first.camera == "gate"
        assert appearance.items == tuple(sorted(appearance.items))


@pytest.mark.long
def test_people_of_two_videos_are_never_linked(index: Index, tmp_path: Path) -> None:
    write_walks(tmp_path / "in", 2)
    index.add(tmp_path / "in")
    assert len(found_in(index)) == 6
    for appearance in found_in(index):
        assert appearance.first.path == appearance.last.path


@pytest.mark.long
def test_the_track_of_somebody_is_a_query(index: Index, tmp_path: Path) -> None:
    write_walks(tmp_path / "in")
    write_photos(tmp_path / "in", 1)
    index.add(tmp_path / "in")
    before, after = sorted(
        (a for a in found_in(index) if len(a) in (4, 8)), key=lambda a: a.first.offset_s or 0.0
    )
    track = index.track(before.items[2])
    assert tuple(person.item for person in track) == before.items
    (best, *others) = index.search_appearances(track)
    assert best.items == after.items
    assert not {item for a in others for item in a.items} & set(before.items)
    pooled = np.sum([person.embedding for person in track], axis=0, dtype=np.float64)
    pooled /= np.linalg.norm(pooled)
    rows = [person.embedding for item in after.items for person in [index.person(item)]]
    mean = np.sum(rows, axis=0, dtype=np.float64)
    of_means = float(pooled @ mean / np.linalg.norm(mean))
    length = np.linalg.norm(np.mean([person.embedding for person in track], axis=0))
    assert best.similarity == pytest.approx(of_means * length, abs=1e-6)
    picture = next(a for a in found_in(index) if a.first.offset_s is None)
    assert [person.item for person in index.track(picture.best.item)] == [picture.best.item]
    with pytest.raises(UsageError, match="nobody in the archive has number 999"):
        index.track(999)
    with pytest.raises(UsageError, match="top must be at least 1"):
        index.search_appearances(track, 0)


@pytest.mark.long
def test_others_are_looked_away_from(index: Index, tmp_path: Path) -> None:
    write_walks(tmp_path / "in")
    index.add(tmp_path / "in")
    by_length = {len(a): a for a in found_in(index)}
    crosser, walker = index.track(by_length[4].items[0]), index.track(by_length[24].items[0])
    (plain, *_) = index.search_appearances(crosser)
    (away,) = index.search_appearances(crosser, unlike=walker)
    assert plain.items == away.items == by_length[8].items
    rows = [index.person(item).embedding.astype(np.float64) for item in away.items]
    mean = np.mean(rows, axis=0) / np.linalg.norm(np.mean(rows, axis=0))
    like, unlike = (np.mean([p.embedding for p in t], axis=0) for t in (crosser, walker))
    assert away.similarity == pytest.approx(float(mean @ (like - 0.5 * unlike)), abs=1e-6)


@pytest.mark.long
def test_more_frames_link_the_video_anew(index: Index, tmp_path: Path) -> None:
    write_walks(tmp_path / "in")
    index.add(tmp_path / "in", every="10s")  # too far apart to link
    assert {len(a) for a in found_in(index)} == {1}
    index.add(tmp_path / "in", every="0.5s")
    assert intervals(index) == WALKS
    with Index.create(tmp_path / "other.fdps", ColourEmbedder()) as other:
        other.add(tmp_path / "in", every="0.5s")
        assert intervals(other) == WALKS
    n_members = [len(a) for a in found_in(index)]
    index.add(tmp_path / "in", every="0.1s")
    assert sum(map(len, found_in(index))) > 4 * sum(n_members)
    assert len(found_in(index)) == 3


@pytest.mark.long
@pytest.mark.parametrize(
    "where", ["in the transaction that links", "between linking and finishing"]
)
def test_killed_while_linking(tmp_path: Path, where: str) -> None:
    write_walks(tmp_path / "in")
    folder = tmp_path / "event.fdps"
    told, tell = pipe()
    with running(
        index_until_linking, folder, tmp_path / "in", where.startswith("in"), tell
    ) as task:
        assert told.poll(20)
        assert told.recv() == "here"
        assert task.pid
        os.kill(task.pid, signal.SIGKILL)
        task.join()
    with closing(sqlite3.connect(folder / "index.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with Index.open(folder, ColourEmbedder()) as index:
        assert index.n_scenes == 24
        is_linked = where.startswith("between")
        assert intervals(index) == WALKS if is_linked else {len(a) for a in found_in(index)} == {1}
        index.add(tmp_path / "in")
        assert intervals(index) == WALKS
        with Index.create(tmp_path / "clean.fdps", ColourEmbedder()) as clean:
            clean.add(tmp_path / "in")
            assert listed(found_in(index)) == listed(found_in(clean))


def listed(found: list[Appearance]) -> list[tuple[object, ...]]:
    return [(a.similarity, a.items, a.first, a.last, a.best.item) for a in found]


@pytest.mark.long
def test_a_torn_video_is_linked_as_far_as_it_goes(index: Index, tmp_path: Path) -> None:
    walk = walking_frames(60, {0: lambda n: n})
    path = write_video(tmp_path / "in/clip.mp4", walk, options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (skipped,) = index.add(tmp_path / "in", every="0.5s").skipped
    assert "frames of it are in the archive" in skipped.reason
    (appearance,) = found_in(index)
    assert len(appearance) == len(index) > 2


def test_a_person_of_a_picture_is_an_appearance(index: Index, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 5)
    index.add(tmp_path / "in")
    hits = index.search(unit_rows(np.random.default_rng(0), 1)[0], 1000)
    found = found_in(index)
    assert [a.best.item for a in found] == [hit.item for hit in hits]
    assert [a.similarity for a in found] == [hit.similarity for hit in hits]
    assert all(a.items == (a.best.item,) and a.first == a.last for a in found)
    least = found[3].similarity
    assert len(found_in(index, min_similarity=least)) == 4


@pytest.mark.long
def test_nothing_of_an_erased_member_stays(index: Index, tmp_path: Path) -> None:
    write_walks(tmp_path / "in")
    index.add(tmp_path / "in")
    whole = max(found_in(index), key=len)
    folder = index.folder
    assert folder
    with closing(sqlite3.connect(folder / "index.sqlite")) as connection:
        rows = [
            np.frombuffer(blob, "<f4")
            for (blob,) in connection.execute(
                f"SELECT embedding FROM people WHERE id IN {whole.items}"
            )
        ]
    pooled = np.sum(rows, axis=0)
    pooled = (pooled / np.linalg.norm(pooled)).astype("<f4").tobytes()
    files = [path.read_bytes() for path in folder.iterdir()]
    assert any(rows[0].tobytes() in content for content in files)
    assert not any(pooled in content for content in files)
    index.remove(items=whole.items[:5])
    assert whole.items[5:] in [a.items for a in found_in(index)]


def test_several_pictures_and_others_are_one_question(store: SqliteStore) -> None:
    rng = np.random.default_rng(11)
    like, unlike = unit_rows(rng, 2, DIM), unit_rows(rng, 1, DIM)
    total = like.astype(np.float64).mean(axis=0) - 0.5 * unlike[0]
    length = float(np.linalg.norm(total))
    expected = pooled_by_hand(store, (total / length).astype(np.float32), EVERYBODY)[:10]
    found = Index(store).search_appearances(list(like), 10, unlike=list(unlike))
    assert [list(appearance.items) for appearance in found] == [items for _, items in expected]
    np.testing.assert_allclose(
        [appearance.similarity for appearance in found],
        [length * similarity for similarity, _ in expected],
        atol=1e-6,
    )
    best = found[0].best
    embedding = Index(store).person(best.item).embedding.astype(np.float64)
    assert best.similarity == pytest.approx(float(embedding @ total), abs=1e-6)


def test_appearances_of_the_question_are_no_results(store: SqliteStore) -> None:
    index = Index(store)
    like, unlike = index.person(5), index.person(90)
    everything = index.search_appearances(like.embedding, 1000, unlike=[unlike.embedding])
    expected = [found.items for found in everything if not {5, 90} & set(found.items)]
    found = index.search_appearances(like, 1000, unlike=[unlike])
    assert [appearance.items for appearance in found] == expected
    assert len(everything) - len(expected) == 2
    assert len(index.search_appearances(like, 3, unlike=[unlike])) == 3
