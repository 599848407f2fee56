"""A model labels pictures and videos, and what it says is what is read back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.photos import write_photos
from fake.runs import write_scenes
from fake.videos import people_frames, write_video
from fdps.data import load_scenes
from fdps.data.identities import concatenate
from fdps.data.readers.folder import write_folder
from fdps.data.split_people import split_by_person
from fdps.data.teacher import TEACHER_FILE, read_teacher, write_teacher
from fdps.errors import AnnotationError, DataError, UsageError
from fdps.labelling import Labelled, LabelRules, embed_dataset, has_shards, label_pictures
from fdps.labelling.embed import mean_of_identities
from fdps.pictures import read_picture
from fdps.search import find_pictures
from fdps.structures import Detections, Picture, Scene, SceneSet


class Teacher(ColourEmbedder):
    """Is sure of the first person in a picture, doubts the second and hardly sees the third."""

    def __init__(self) -> None:
        super().__init__()
        self.n_seen = 0

    def detect(self, image: Picture) -> Detections:
        self.n_seen += 1
        people = super().detect(image)
        scores = np.array([0.9, 0.3, 0.1], dtype=np.float32)[: len(people)]
        return Detections(people.boxes[:3], scores, people.embeddings[:3])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_photos(folder, 4, seed=3)
    write_video(folder / "clip.mp4", people_frames(3))
    (folder / "b.jpg").write_bytes(b"no picture")
    return folder


def label(photos: Path, out: Path, teacher: Teacher, stop_at: int = 0, **rules: object) -> Labelled:
    def progress(done: int, total: int) -> None:
        assert 0 < done <= total == 6
        if done == stop_at:
            raise KeyboardInterrupt

    return label_pictures(
        teacher,
        find_pictures(photos, videos=True),
        out,
        rules=LabelRules(every="1f", **rules),  # type: ignore[arg-type]
        name="street",
        about={"model": "colours"},
        progress=progress,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_the_teacher_says_is_read_back(photos: Path, tmp_path: Path) -> None:
    teacher, out = Teacher(), tmp_path / "out"
    result = label(photos, out, teacher, embeddings="float32")
    scenes = load_scenes("folder", out, "train")
    assert (result.n_scenes, len(scenes), scenes.name) == (7, 7, "street/train")
    assert [file.path.name for file in result.skipped] == ["b.jpg"]
    assert "b.jpg" in (out / "skipped.csv").read_text()
    assert scenes.teacher_hash == teacher.model_hash
    assert scenes.teacher_dim == teacher.dim
    n_ignored = 0
    for scene in scenes.scenes:
        assert scene.person_ids.tolist() == [-1] * len(scene.boxes) == [-1]
        assert scene.teacher is not None
        assert np.linalg.norm(scene.teacher, axis=1) == pytest.approx(1)
        n_ignored += 0 if scene.ignored is None else len(scene.ignored)
        if scene.frame is None:  # a video is compressed anew, and a colour may move a little
            people = Teacher().detect(read_picture(scene.path))
            assert np.array_equal(scene.boxes, people.boxes[:1])
            assert np.array_equal(scene.teacher, people.embeddings[:1])
            doubtful = people.boxes[1:2] if len(people) > 1 else None
            assert (scene.ignored is None) == (doubtful is None)
            assert scene.ignored is None or np.array_equal(scene.ignored, doubtful)
    assert n_ignored == result.n_ignored > 0
    frames = [scene for scene in scenes.scenes if scene.frame is not None]
    assert [scene.frame for scene in frames] == [0, 1, 2]
    assert {scene.camera for scene in frames} == {"photos/clip.mp4"}
    scores = [
        row["score"] for row in json.loads((out / "annotations.json").read_text())["annotations"]
    ]
    assert set(scores) == {0.9, 0.3}


@pytest.mark.long
def test_whoever_is_interrupted_goes_on_to_the_same_files(photos: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    label(photos, whole, Teacher())
    first, second = Teacher(), Teacher()
    with pytest.raises(KeyboardInterrupt):
        label(photos, cut, first, stop_at=4)
    assert has_shards(cut)
    assert not (cut / "fdps.toml").exists()
    shards = sorted((cut / ".labels").iterdir())
    shards[0].write_bytes(shards[0].read_bytes()[:-5])  # a disk may lose what it has
    result = label(photos, cut, second)
    assert result.n_known == 3
    assert first.n_seen < 7
    assert second.n_seen < 7
    assert not has_shards(cut)
    ours, theirs = files(cut), files(whole)
    assert ours.keys() == theirs.keys()
    assert ours["annotations.json"] == theirs["annotations.json"]
    assert ours == theirs


@pytest.mark.long
def test_whoever_is_killed_goes_on_to_the_same_files(photos: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    label(photos, whole, Teacher())
    code = (
        "import os, sys; from pathlib import Path; from test_label import Teacher, label\n"
        "class Killed(Teacher):\n"
        "    def detect(self, image):\n"
        "        if self.n_seen == 4: os.kill(os.getpid(), 9)\n"  # in the middle of the video
        "        return super().detect(image)\n"
        "label(Path(sys.argv[1]), Path(sys.argv[2]), Killed())"
    )
    paths = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1], *sys.path)))
    command = [sys.executable, "-c", code, str(photos), str(cut)]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, timeout=60)
    assert ended.returncode == -9
    assert has_shards(cut)
    assert label(photos, cut, Teacher()).n_known > 0
    assert files(cut) == files(whole)


def test_other_rules_look_again(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        label(photos, tmp_path / "out", Teacher(), stop_at=4)
    assert label(photos, tmp_path / "out", Teacher(), sure=0.2, doubtful=0.2).n_ignored == 0


def test_half_precision_is_near(photos: Path, tmp_path: Path) -> None:
    for kind in ("float16", "float32"):
        label(photos, tmp_path / kind, Teacher(), embeddings=kind)
    half, whole = (read_teacher(tmp_path / k / TEACHER_FILE) for k in ("float16", "float32"))
    assert (half.embeddings.dtype, whole.embeddings.dtype) == (np.float16, np.float32)
    assert half.embeddings.astype(np.float32) == pytest.approx(whole.embeddings, abs=1e-3)


def test_nothing_to_read_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match="none of 1 files could be read"):
        label_pictures(Teacher(), find_pictures(tmp_path / "photos"), tmp_path / "out", name="x")


def test_two_files_of_one_name_are_refused_before_anything_is_seen(tmp_path: Path) -> None:
    for place in ("a", "b"):
        write_photos(tmp_path / place / "photos", 1)
    sources, teacher = [tmp_path / "a" / "photos", tmp_path / "b" / "photos"], Teacher()
    with pytest.raises(UsageError, match=r"photos/000\.png"):
        label_pictures(teacher, find_pictures(sources), tmp_path / "out", name="x")
    assert teacher.n_seen == 0


@pytest.mark.parametrize("scores", [(0.5, 0.6), (1.1, 0.2), (0.5, -0.1)])
def test_scores_are_in_order(scores: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="doubtful ≤ sure"):
        LabelRules(sure=scores[0], doubtful=scores[1])


# --- a data set that has boxes


def test_boxes_and_identities_stay(tmp_path: Path) -> None:
    write_scenes(tmp_path / "coco")
    sets = {split: load_scenes("coco", tmp_path / "coco", split) for split in ("test",)}
    result = embed_dataset(Teacher(), sets, tmp_path / "out", name="x", dtype="float32")
    read = load_scenes("folder", tmp_path / "out", "test")
    assert result.n_people == read.n_boxes == 18
    assert len(read.queries) == len(sets["test"].queries) > 0
    for scene, given in zip(read.scenes, sets["test"].scenes, strict=True):
        assert np.array_equal(scene.boxes, given.boxes)
        assert np.array_equal(scene.person_ids, given.person_ids)
        wanted = Teacher().embed(read_picture(given.path), given.boxes)
        assert scene.teacher is not None
        assert np.array_equal(scene.teacher, wanted)


def test_people_of_one_identity_share_its_mean(tmp_path: Path) -> None:
    write_scenes(tmp_path / "coco")
    sets = {"test": load_scenes("coco", tmp_path / "coco", "test")}
    for name, per_identity in (("own", False), ("shared", True)):
        embed_dataset(
            Teacher(),
            sets,
            tmp_path / name,
            name="x",
            dtype="float32",
            per_identity=per_identity,
        )
    own = load_scenes("folder", tmp_path / "own", "test")
    shared = load_scenes("folder", tmp_path / "shared", "test")
    before = np.concatenate([scene.teacher for scene in own.scenes])
    after = np.concatenate([scene.teacher for scene in shared.scenes])
    ids = np.concatenate([scene.person_ids for scene in own.scenes])
    assert len(own.person_ids) > 1
    for person in own.person_ids:
        mean = before[ids == person].sum(axis=0)
        wanted = np.broadcast_to(mean / np.linalg.norm(mean), (np.sum(ids == person), len(mean)))
        assert after[ids == person] == pytest.approx(wanted, abs=1e-6)
    assert np.array_equal(after[ids < 0], before[ids < 0])


def test_a_mean_without_direction_and_people_without_identity_change_nothing() -> None:
    def scene(ids: list[int], rows: list[list[float]]) -> Scene:
        boxes = np.tile(np.array([0.0, 0, 4, 8], np.float32), (len(ids), 1))
        teacher = np.array(rows, np.float32).reshape(-1, 2)
        return Scene("a", Path("a"), boxes, np.array(ids, np.int64), teacher=teacher)

    opposite = [scene([3, -1], [[1, 0], [0, 1]]), scene([], []), scene([3, -1], [[-1, 0], [1, 0]])]
    for old, new in zip(opposite, mean_of_identities(opposite), strict=True):
        assert np.array_equal(old.teacher, new.teacher)


def test_a_set_that_is_divided_keeps_what_the_teacher_said(tmp_path: Path) -> None:
    write_scenes(tmp_path / "coco")
    sets = {"test": load_scenes("coco", tmp_path / "coco", "test")}
    embed_dataset(Teacher(), sets, tmp_path / "out", name="x", dtype="float32")
    whole = load_scenes("folder", tmp_path / "out", "test")
    parts = split_by_person(replace(whole, queries=()), {"a": 1.0, "b": 1.0}, seed=0).parts
    write_folder(tmp_path / "divided", parts, name="x")
    given = {scene.name: scene.teacher for scene in whole.scenes}
    for name in (name for name, part in parts.items() if len(part)):
        part = load_scenes("folder", tmp_path / "divided", name)
        assert part.teacher_hash == whole.teacher_hash
        for scene in part.scenes:
            wanted = given[scene.name]
            assert scene.teacher is not None
            assert wanted is not None
            assert np.array_equal(scene.teacher, wanted)


# --- the file beside the annotations


@pytest.fixture
def labelled(photos: Path, tmp_path: Path) -> Path:
    label(photos, tmp_path / "out", Teacher(), sure=0.2, doubtful=0.2)
    return tmp_path / "out"


def edited(root: Path, change: Callable[[dict[str, list[float]]], None]) -> SceneSet:
    file = root / "annotations.json"
    content = json.loads(file.read_text())
    for row in content["annotations"]:
        change(row)
    file.write_text(json.dumps(content))
    return load_scenes("folder", root, "train")


def test_a_box_that_was_moved_has_no_embedding(labelled: Path) -> None:
    def move(row: dict[str, list[float]]) -> None:
        row["bbox"][0] += 0.4 if row["id"] != 1 else -3  # type: ignore[comparison-overlap]

    scenes = edited(labelled, move)
    known = [~np.isnan(s.teacher).any(axis=1) for s in scenes.scenes if s.teacher is not None]
    assert [len(rows) for rows in known] == [len(s.boxes) for s in scenes.scenes]
    assert not known[0][0]
    assert sum(int(rows.sum()) for rows in known) == scenes.n_boxes - 1


def test_a_cache_keeps_regions_and_embeddings(photos: Path, tmp_path: Path) -> None:
    label(photos, tmp_path / "out", Teacher())
    plain, *cached = (
        load_scenes("folder", tmp_path / "out", "train", cache=cache)
        for cache in (None, tmp_path / "cache", tmp_path / "cache")
    )
    assert list((tmp_path / "cache").iterdir())
    for again in cached:
        assert again.teacher_hash == plain.teacher_hash
        for one, other in zip(plain.scenes, again.scenes, strict=True):
            assert one.teacher is not None
            assert other.teacher is not None
            assert np.array_equal(one.teacher, other.teacher)
            assert (one.ignored is None) == (other.ignored is None)
            assert one.ignored is None or np.array_equal(one.ignored, other.ignored)


def test_sets_of_different_teachers_are_not_mixed(labelled: Path) -> None:
    scenes = load_scenes("folder", labelled, "train")
    bare = SceneSet("bare", tuple(replace(s, teacher=None) for s in scenes.scenes))
    assert concatenate([scenes, bare], "both").teacher_hash == scenes.teacher_hash
    with pytest.raises(AnnotationError, match="different teachers"):
        concatenate([scenes, replace(scenes, teacher_hash="another")], "both")


def test_a_damaged_file_is_named_and_a_set_without_has_none(labelled: Path) -> None:
    file = labelled / TEACHER_FILE
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(AnnotationError, match=TEACHER_FILE):
        load_scenes("folder", labelled, "train")
    write_teacher(labelled, [SceneSet("none", ())])
    assert not file.exists()
    assert load_scenes("folder", labelled, "train").teacher_dim == 0
