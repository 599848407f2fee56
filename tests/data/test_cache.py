"""The cache gives back what was read, notices every change, and may be damaged or deleted."""

import os
from pathlib import Path

import numpy as np
import pytest

from fake.coco import write_coco, write_json
from fake.cuhk_sysu import made, write_cuhk_sysu
from fake.prw import write_prw
from fake.wildtrack import write_wildtrack
from fdps.data import KINDS, cache, load_scenes
from fdps.errors import MissingDataError
from fdps.structures import Query, SceneSet


def assert_same(a: SceneSet, b: SceneSet) -> None:
    assert (a.name, list(a.query_lists)) == (b.name, list(b.query_lists))
    for x, y in zip(a.scenes, b.scenes, strict=True):
        assert (x.name, x.path, x.camera, x.frame, x.seconds) == (
            y.name,
            y.path,
            y.camera,
            y.frame,
            y.seconds,
        )
        for left, right in ((x.boxes, y.boxes), (x.person_ids, y.person_ids)):
            np.testing.assert_array_equal(left, right)
            assert left.dtype == right.dtype
    assert_same_queries(a.queries, b.queries)


def assert_same_queries(a: tuple[Query, ...], b: tuple[Query, ...]) -> None:
    for p, q in zip(a, b, strict=True):
        assert (p.scene, p.person_id, p.gallery) == (q.scene, q.person_id, q.gallery)
        assert p.box.tolist() == q.box.tolist()
        boxes = [
            None if r.gallery_boxes is None else {k: v.tolist() for k, v in r.gallery_boxes.items()}
            for r in (p, q)
        ]
        assert boxes[0] == boxes[1]


@pytest.mark.parametrize("kind", ["prw", "cuhk_sysu", "coco", "wildtrack"])
def test_the_cache_gives_back_what_was_read(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    writers = {"prw": write_prw, "coco": write_coco, "wildtrack": write_wildtrack}
    writers.get(kind, lambda root: write_cuhk_sysu(root, made(n_train=2, n_test=3)))(root)
    for split in ("train", "test"):
        read = load_scenes(kind, root, split, cache=tmp_path / "cache")
        monkeypatch.setitem(KINDS, kind, None)  # nothing is read now
        assert_same(load_scenes(kind, root, split, cache=tmp_path / "cache"), read)
        monkeypatch.undo()


def test_further_query_lists_are_read_when_called_for(tmp_path: Path) -> None:
    root = write_cuhk_sysu(tmp_path / "set", made(n_train=1, n_test=3))
    for _ in range(2):
        scenes = load_scenes("cuhk_sysu", root, "test", cache=tmp_path / "cache")
    assert_same_queries(scenes.query_lists["50"](), scenes.queries)


def test_changed_annotations_are_read_again(tmp_path: Path) -> None:
    content = write_coco(tmp_path / "set")
    assert load_scenes("coco", tmp_path / "set", "train", cache=tmp_path / "c").n_boxes == 12
    content["annotations"].pop()
    write_json(tmp_path / "set", content)
    assert load_scenes("coco", tmp_path / "set", "train", cache=tmp_path / "c").n_boxes == 11


def test_a_picture_that_changed_or_vanished_is_noticed(tmp_path: Path) -> None:
    write_coco(tmp_path / "set")
    picture = tmp_path / "set/images/0000.jpg"
    load_scenes("coco", tmp_path / "set", "train", cache=tmp_path / "c")
    before = cache.key_of("coco", tmp_path / "set", "train")
    os.utime(picture, ns=(1, 1))
    (file,) = (tmp_path / "c").iterdir()
    assert cache._load(file, tmp_path / "set") is None
    assert cache.key_of("coco", tmp_path / "set", "train") == before
    picture.unlink()
    with pytest.raises(MissingDataError, match=r"0000\.jpg"):
        load_scenes("coco", tmp_path / "set", "train", cache=tmp_path / "c")


@pytest.mark.parametrize("content", [b"", b"no cache", b"\xff" * 64])
def test_a_damaged_cache_is_passed_over_and_mended(tmp_path: Path, content: bytes) -> None:
    write_coco(tmp_path / "set")
    read = load_scenes("coco", tmp_path / "set", "test", cache=tmp_path / "c")
    (file,) = (tmp_path / "c").iterdir()
    good = file.read_bytes()
    file.write_bytes(content)
    assert_same(load_scenes("coco", tmp_path / "set", "test", cache=tmp_path / "c"), read)
    assert file.read_bytes() == good


def test_a_place_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    write_coco(tmp_path / "set")
    (tmp_path / "c").write_text("a file")
    assert load_scenes("coco", tmp_path / "set", "test", cache=tmp_path / "c").n_boxes == 12


def test_kind_split_and_place_have_their_own_files(tmp_path: Path) -> None:
    write_coco(tmp_path / "a")
    write_coco(tmp_path / "b")
    keys = {
        cache.key_of(kind, tmp_path / root, split)
        for kind in ("coco", "folder")
        for root in ("a", "b", "a/annotations.json")
        for split in ("train", "test")
    }
    assert len(keys) == 12


def test_files_whose_names_are_not_utf8_are_part_of_the_hash(tmp_path: Path) -> None:
    first = cache.key_of("coco", tmp_path, "test")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("1")
    assert cache.key_of("coco", tmp_path, "test") != first
