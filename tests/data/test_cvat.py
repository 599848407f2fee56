from pathlib import Path

import pytest

from fake.cvat import HEAD, video_box, write_images, write_video, write_xml
from fdps.data import cvat
from fdps.data.findings import Findings
from fdps.errors import AnnotationError, MissingDataError
from fdps.structures import UNLABELLED


def test_tracks_of_a_video(tmp_path: Path) -> None:
    write_video(tmp_path, tracks=(0, 3))
    scenes = cvat.read(tmp_path, "test")
    assert [scene.name for scene in scenes.scenes] == [f"frame_{k:06d}.png" for k in range(3)]
    assert [scene.frame for scene in scenes.scenes] == [0, 1, 2]
    assert [scene.person_ids.tolist() for scene in scenes.scenes] == [[0, 3]] * 3
    assert [query.person_id for query in scenes.queries] == [0, 3]
    assert cvat.read(tmp_path / "annotations.xml", "train").person_ids == [0, 1]


def test_corners_are_corners(tmp_path: Path) -> None:
    write_video(tmp_path)
    write_xml(tmp_path, f'<track id="1" label="person">{video_box(1, 10, 20.5, 40, 60)}</track>')
    scenes = cvat.read(tmp_path, "test")
    assert [scene.boxes.tolist() for scene in scenes.scenes] == [[], [[10, 20.5, 40, 60]], []]


def test_boxes_outside_the_view_are_left_out(tmp_path: Path) -> None:
    write_video(tmp_path)
    boxes = video_box(0, 1, 2, 30, 40) + video_box(1, 1, 2, 30, 40, outside=1)
    write_xml(tmp_path, f'<track id="1" label="person">{boxes}</track>')
    assert cvat.read(tmp_path, "test").n_boxes == 1


def test_an_attribute_names_the_person(tmp_path: Path) -> None:
    write_video(tmp_path)
    mark = '<attribute name="person_id">17</attribute>'
    tracks = (
        f'<track id="1" label="person">{mark}{video_box(0, 1, 2, 30, 40)}</track>'
        f'<track id="2" label="person">{video_box(1, 1, 2, 30, 40, inner=mark)}</track>'
    )
    write_xml(tmp_path, tracks)
    assert cvat.read(tmp_path, "test").person_ids == [17]


def test_other_labels_are_left_out_where_there_are_people(tmp_path: Path) -> None:
    write_video(tmp_path)
    car = f'<track id="1" label="car">{video_box(0, 1, 2, 30, 40)}</track>'
    person = f'<track id="2" label="Person">{video_box(0, 1, 2, 30, 40)}</track>'
    write_xml(tmp_path, car + person)
    assert cvat.read(tmp_path, "test").person_ids == [2]
    write_xml(tmp_path, car)
    assert cvat.read(tmp_path, "test").person_ids == [1]


def test_images(tmp_path: Path) -> None:
    write_images(tmp_path)
    scenes = cvat.read(tmp_path, "test")
    assert [scene.name for scene in scenes.scenes] == ["a/1.jpg", "b.jpg"]
    assert [scene.person_ids.tolist() for scene in scenes.scenes] == [[7, UNLABELLED], [7]]


def test_a_file_of_the_split_comes_first(tmp_path: Path) -> None:
    text = write_video(tmp_path)
    (tmp_path / "val.xml").write_text(text.replace('id="3"', 'id="8"'))
    assert cvat.read(tmp_path, "val").person_ids == [0, 8]
    assert cvat.read(tmp_path, "test").person_ids == [0, 3]


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        ('<track><box frame="0"/></track>', "track number 1: id must be a number"),
        (f'<track id="1">{video_box(0, 30, 2, 1, 40)}</track>', "track 1, frame 0: .* x1 < x2"),
        ('<track id="1"><box frame="x"/></track>', "track 1: frame must be a number"),
        ('<track id="1"><box frame="0" xtl="a"/></track>', "track 1, frame 0: xtl must be"),
        (f'<track id="1">{video_box(-1, 1, 2, 3, 4)}</track>', "frames count from 0"),
        (
            f'<track id="1"><attribute name="person_id">Ann</attribute>{video_box(0, 1, 2, 3, 4)}'
            "</track>",
            "person_id must be a number, got 'Ann'",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, track: str, expected: str) -> None:
    write_video(tmp_path)
    good = f'<track id="9">{video_box(0, 1, 2, 30, 40)}</track>'
    write_xml(tmp_path, track + good)
    with pytest.raises(AnnotationError, match=rf"annotations\.xml, {expected}|{expected}"):
        cvat.read(tmp_path, "test")
    findings = Findings(collect=True)
    assert cvat.read(tmp_path, "test", findings).person_ids == [9]
    assert len(findings.faults) == 1


def test_missing_parts(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no annotations"):
        cvat.read(tmp_path, "test")
    write_video(tmp_path)
    (tmp_path / "images/frame_000001.png").unlink()
    with pytest.raises(MissingDataError, match="no picture of frame 1"):
        cvat.read(tmp_path, "test")


ENTITIES = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("doctype", [ENTITIES, OUTSIDE, "<!DOCTYPE annotations>"])
def test_document_types_are_refused(tmp_path: Path, doctype: str) -> None:
    write_video(tmp_path)
    write_xml(tmp_path, "", head=HEAD + doctype)
    with pytest.raises(AnnotationError, match=r"annotations\.xml, line 2: it has a document type"):
        cvat.read(tmp_path, "test")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not XML"),
        (b"<annotations><track>", "is not XML"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "is not XML"),
        (b"<a>\xff</a>", "is not XML"),
        (b"<annotations>&x;</annotations>", "is not XML"),
        (b"<coco/>", "must have <annotations> outermost, got <coco>"),
        (b"<annotations>" + b"<a>" * 10_000, "nest deeper"),
    ],
)
def test_what_is_no_export(tmp_path: Path, content: bytes, expected: str) -> None:
    write_video(tmp_path)
    (tmp_path / "annotations.xml").write_bytes(content)
    with pytest.raises(AnnotationError, match=expected):
        cvat.read(tmp_path, "test")
