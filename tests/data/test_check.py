"""Counts, kinds and splits that are told from files, and the report of a check."""

from pathlib import Path

import numpy as np
import pytest

from fake.coco import write_coco, write_json
from fake.cuhk_sysu import write_cuhk_sysu, write_movienet
from fake.cvat import write_video
from fake.mot import write_sequence
from fake.prw import write_boxes, write_prw
from fake.wildtrack import write_wildtrack
from fdps.data.check import check
from fdps.data.detect_kind import kind_of, splits_of
from fdps.data.statistics import PUBLISHED, Spread, Statistics, count
from fdps.errors import MissingDataError
from fdps.structures import Query, Scene, SceneSet


def test_counts() -> None:
    boxes = np.array([[0, 0, 5, 10], [0, 0, 5, 20], [0, 0, 5, 60]], dtype=np.float32)
    ids = np.array([4, 4, -1], dtype=np.int64)
    first = Scene("a", Path("a"), boxes, ids, camera="gate")
    empty = Scene("b", Path("b"), boxes[:0], ids[:0], camera="gate")
    counted = count(SceneSet("x/test", (first, empty), (Query("a", boxes[0], 4),)))
    assert counted == Statistics(
        images=2,
        boxes=3,
        identities=1,
        labelled=2,
        unlabelled=1,
        queries=1,
        cameras=1,
        boxes_per_image=Spread(0.0, 1.5, 1.5, 3.0),
        heights=Spread(10.0, 20.0, 30.0, 60.0),
        boxes_per_identity=Spread(2.0, 2.0, 2.0, 2.0),
    )
    assert count(SceneSet("x/test", ())).heights == Spread(0.0, 0.0, 0.0, 0.0)


def test_published_counts_are_fields_of_the_statistics_and_add_up() -> None:
    fields = set(Statistics.__dataclass_fields__)
    for splits in PUBLISHED.values():
        for counts in splits.values():
            assert set(counts) <= fields
            if "labelled" in counts:
                assert counts["labelled"] + counts["unlabelled"] == counts["boxes"]


def test_the_kind_is_told_from_the_files(tmp_path: Path) -> None:
    write_prw(tmp_path / "prw", n_train=1, n_test=1)
    write_cuhk_sysu(tmp_path / "cuhk_sysu")
    write_movienet(tmp_path / "movienet")
    write_coco(tmp_path / "coco", n_images=1)
    write_coco(tmp_path / "folder", n_images=1)
    (tmp_path / "folder/fdps.toml").write_text('name = "mine"')
    write_sequence(tmp_path / "mot/train/seq", n_frames=1)
    write_video(tmp_path / "cvat", n_frames=1)
    write_wildtrack(tmp_path / "wildtrack", n_moments=1)
    for root in sorted(tmp_path.iterdir()):
        assert kind_of(root) == root.name
    assert kind_of(tmp_path / "coco/annotations.json") == "coco"
    assert kind_of(tmp_path / "cvat/annotations.xml") == "cvat"
    (tmp_path / "notes.txt").write_text("x")
    for name in ("nowhere", "notes.txt", "coco/images"):
        with pytest.raises(MissingDataError):
            kind_of(tmp_path / name)


def test_the_splits_are_told_from_the_files(tmp_path: Path) -> None:
    assert splits_of("prw", tmp_path) == ("train", "test")
    content = write_coco(tmp_path / "coco", n_images=3)
    assert splits_of("coco", tmp_path / "coco") == ("test",)
    for image, split in zip(content["images"], ("zoo", "test", "train"), strict=True):
        image["split"] = split
    write_json(tmp_path / "coco", content)
    assert splits_of("coco", tmp_path / "coco") == ("train", "test", "zoo")
    assert splits_of("coco", tmp_path / "coco/annotations.json") == ("train", "test", "zoo")
    write_json(tmp_path / "coco", content, "annotations_night.json")
    assert splits_of("coco", tmp_path / "coco") == ("night",)
    write_json(tmp_path, 7)
    assert splits_of("coco", tmp_path) == ("test",)
    (tmp_path / "annotations.csv").write_text("image,x1,y1,x2,y2,split\na,,,,,val\nb,,,,,test\n")
    (tmp_path / "annotations.json").unlink()
    assert splits_of("folder", tmp_path) == ("val", "test")
    write_sequence(tmp_path / "mot/train/seq", n_frames=1)
    assert splits_of("mot", tmp_path / "mot") == ("train",)
    (tmp_path / "val.xml").write_text("")
    assert splits_of("cvat", tmp_path) == ("val",)


def test_every_fault_is_listed_with_a_hint(tmp_path: Path) -> None:
    root = write_prw(tmp_path, n_train=2, n_test=2)
    name = sorted(path.name for path in (root / "annotations").iterdir())[0].split(".")[0]
    write_boxes(root, name, [[1, 0, 0, -1, 9], [2, 0, 0, 9, 9], [1.5, 0, 0, 9, 9]])
    (root / "query_info.txt").write_text("nonsense\n")
    reports = check("prw", root, ("train", "test"))
    faults = [fault for report in reports for fault in report.faults]
    assert len(faults) == 3
    assert all(fault.hint for fault in faults)
    assert {fault.kind for fault in faults} == {"AnnotationError"}
    assert "row 1: " in faults[0].message
    assert "row 3: " in faults[1].message or "row 1: " in faults[1].message


def test_a_picture_that_cannot_be_decoded_is_found_on_demand(tmp_path: Path) -> None:
    write_coco(tmp_path, n_images=2)
    picture = tmp_path / "images/0001.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    assert not check("coco", tmp_path, ("test",))[0].faults
    (fault,) = check("coco", tmp_path, ("test",), decode=True)[0].faults
    assert fault.kind == "PictureError"
    assert "0001.jpg" in fault.message


def test_a_query_nobody_can_find_is_noted(tmp_path: Path) -> None:
    write_coco(tmp_path, n_images=1)
    (report,) = check("coco", tmp_path, ("test",))
    assert report.notes[0].startswith("2 × query of a person who is in no other scene")


def test_a_faulty_further_list_is_found(tmp_path: Path) -> None:
    root = write_cuhk_sysu(tmp_path, sizes=(100, 4000))
    (root / "annotation/test/subset/Occlusion.mat").write_bytes(b"")
    large = root / "annotation/test/train_test/TestG4000.mat"
    large.write_bytes(b"")
    for all_lists, n_faults in ((False, 1), (True, 2)):
        (report,) = check("cuhk_sysu", root, ("test",), all_lists=all_lists)
        assert len(report.faults) == n_faults


@pytest.mark.long
def test_prw_c6_and_penn_fudan(shared_data: Path) -> None:
    train, test = check("prw", shared_data / "prw_c6", ("train", "test"))
    assert (train.statistics.images, test.statistics.images) == (747, 249)
    assert (train.statistics.boxes, test.statistics.boxes) == (1472, 523)
    assert train.statistics.identities == 140
    assert test.statistics.queries == 102
    assert train.published["identities"] == 483
    (penn,) = check("coco", shared_data / "penn_fudan", ("test",))
    assert (penn.statistics.images, penn.statistics.boxes) == (170, 423)
    assert (penn.statistics.unlabelled, penn.faults) == (423, ())
