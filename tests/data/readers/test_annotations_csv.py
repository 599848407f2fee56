"""The one table for beginners."""

from pathlib import Path

import numpy as np
import pytest

from fake.people import write_picture
from fdps.data.findings import Findings
from fdps.data.readers import folder
from fdps.errors import AnnotationError, MissingDataError
from fdps.structures import UNLABELLED

HEADING = "image,x1,y1,x2,y2,person_id,camera,time,split\n"
ROWS = (
    HEADING + "gate/1.png,1,2,30,40.5,7,gate,2026-05-02T14:31:07,train\n"
    "gate/1.png,50,2,70,40,,gate,2026-05-02T14:31:07,train\n"
    "2.png,1,2,30,40,9,hall,,test\n3.png,,,,,,hall,,test\n4.png,1,2,30,40,9,hall,,test\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("gate/1.png", "2.png", "3.png", "4.png"):
        write_picture(tmp_path / "images" / name, np.zeros((60, 80, 3), dtype=np.uint8))
    (tmp_path / "annotations.csv").write_text(ROWS)
    return tmp_path


def test_a_row_is_a_person(root: Path) -> None:
    train, test = folder.read(root, "train"), folder.read(root, "test")
    assert train.name == f"{root.name}/train"
    (scene,) = train.scenes
    assert scene.boxes.tolist() == [[1, 2, 30, 40.5], [50, 2, 70, 40]]
    assert scene.person_ids.tolist() == [0, UNLABELLED]
    assert (scene.camera, scene.seconds) == ("gate", 1777732267.0)
    assert [len(scene.boxes) for scene in test.scenes] == [1, 0, 1]
    assert [query.person_id for query in test.queries] == [9]


def test_columns_in_any_order_and_from_a_spreadsheet(root: Path) -> None:
    rows = "y1,x1,image,x2,y2\r\n2,1,2.png,30,40\r\n\r\n"
    (root / "annotations.csv").write_bytes(b"\xef\xbb\xbf" + rows.encode())
    (root / "fdps.toml").write_text('name = "mine"')
    scenes = folder.read(root, "anything")
    assert scenes.name == "mine/anything"
    assert scenes.scenes[0].boxes.tolist() == [[1, 2, 30, 40]]
    assert scenes.scenes[0].person_ids.tolist() == [UNLABELLED]


def test_pictures_may_lie_beside_the_table(root: Path) -> None:
    for picture in (root / "images").iterdir():
        picture.rename(root / picture.name)
    (root / "images").rmdir()
    assert len(folder.read(root, "test")) == 3


def test_the_query_list_is_read_too(root: Path) -> None:
    (root / "queries.csv").write_text("image,x1,y1,x2,y2,person_id\n4.png,1,2,30,40,9\n")
    assert [query.scene for query in folder.read(root, "test").queries] == ["4.png"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("2.png,1,2,30,40,Ann,hall,,test", "person_id must be a number, got 'Ann'"),
        ("2.png,1,2,30,40,1.5,hall,,test", "person_id must be a whole number"),
        ("2.png,1,2,30,inf,9,hall,,test", "y2 must be a number, got 'inf'"),
        ("2.png,1,2,1,40,9,hall,,test", "x1 < x2"),
        ("2.png,1,2,30,40,9,gate,,test", "an earlier line has"),
        ("../2.png,1,2,30,40,9,hall,,test", "leads out of the data set"),
        (",1,2,30,40,9,hall,,test", "leads out of the data set"),
        ("2.png,1,2,30,40", "expected 9 values, got 5"),
    ],
)
def test_a_bad_row_is_named_with_its_line(root: Path, row: str, expected: str) -> None:
    (root / "annotations.csv").write_text(ROWS + row + "\n")
    with pytest.raises(AnnotationError, match=rf"annotations\.csv, line 7: .*{expected}"):
        folder.read(root, "test")


def test_other_faults(root: Path) -> None:
    table = root / "annotations.csv"
    table.write_text(HEADING + "2.png,1,2,30,40,9,hall,noon,test\n")
    with pytest.raises(AnnotationError, match="time 'noon' is not like"):
        folder.read(root, "test")
    with pytest.raises(AnnotationError, match="no image of split 'val'"):
        folder.read(root, "val")
    table.write_text(ROWS + "5.png,1,2,30,40,9,hall,,\n")
    with pytest.raises(AnnotationError, match=r"'5\.png' has no split, others have"):
        folder.read(root, "test")
    table.write_text(ROWS.replace("4.png", "6.png"))
    with pytest.raises(MissingDataError, match=r"6\.png"):
        folder.read(root, "test")
    table.write_text("image;x1\n")
    with pytest.raises(AnnotationError, match="line 1: the columns must be image,x1,y1,x2,y2 and"):
        folder.read(root, "test")
    table.write_bytes("image,x1\n".encode("utf-16"))
    with pytest.raises(AnnotationError, match="is not UTF-8"):
        folder.read(root, "test")


def test_all_faults_are_collected(root: Path) -> None:
    (root / "annotations.csv").write_text(
        HEADING + "2.png,a,2,30,40,9,,,test\n3.png,1,2,30,40,b,,,test\n4.png,1,2,3,4,5,,,test\n"
    )
    findings = Findings(collect=True)
    assert folder.read(root, "test", findings).n_boxes == 1
    assert len(findings.faults) == 2
