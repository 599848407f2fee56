from pathlib import Path
from typing import Any

import pytest

from fake.wildtrack import read_moment, write_moment, write_wildtrack
from fdps.data.findings import Findings
from fdps.data.readers import wildtrack
from fdps.errors import AnnotationError, MissingDataError, UsageError


def test_seven_synchronous_cameras(tmp_path: Path) -> None:
    write_wildtrack(tmp_path)
    train, test = (wildtrack.read(tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (9 * 7, 7)  # the last tenth of the moments
    assert [scene.name for scene in test.scenes] == [f"C{k}/00000045.png" for k in range(1, 8)]
    assert {scene.seconds for scene in test.scenes} == {4.5}
    assert {scene.frame for scene in test.scenes} == {45}
    assert [scene.camera for scene in test.scenes] == [f"C{k}" for k in range(1, 8)]
    assert train.person_ids == [0, 1]
    assert test.person_ids == [5, 122]
    assert [query.person_id for query in test.queries] == [5, 122]


def test_boxes_are_corners_and_minus_one_is_not_seen(tmp_path: Path) -> None:
    write_wildtrack(tmp_path)
    view = read_moment(tmp_path, "00000045")[0]["views"][2]
    scenes = wildtrack.read(tmp_path, "test").scenes
    assert scenes[2].boxes[0].tolist() == [view[k] for k in ("xmin", "ymin", "xmax", "ymax")]
    assert scenes[6].boxes.shape == (0, 4)


def test_boxes_pass_the_border(tmp_path: Path) -> None:
    write_wildtrack(tmp_path)
    rows = read_moment(tmp_path, "00000045")
    rows[0]["views"][0].update(xmin=-5, ymin=3, xmax=20, ymax=400)
    write_moment(tmp_path, "00000045", rows)
    findings = Findings()
    scene = wildtrack.read(tmp_path, "test", findings).scenes[0]
    assert scene.boxes[0].tolist() == [0, 3, 20, 72]
    assert [note.what for note in findings.notes] == [
        "box passes the border of its picture: cut there"
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"viewNum": 7}, "person 1, view 7: viewNum must be 0..6"),
        ({"xmin": "a"}, "person 1, view 0: 'xmin' must be a whole number"),
        ({"xmin": 50, "xmax": 40}, "x1 < x2"),
    ],
)
def test_a_bad_view_is_named(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    write_wildtrack(tmp_path)
    rows = read_moment(tmp_path, "00000045")
    rows[0]["views"][0].update(change)
    write_moment(tmp_path, "00000045", rows)
    with pytest.raises(AnnotationError, match=rf"00000045\.json.*{expected}"):
        wildtrack.read(tmp_path, "test")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"people": []}, "must hold a list of people"),
        ([1], "must hold a list of people"),
        ([{"personID": 1}], "person 1: 'views' must be a list"),
        ([{"views": []}], "'personID' must be a whole number"),
    ],
)
def test_what_is_no_moment(tmp_path: Path, content: object, expected: str) -> None:
    write_wildtrack(tmp_path)
    write_moment(tmp_path, "00000045", content)
    with pytest.raises(AnnotationError, match=expected):
        wildtrack.read(tmp_path, "test")


def test_files_that_are_wrong_or_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no annotations_positions"):
        wildtrack.read(tmp_path, "test")
    write_wildtrack(tmp_path)
    with pytest.raises(UsageError, match="no split 'val'"):
        wildtrack.read(tmp_path, "val")
    (tmp_path / "annotations_positions/00000045.json").write_text("{")
    with pytest.raises(AnnotationError, match="is not JSON"):
        wildtrack.read(tmp_path, "test")
    write_moment(tmp_path, "00000045", [])
    write_moment(tmp_path, "first", [])
    with pytest.raises(AnnotationError, match="the name must be a frame number"):
        wildtrack.read(tmp_path, "test")
    (tmp_path / "Image_subsets/C4/00000045.png").unlink()
    with pytest.raises(MissingDataError, match=r"C4/00000045\.png"):
        wildtrack.read(tmp_path, "test")
