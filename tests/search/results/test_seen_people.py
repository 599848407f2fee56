"""Who of an archive is seen most often: counted by hand, in pictures and in a video."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.videos import walking_frames, write_video
from fdps.search import Index, SceneRecord
from fdps.search.open_store import create_store
from fdps.search.results.seen_people import SeenPeople, find_seen_people
from fdps.search.store import Store
from fdps.structures import Detections

DIM = 8
LOOKS = np.eye(4, DIM)
AT = {place: (10.0 + 40 * place, 20.0, 30.0 + 40 * place, 80.0) for place in range(4)}
"""Boxes side by side, none of which touch."""

Person = tuple[int, int]
"""Who, and the place where they stand."""


def archive(
    folder: Path,
    pictures: Sequence[Sequence[Person]],
    *,
    scores: dict[int, float] | None = None,
    noise: float = 0.1,
) -> Store:
    """An archive of pictures 00.png, 01.png … in which these people stand."""
    store = create_store(folder / "a.fdps", model_hash="a" * 64, dim=DIM)
    rng = np.random.default_rng(0)
    with store.writing():
        for number, people in enumerate(pictures):
            name = f"photos/{number:02}.png"
            rows = LOOKS[[who for who, _ in people]] + rng.normal(
                scale=noise, size=(len(people), DIM)
            )
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
            found = Detections(
                boxes=np.array([AT[place] for _, place in people], np.float32).reshape(-1, 4),
                scores=np.array([(scores or {}).get(who, 0.9) for who, _ in people], np.float32),
                embeddings=rows.astype(np.float32).reshape(-1, DIM),
            )
            store.add(SceneRecord(name, f"/disk/{name}", f"{number:064x}", 200, 100), found)
    return store


def who_is(seen: SeenPeople, store: Store) -> list[set[int]]:
    """Those whom each person found consists of."""
    return [
        {
            int(np.argmax(store.people([hit.item])[0].embedding))
            for one in person.appearances
            for hit in one.hits
        }
        for person in seen.people
    ]


def test_those_seen_most_often_come_first(tmp_path: Path) -> None:
    pictures = [[(0, 0), (1, 1)], [(1, 0)], [(1, 2), (2, 0)], [], [(0, 3)], [(1, 1)]]
    store = archive(tmp_path, pictures)
    seen = find_seen_people(store, 2)
    assert who_is(seen, store) == [{1}, {0}]
    assert [person.n_scenes for person in seen.people] == [4, 2]
    assert (seen.n_people, seen.n_sightings, seen.n_appearances) == (3, 7, 7)
    assert [scene.name for scene in seen.scenes] == [f"photos/{k:02}.png" for k in range(6)]
    assert len(seen.strangers) == 2
    first = seen.people[0]
    assert [one.hits[0].scene[-6:] for one in first.appearances] == [
        *("00.png", "01.png", "02.png", "05.png")
    ]
    assert first.key.similarity == pytest.approx(1)
    assert first.key.record is not None
    assert first.least_similarity > seen.min_similarity


def test_a_doubtful_thing_does_not_come_before_people(tmp_path: Path) -> None:
    store = archive(tmp_path, [[(0, 0), (1, 1)]] * 5 + [[(0, 2)]] * 2, scores={0: 0.35})
    assert who_is(find_seen_people(store, 1), store) == [{1}]


def test_similarities_are_those_a_search_would_give(tmp_path: Path) -> None:
    store = archive(tmp_path, [[(0, 0), (1, 1)], [(0, 0)], [(0, 1)]])
    person = find_seen_people(store, 1).people[0]
    (key,) = store.people([person.key.item])
    found = {hit.item: hit.similarity for hit in store.search(key.embedding[None], top=9)[0]}
    for appearance in person.appearances:
        assert appearance.pooled == pytest.approx(found[appearance.best.item], abs=1e-6)
        assert appearance.best.similarity == pytest.approx(found[appearance.best.item], abs=1e-6)
        assert appearance.as_found.items == (appearance.best.item,)
    rows = np.array([store.people([one.best.item])[0].embedding for one in person.appearances])
    mean = ((rows @ rows.T).sum(axis=1) - 1) / 2  # with the two others
    assert [one.similarity for one in person.appearances] == pytest.approx(mean.tolist(), abs=1e-5)


def test_twins_in_one_picture_are_two_people(tmp_path: Path) -> None:
    store = archive(tmp_path, [[(0, 0), (0, 3)], [(0, 0), (0, 3)]], noise=0.01)
    seen = find_seen_people(store, 4)
    assert [len(person.appearances) for person in seen.people] == [2, 2]
    assert len(seen.strangers) == 2
    assert (seen.strangers > 0.9).all()


def test_two_boxes_on_one_person_are_not_two_people(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(AT, 1, (12.0, 20.0, 28.0, 50.0))  # the upper half of who stands at 0
    store = archive(tmp_path, [[(0, 0), (0, 1)], [(0, 0)]], noise=0.01)
    seen = find_seen_people(store, 4)
    assert [person.n_scenes for person in seen.people] == [2]
    assert not len(seen.strangers)


def test_whoever_is_nearly_alike_stays_open(tmp_path: Path, monkeypatch) -> None:
    between = LOOKS[0] * 0.46 + LOOKS[3] * np.sqrt(1 - 0.46**2)
    monkeypatch.setitem(globals(), "LOOKS", np.stack([LOOKS[0], LOOKS[1], between]))
    store = archive(tmp_path, [[(0, 0)], [(0, 1)], [(2, 2)], [(1, 1)]], noise=0.001)
    person = find_seen_people(store, 1).people[0]
    assert [one.best.scene[-6:] for one in person.perhaps] == ["02.png"]
    assert person.perhaps[0].similarity == pytest.approx(0.46, abs=0.01)


def test_what_stays_at_one_place_comes_after_people(tmp_path: Path) -> None:
    pictures = [[(0, 0), (1, 1 + number % 3)][: 2 - number % 2] for number in range(40)]
    store = archive(tmp_path, pictures)
    seen = find_seen_people(store, 1)
    assert who_is(seen, store) == [{1}, {0}]
    assert [person.stays for person in seen.people] == [False, True]


def test_an_archive_without_anybody(tmp_path: Path) -> None:
    seen = find_seen_people(archive(tmp_path, [[], []]), 3)
    assert (seen.people, seen.n_people, seen.n_sightings, len(seen.scenes)) == ((), 0, 0, 2)


def test_it_is_noted_in_the_audit(tmp_path: Path) -> None:
    from fdps.search.audit import entries
    from fdps.search.sqlite.store import SqliteStore

    store = archive(tmp_path, [[(0, 0)], [(0, 1)]])
    seen = find_seen_people(store, 1)
    assert isinstance(store, SqliteStore)
    with store.reading() as connection:
        (entry,) = entries(connection, last=1)
    assert entry.action == "search"
    assert f'"items": [{seen.people[0].key.item}]' in entry.details


@pytest.mark.long
def test_a_walk_through_a_video_is_one_appearance(tmp_path: Path) -> None:
    walks = {
        0: lambda n: 5 + 8 * n if n < 12 else (5 + 8 * (n - 25) if n >= 25 else None),
        3: lambda n: 130 - 8 * n if n < 12 else None,
    }
    write_video(
        tmp_path / "clip.mp4", walking_frames(36, walks), times_ms=[400 * k for k in range(36)]
    )
    with Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index:
        index.add(tmp_path / "clip.mp4", every="1f")
        seen = find_seen_people(index.store, 2)
    assert seen.n_people == 2
    first = seen.people[0]
    assert len(first.appearances) >= 2  # gone for five seconds
    assert [one.as_found.first.frame for one in first.appearances] == sorted(
        one.as_found.first.frame for one in first.appearances
    )
    assert max(len(one.hits) for one in first.appearances) > 5
    assert len(seen.strangers) >= 1
