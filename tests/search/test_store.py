"""What every store promises, wherever it keeps the archive."""

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fake.photos import unit_rows
from fake.stores import (
    DIM,
    MODEL,
    SCENES,
    Archive,
    Place,
    brute_force,
    hour,
    listed,
    people_of,
    scene,
    without_items,
)
from fdps.errors import ArchiveError, MissingDataError, UsageError
from fdps.search import Filters, SceneRecord, Store
from fdps.search.care.selection import chosen_scenes
from fdps.search.open_store import open_store
from fdps.search.results.claims import Emptied, emptied_by


@pytest.fixture
def store(archive: Archive) -> Store:
    return archive.open()


@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        (Filters(), lambda scene, box: True),
        (Filters(cameras=("hall",)), lambda scene, box: scene.camera == "hall"),
        (Filters(cameras=("hall", "gate")), lambda scene, box: True),
        (Filters(scenes="photos/00*"), lambda scene, box: scene.name < "photos/01"),
        (Filters(scenes="*/0[01][0-3].p?g"), lambda scene, box: scene.name[-5] < "4"),
        (Filters(scenes="photos/00_.png"), lambda scene, box: False),  # no wildcards here
        (Filters(scenes="photos/00%"), lambda scene, box: False),
        (Filters(scenes="PHOTOS/*"), lambda scene, box: False),
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
        (Filters(before="2026-05-02T03:00:00Z"), lambda s, box: s.time and hour(s) < 5),
        (Filters(time_of_day="17:00-02:30"), lambda s, box: s.time and hour(s) not in range(2, 17)),
        (Filters(time_of_day="02:30-03:30"), lambda scene, box: scene.time and hour(scene) == 2),
        (Filters(source="/disk/*/01?.png"), lambda scene, box: "/01" in scene.path),
        (
            Filters(scenes="*[05].png", source="/disk/*/00[0-4].png"),
            lambda scene, box: scene.name == "photos/000.png",
        ),
    ],
)
def test_search_equals_brute_force(
    unchanging: Store, filters: Filters, keep: Callable[[SceneRecord, np.ndarray], bool]
) -> None:
    queries = unit_rows(np.random.default_rng(99), 4)
    for top in (1, 5, 1000):
        found = unchanging.search(queries, top=top, filters=filters)
        assert [without_items(hits) for hits in found] == [
            brute_force(query, top, keep) for query in queries
        ]
    assert unchanging.count(filters) == len(brute_force(queries[0], 1000, keep))


def test_the_filter_that_leaves_nobody(unchanging: Store) -> None:
    n_at_gate = unchanging.count(Filters(("gate",)))
    for filters, emptied in (
        (Filters(("gate",)), None),
        (Filters(("nope",), min_height=1.0), Emptied("cameras", ("nope",), (), len(unchanging))),
        (
            Filters(("gate",), after="2030-01-01", source="*"),
            Emptied("after", "2030-01-01", ("cameras",), n_at_gate),
        ),
    ):
        assert emptied_by(unchanging, filters) == emptied


def test_frames_of_one_file_are_scenes_of_their_own(store: Store) -> None:
    frames = [
        replace(scene(0), name=f"clip@{n}", path="/clip", sha256="c" * 64, frame=n, offset_s=n / 2)
        for n in range(3)
    ]
    for frame in frames:
        store.add(frame, people_of(3))
    assert store.find_all(path="/clip") == store.find_all(sha256="c" * 64) == frames
    with pytest.raises(ArchiveError, match="another scene"):
        store.add(replace(frames[0], path="/copy", name="copy@0"), people_of(1))
    store.add(replace(frames[1], camera="new"), people_of(1))
    assert [frame.camera for frame in store.find_all(path="/clip")] == ["gate", "gate", "new"]
    assert not store.is_finished("c" * 64, "0.5s")
    store.finish("c" * 64, "0.5s")
    store.finish("c" * 64, "0.5s")
    assert store.is_finished("c" * 64, "0.5s")
    assert not store.is_finished("c" * 64, "1s")
    store.remove(scenes=["clip@2"])
    assert not store.is_finished("c" * 64, "0.5s")
    assert store.find_all(path="/nowhere") == []


def test_what_goes_in_comes_out_after_opening_again(archive: Archive, store: Store) -> None:
    people = people_of(7)
    other_store = archive.open()
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
    assert other_store.find(path=scene(7).path) == scene(7)
    assert other_store.find(name=scene(7).name, sha256=scene(8).sha256) is None


def test_the_stamp_says_which_model(unchanging: Store) -> None:
    info = unchanging.info
    assert (info.model_hash, info.dim, info.model) == (MODEL, DIM, "runs/x")
    assert info.format_version >= 1


@pytest.mark.parametrize("text", ['a "b" \\ c', "o'clock 50%_[x]", "день\t✓", "two\nlines"])
def test_names_and_cameras_of_any_letters(place: Place, text: str) -> None:
    _, store = place.create()
    odd = SceneRecord(f"{text}/1", f"/{text}/1", "0" * 64, 9, 9, text)
    store.add(odd, people_of(3))
    store.add(replace(odd, name="b", path="/b", sha256="1" * 64, camera=None), people_of(2))
    store.add(replace(odd, name="c", path="/c", sha256="2" * 64, camera=""), people_of(1))
    query = unit_rows(np.random.default_rng(0), 1)

    def found(filters: Filters) -> set[str]:
        (hits,) = store.search(query, top=100, filters=filters)
        return {hit.scene for hit in hits}

    assert store.find(name=odd.name) == store.find(path=odd.path) == odd
    assert found(Filters(cameras=(text,))) == {odd.name}
    assert found(Filters(cameras=("",))) == {"c"}
    assert found(Filters(scenes="[^bc]*")) == {odd.name}
    assert found(Filters(scenes="*/1")) == {odd.name}
    assert found(Filters(scenes=f"{text.replace('[', '[[]')}/?")) == {odd.name}
    store.close()


def test_equal_similarities_come_by_item_also_at_the_cut(place: Place) -> None:
    _, store = place.create()
    twins = replace(people_of(3), embeddings=unit_rows(np.random.default_rng(1), 1).repeat(3, 0))
    with store.writing():
        for number in range(30):
            store.add(scene(number), twins)
    (everybody,) = store.search(twins.embeddings[:1], top=1000)
    assert len({hit.similarity for hit in everybody}) == 1
    items = [hit.item for hit in everybody]
    assert items == sorted(set(items))
    (first,) = store.search(twins.embeddings[:1], top=7)
    assert listed(first) == listed(everybody[:7])
    store.close()


def test_differences_below_float32_decide(place: Place) -> None:
    _, store = place.create()
    near = np.zeros((2, DIM), dtype=np.float32)
    near[:, 0], near[1, 1] = 1, 2**-13  # products with the query differ by 2**-26
    person = people_of(1)
    for number, embedding in enumerate(near):
        store.add(scene(number), replace(person, embeddings=embedding[np.newaxis]))
    (hits,) = store.search(near[1:], top=1)
    assert [hit.scene for hit in hits] == [scene(1).name]
    store.close()


def test_an_open_store_sees_what_others_add_and_remove(archive: Archive, store: Store) -> None:
    query = unit_rows(np.random.default_rng(5), 1)
    reader = archive.open()
    before = listed(reader.search(query, top=1000)[0])
    store.add(scene(SCENES), people_of(7))
    added = listed(reader.search(query, top=1000)[0])
    assert len(added) == len(before) + 3
    store.remove(scenes=[scene(SCENES).name])
    assert listed(reader.search(query, top=1000)[0]) == before
    assert listed(store.search(query, top=1000)[0]) == before


def test_remove_erases_scenes_and_people(store: Store) -> None:
    gone = people_of(7).embeddings
    (first, *_), *_ = store.search(gone[:1], top=1)
    n_before = len(store)
    assert store.remove(scenes=[scene(11).name, "no such scene"], items=[first.item, 10**6]) == 4
    assert (len(store), store.n_scenes) == (n_before - 4, SCENES - 1)
    assert store.find(name=scene(11).name) is None
    assert store.find(name=scene(7).name) == scene(7)  # the picture stays, its person is gone
    (hits,) = store.search(gone[:1], top=1000)
    assert len(hits) == n_before - 4
    assert first.item not in [hit.item for hit in hits]
    assert scene(11).name not in [hit.scene for hit in hits]
    assert store.remove(scenes=[scene(11).name], items=[first.item]) == 0


def test_items_are_not_used_again(archive: Archive, store: Store) -> None:
    query = people_of(19).embeddings[:1]
    last = max(hit.item for hit in store.search(query, top=1000)[0])
    store.remove(scenes=[scene(19).name])
    other = archive.open()
    other.add(scene(19), people_of(19))
    assert other.search(query, top=1)[0][0].item > last


def test_a_changed_file_replaces_its_scene(store: Store) -> None:
    n_before = len(store)
    store.add(replace(scene(7), sha256="f" * 64), people_of(1))
    assert len(store) == n_before - 3 + 1
    assert store.n_scenes == SCENES
    assert store.find(sha256=scene(7).sha256) is None
    (hits,) = store.search(people_of(7).embeddings[:1], top=1000)
    assert len(hits) == len(store)
    assert [hit.scene for hit in hits].count(scene(7).name) == 1


@pytest.mark.parametrize("taken", ["name", "sha256"])
def test_two_scenes_do_not_share(store: Store, taken: str) -> None:
    fresh, n_before = scene(SCENES), len(store)
    clashing = replace(fresh, **{taken: getattr(scene(3), taken)})
    with pytest.raises(ArchiveError, match="another scene of this name or content"):
        store.add(clashing, people_of(7))
    assert (len(store), store.n_scenes) == (n_before, SCENES)  # nothing half-written
    (hits,) = store.search(people_of(7).embeddings[:1], top=1000)
    assert len(hits) == n_before


@pytest.mark.parametrize(
    "embeddings",
    [
        np.ones((1, DIM), dtype=np.float32),  # not of unit length
        np.eye(1, DIM + 1, dtype=np.float32),  # another dimension
        np.full((1, DIM), np.nan, dtype=np.float32),
    ],
)
def test_unfit_embeddings_are_refused(unchanging: Store, embeddings: np.ndarray) -> None:
    with pytest.raises(UsageError, match="embeddings must have"):
        unchanging.search(embeddings, top=1)
    with pytest.raises(UsageError, match="embeddings must have"):
        unchanging.add(scene(50), replace(people_of(1), embeddings=embeddings))


def test_top_below_one_is_refused(unchanging: Store) -> None:
    with pytest.raises(UsageError, match="top must be at least 1, got 0"):
        unchanging.search(unit_rows(np.random.default_rng(0), 1), top=0)


def test_an_empty_archive_finds_nobody(place: Place) -> None:
    _, store = place.create()
    assert store.search(unit_rows(np.random.default_rng(0), 2), top=3) == [[], []]
    assert (len(store), store.n_scenes) == (0, 0)
    assert store.find(name="x") is None
    assert store.remove(scenes=["x"], items=[1]) == 0
    store.close()


def test_a_picture_of_nobody_is_kept(place: Place) -> None:
    _, store = place.create()
    store.add(scene(0), people_of(0))
    assert (len(store), store.n_scenes) == (0, 1)
    assert store.find(sha256=scene(0).sha256) == scene(0)
    store.close()


def test_notes_are_kept(archive: Archive, store: Store) -> None:
    assert store.note("sure") is None
    for text in ("first", "", 'день "x"\n', "ж" * 100_000):
        store.write_note("sure", text)
        store.write_note("other", "else")
        reader = archive.open()
        assert (reader.note("sure"), reader.note("other")) == (text, "else")


def test_creating_twice_is_refused(place: Place, archive: Archive) -> None:
    with pytest.raises(ArchiveError, match="already"):
        place.create(archive.where)


def test_opening_nothing_is_refused(place: Place) -> None:
    with pytest.raises(MissingDataError, match="no archive at"):
        open_store(place.new())


def test_a_second_writer_is_told_who_the_first_is(archive: Archive, store: Store) -> None:
    second = archive.open()
    with store.writing():
        store.add(scene(30), people_of(1))  # the writer itself goes on
        with pytest.raises(ArchiveError, match=f"written by process {os.getpid()} since"):
            second.add(scene(31), people_of(1))
        assert second.find(name=scene(7).name)  # reading goes on
    second.add(scene(31), people_of(1))


def test_closing_twice_is_allowed(store: Store) -> None:
    store.close()
    store.close()


def test_people_by_number_and_by_scene(store: Store) -> None:
    added = people_of(7)
    there = store.people_in(scene(7).name)
    assert len(there) == len(added) == 3
    assert [person.item for person in there] == sorted(person.item for person in there)
    for row, person in enumerate(there):
        assert person.scene == scene(7).name
        np.testing.assert_array_equal(person.box, added.boxes[row])
        np.testing.assert_array_equal(person.embedding, added.embeddings[row])
        assert person.score == pytest.approx(float(added.scores[row]))
    items = [there[2].item, 10**9, there[0].item]
    assert [person.item for person in store.people(items)] == [there[2].item, there[0].item]
    assert (
        store.people([]) == store.people_in("nowhere.png") == store.people_in(scene(4).name) == []
    )
    store.remove(items=[there[0].item])
    assert [person.item for person in store.people_in(scene(7).name)] == [
        person.item for person in there[1:]
    ]
    assert store.people([there[0].item]) == []


def test_a_file_is_replaced_whole(archive: Archive, store: Store) -> None:
    store.finish(scene(7).sha256, "1s")
    new = [
        replace(scene(7), name=f"v@{n}", sha256="f" * 64, frame=n, offset_s=float(n))
        for n in range(3)
    ]
    n_before = len(store)
    store.replace(scene(7).path, [(record, people_of(2)) for record in new])
    assert store.find_all(path=scene(7).path) == new
    assert (store.n_scenes, len(store)) == (SCENES + 2, n_before - 3 + 6)
    assert not store.is_finished(scene(7).sha256, "1s")
    taken = replace(new[0], name=scene(8).name)
    with pytest.raises(ArchiveError, match="another scene"):
        store.replace(scene(7).path, [(new[1], people_of(1)), (taken, people_of(1))])
    assert archive.open().find_all(path=scene(7).path) == new
    assert len(store) == n_before - 3 + 6


def test_scenes_follow_their_file(archive: Archive, store: Store) -> None:
    frames = [
        replace(scene(0), name=f"c@{n}", path="/c", sha256="c" * 64, frame=n) for n in range(3)
    ]
    for number, frame in enumerate(frames):
        store.add(frame, people_of(number))
    n_people = len(store)
    names = {0: "c@1", 1: "c@0", 2: "d"}  # also names that other frames have now
    store.move("c" * 64, scene(7).path, names)
    moved = [replace(f, path=scene(7).path, name=names[f.frame]) for f in frames]
    other = archive.open()
    assert other.find_all(path=scene(7).path) == moved
    assert other.find_all(path="/c") == []
    assert other.find(name=scene(7).name) is None  # the file there is another one now
    assert (len(other), other.n_scenes) == (n_people - 3, SCENES + 2)
    (hit,), *_ = other.search(people_of(2).embeddings[:1], top=1, filters=Filters(scenes="d"))
    assert (hit.scene, hit.box.tolist()) == ("d", people_of(2).boxes[0].tolist())
    with pytest.raises(ArchiveError, match="another scene"):
        store.move("c" * 64, "/e", {0: scene(8).name, 1: "e1", 2: "e2"})
    assert other.find_all(path=scene(7).path) == moved


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("ph/a[1].jpg", ("ph/a1.jpg",)),
        ("ph/*.jpg", ("ph/a1.jpg", "ph/b.jpg")),
        ("ph/?.jpg", ("ph/b.jpg",)),
        ("ph/[ab].jpg", ("ph/a.jpg", "ph/b.jpg")),
        ("ph/100%_a*.jpg", ("ph/100%_ab.jpg",)),
    ],
)
def test_a_name_is_that_scene_and_no_pattern(
    place: Place, name: str, others: tuple[str, ...]
) -> None:
    _, store = place.create()
    for number, text in enumerate((*others, name)):
        record = SceneRecord(text, f"/disk/{text}", f"{number:064x}", 9, 9)
        store.add(record, people_of(1))
    query = unit_rows(np.random.default_rng(0), 1)

    def found(filters: Filters) -> set[str]:
        return {hit.scene for hit in store.search(query, top=100, filters=filters)[0]}

    assert found(Filters(scenes=name)) == found(Filters(source=f"/disk/{name}")) == {name}
    assert chosen_scenes(store, scenes=[name]) == [name]
    store.remove(scenes=[name])
    assert found(Filters(scenes=name)) == set(others)  # now it is a pattern
    assert store.n_scenes == len(others)
    store.close()
