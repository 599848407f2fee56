"""What is in an archive, and which of its scenes are meant."""

from dataclasses import replace

import pytest

from fake.stores import MODEL, SCENES, Archive, people_of, scene
from fdps.errors import UsageError
from fdps.search.care.info import describe
from fdps.search.care.selection import chosen_scenes


def test_every_kind_of_archive_is_counted(archive: Archive) -> None:
    info = describe(archive.open())
    assert (info.n_scenes, info.stamp.model_hash) == (SCENES, MODEL)
    assert info.n_people == sum(len(people_of(number)) for number in range(SCENES))


def test_it_tells_what_is_in_it(archive: Archive) -> None:
    store = archive.open()
    clip = replace(scene(30), name="clip@0", path="/videos/clip.mp4", camera=None, offset_s=0.0)
    store.add(clip, people_of(1))
    contents = describe(store).contents
    assert (contents.n_videos, contents.n_forgotten, contents.retention) == (1, 0, None)
    assert contents.cameras == {"": 1, "gate": 10, "hall": 10}
    assert contents.sources == {"/disk/photos": SCENES, "/videos": 1}
    assert (contents.first, contents.last) == (scene(1).time, scene(19).time)
    assert contents.n_bytes > 50_000
    assert contents.n_entries == 1


def test_every_kind_of_archive_finds_scenes_by_name(archive: Archive) -> None:
    names = [scene(3).name, scene(5).name]
    assert chosen_scenes(archive.open(), scenes=[*names, "photos/none.png"]) == names


def test_scenes_fulfil_every_condition(archive: Archive) -> None:
    store = archive.open()
    conditions = {"cameras": ["gate"], "before": "2026-05-02T09:00:00+02:00", "source": "/disk/*"}
    wanted = [scene(number).name for number in (2, 4, 6, 8)]
    assert chosen_scenes(store, **conditions) == wanted
    assert chosen_scenes(store, scenes=["*00[0-3]*", "*004*"], **conditions) == wanted[:2]
    assert chosen_scenes(store, source="/elsewhere/*") == []


def test_some_condition_is_needed(archive: Archive) -> None:
    with pytest.raises(UsageError, match="no scene is named"):
        chosen_scenes(archive.open())
