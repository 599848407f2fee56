"""What is in an archive stays until its successor is whole, and follows its file."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.photos import unit_rows, write_photos
from fake.videos import people_frames, write_video
from fdps.search import Index
from fdps.search.care.verify import verify
from fdps.search.sqlite.store import SqliteStore
from fdps.structures import Detections, Picture


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "event.fdps", ColourEmbedder()) as index:
        yield index


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "in/clip.mp4", people_frames(20), keyframe_every=5)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "in", 3)
    return tmp_path / "in"


def contents(index: Index) -> list[tuple[object, ...]]:
    """Every scene with its people, as they are stored."""
    return [
        (
            scene,
            [(p.item, p.box.tolist(), p.embedding.tolist()) for p in index.people_in(scene.name)],
        )
        for scene in index.store.find_all()
    ]


def is_whole(index: Index) -> bool:
    assert index.folder
    return not verify(index.folder).faults


@pytest.mark.long
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("size", [0, 300, 0.5])
def test_a_damaged_video_takes_nothing_away(
    index: Index, clip: Path, again: bool, size: float
) -> None:
    index.add(clip, every="0.5s")
    before = contents(index)
    other = write_video(clip.with_name("other.mp4"), people_frames(12, seed=3)).read_bytes()
    clip.with_name("other.mp4").unlink()
    clip.write_bytes(other[: int(size * len(other)) if size < 1 else int(size)])
    for _ in range(2):
        summary = index.add(clip, every="0.5s", again=again)
        (skipped,) = summary.skipped
        assert skipped.reason.endswith("; the archive keeps its earlier state")
        assert (summary.n_added, summary.n_known) == (0, 0)
        assert contents(index) == before


@pytest.mark.long
def test_a_damaged_picture_takes_nothing_away(index: Index, photos: Path) -> None:
    index.add(photos)
    before = contents(index)
    (photos / "001.png").write_bytes((photos / "001.png").read_bytes()[:-40])
    summary = index.add(photos)
    assert [file.reason.endswith("keeps its earlier state") for file in summary.skipped] == [True]
    assert contents(index) == before


class StoppedError(Exception):
    pass


class FailsAt(ColourEmbedder):
    """Looks at so many frames, and no more."""

    def __init__(self, n_frames: int) -> None:
        super().__init__()
        self.n_left = n_frames

    def detect(self, image: Picture) -> Detections:
        if not self.n_left:
            raise StoppedError
        self.n_left -= 1
        return super().detect(image)


@pytest.mark.long
@pytest.mark.parametrize("n_frames", [0, 2, 3, 5])
@pytest.mark.parametrize("again", [False, True])
def test_every_scene_is_old_or_new_wherever_it_stops(
    tmp_path: Path, photos: Path, clip: Path, n_frames: int, again: bool
) -> None:
    with Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index:
        index.add(photos, every="0.5s")
        old = {str(scene): people for scene, people in contents(index)}
    if not again:
        write_photos(photos, 3, seed=8)
        write_video(clip, people_frames(15, seed=8))
    with (
        Index.open(tmp_path / "a.fdps", FailsAt(n_frames)) as index,
        pytest.raises(StoppedError),
    ):
        index.add(photos, every="0.5s", again=again)
    with Index.open(tmp_path / "a.fdps", ColourEmbedder()) as index:
        there = {str(scene): people for scene, people in contents(index)}
        index.add(photos, every="0.5s", again=again)
        new = {str(scene): people for scene, people in contents(index)}
        assert is_whole(index)
    with Index.create(tmp_path / "clean.fdps", ColourEmbedder()) as clean:
        clean.add(photos, every="0.5s")
        assert set(new) == {str(scene) for scene, _ in contents(clean)}
    assert set(there) <= set(old) | set(new)
    of_clip = {scene for scene in there if "clip.mp4" in scene}
    assert of_clip in ({s for s in old if "clip.mp4" in s}, {s for s in new if "clip.mp4" in s})
    assert len({scene for scene in there if "png" in scene}) == 3
    if again:
        assert set(there) == set(old)


@pytest.mark.long
@pytest.mark.parametrize("step", ["delete", "insert 1", "insert 2", "commit"])
def test_a_full_disk_at_any_step_keeps_all(
    index: Index, clip: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add(clip, every="0.5s")
    before = contents(index)
    store = index.store
    assert isinstance(store, SqliteStore)
    triggers = {
        "delete": "BEFORE DELETE ON scenes",
        "insert 1": "BEFORE INSERT ON scenes",
        "insert 2": "BEFORE INSERT ON people WHEN (SELECT count(*) FROM scenes) > 1",
        "commit": "BEFORE UPDATE OF seal ON scenes",
    }
    with store.reading() as connection:
        connection.execute(
            f"CREATE TEMP TRIGGER full {triggers[step]} BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    write_video(clip, people_frames(15, seed=8))
    with pytest.raises(Exception, match="full"):
        index.add(clip, every="0.5s")
    assert contents(index) == before


@pytest.mark.long
def test_a_picture_that_became_a_video_is_kept_and_named(index: Index, photos: Path) -> None:
    path = photos / "000.png"
    index.add(path)
    before = contents(index)
    shutil.move(write_video(photos / "clip.mp4", people_frames(20)), path)
    (skipped,) = index.add(path).skipped
    assert skipped.reason.endswith("keeps its earlier state")
    assert contents(index) == before


@pytest.mark.long
def test_scenes_follow_a_folder_that_was_renamed(index: Index, photos: Path, clip: Path) -> None:
    index.add(photos, every="0.5s", camera="gate")
    before = contents(index)
    moved = photos.rename(photos.parent / "there")
    summary = index.add(moved, every="0.5s")
    assert (summary.n_moved, summary.n_added, summary.n_known, summary.skipped) == (4, 0, 0, ())
    assert contents(index) == [
        (
            replace(
                scene,
                path=scene.path.replace("/in/", "/there/"),
                name=scene.name.replace("in/", "there/"),
            ),
            people,
        )
        for scene, people in before
    ]
    assert is_whole(index)
    assert index.add(moved, every="0.5s").n_known == 4
    again = index.add(moved.rename(photos), every="0.5s", again=True)
    assert (again.n_moved, again.n_replaced) == (4, index.n_scenes)


def test_a_copy_is_the_same_content(index: Index, photos: Path) -> None:
    index.add(photos)
    shutil.copytree(photos, photos.parent / "copy")
    before = contents(index)
    summary = index.add(photos.parent / "copy")
    assert [f.reason for f in summary.skipped] == [
        f"same content as in/00{n}.png" for n in range(3)
    ]
    assert contents(index) == before


@pytest.mark.long
def test_files_that_changed_names_with_each_other(index: Index, photos: Path) -> None:
    index.add(photos)
    (photos / "000.png").rename(photos / "x")
    (photos / "001.png").rename(photos / "000.png")
    (photos / "x").rename(photos / "001.png")
    index.add(photos)
    assert index.add(photos).n_known == 3
    assert index.n_scenes == 3
    assert is_whole(index)
    for path in photos.glob("*.png"):
        scene = index.store.find(path=str(path))
        assert scene
        assert scene.name == f"in/{path.name}"


def test_a_file_moves_onto_another(index: Index, photos: Path) -> None:
    index.add(photos)
    (photos / "002.png").replace(photos / "001.png")
    summary = index.add(photos)
    assert (summary.n_moved, summary.n_known, index.n_scenes) == (1, 1, 2)


@pytest.mark.long
def test_names_at_the_new_place_stay_unique(index: Index, photos: Path) -> None:
    index.add(photos / "000.png")
    other = photos.parent / "disk/in"
    other.mkdir(parents=True)
    shutil.copy(photos / "001.png", other / "000.png")
    index.add(photos.parent / "disk/in")
    names = {scene.name for scene in index.store.find_all()}
    (other / "000.png").rename(other / "z.png")
    index.add(photos.parent / "disk/in")
    assert {scene.name for scene in index.store.find_all()} == {"in/000.png", "in/z.png"}
    assert len(names) == 2


def test_a_filter_by_name_follows_too(index: Index, photos: Path) -> None:
    index.add(photos)
    query = unit_rows(np.random.default_rng(0), 1)[0]
    assert index.search(query, scenes="in/*")
    moved = photos.rename(photos.parent / "there")
    index.add(moved)
    assert not index.search(query, scenes="in/*")
    assert index.search(query, scenes="there/*")


@pytest.mark.parametrize(
    "name", ["gruppe\udce9.png", "a[1].png", "zwei\nzeilen.png", "100%_#@.png"]
)
def test_names_of_any_bytes_are_indexed_and_found(index: Index, photos: Path, name: str) -> None:
    (photos / "000.png").rename(photos / name)
    summary = index.add(photos)
    assert (summary.n_added, summary.skipped) == (3, ())
    assert index.add(photos).n_known == 3
    (photos / name).rename(photos / "plain.png")
    assert index.add(photos).n_moved == 1
