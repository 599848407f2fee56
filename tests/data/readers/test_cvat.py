from pathlib import Path

import pytest

from fake.cvat import HEAD, video_box, write_images, write_video, write_xml
from fdps.data.findings import Findings
from fdps.data.readers import cvat
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


def marked(findings: Findings) -> list[str]:
    return [note.what for note in findings.notes if note.is_loss]


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [("90.0", [12.5, 67.5, 72.5, 92.5]), ("270", [12.5, 67.5, 72.5, 92.5])],
)
def test_a_turned_box_becomes_the_upright_box_around_it(
    tmp_path: Path, degrees: str, expected: list[float]
) -> None:
    write_video(tmp_path)
    box = video_box(1, 30, 50, 55, 110).replace("<box ", f'<box rotation="{degrees}" ')
    write_xml(tmp_path, f'<track id="1" label="person">{box}</track>')
    assert cvat.read(tmp_path, "test").scenes[1].boxes.tolist() == [expected]
    labelled = box.replace("<box ", '<box label="person" ')
    write_xml(tmp_path, f'<image name="frame_000001.png">{labelled}</image>')
    assert cvat.read(tmp_path, "test").scenes[0].boxes.tolist() == [expected]


def test_a_rotation_that_is_no_number_is_named(tmp_path: Path) -> None:
    write_video(tmp_path)
    box = video_box(1, 30, 50, 55, 110).replace("<box ", '<box rotation="half" ')
    write_xml(tmp_path, f'<track id="1" label="person">{box}</track>')
    with pytest.raises(AnnotationError, match="rotation must be a number, got 'half'"):
        cvat.read(tmp_path, "test")


def test_tracks_of_joined_tasks_are_different_people(tmp_path: Path) -> None:
    write_video(tmp_path)
    tracks = "".join(
        f'<track id="{track}" task_id="{task}" label="person">'
        f"{video_box(0, 10 * track + 50 * task, 5, 10 * track + 50 * task + 8, 60)}</track>"
        for task in (0, 1)
        for track in (0, 1)
    )
    write_xml(tmp_path, tracks)
    findings = Findings()
    scenes = cvat.read(tmp_path, "test", findings)
    assert scenes.scenes[0].person_ids.tolist() == [0, 1, 2, 3]
    assert marked(findings) == ["track id that somebody else has: taken as another person"] * 2
    assert "track 1 of task 1" in [note.where for note in findings.notes if note.is_loss][-1]


def test_a_stated_person_joins_the_tracks_of_two_tasks(tmp_path: Path) -> None:
    write_video(tmp_path)
    mark = '<attribute name="person_id">5</attribute>'
    tracks = "".join(
        f'<track id="0" task_id="{task}" label="person">{mark}'
        f"{video_box(task, 1, 2, 30, 60)}</track>"
        for task in (0, 1)
    )
    write_xml(tmp_path, tracks)
    assert cvat.read(tmp_path, "test").person_ids == [5]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ('<polygon points="10,20;40,25;30,90"', [10, 20, 40, 90]),
        ('<polyline points="10.5,20;40,90"', [10.5, 20, 40, 90]),
        ('<ellipse cx="50" cy="60" rx="10" ry="30"', [40, 30, 60, 90]),
        ('<ellipse cx="50" cy="60" rx="10" ry="30" rotation="90"', [20, 50, 80, 70]),
        ('<mask rle="3, 4" left="10" top="20" width="30" height="70"', [10, 20, 40, 90]),
        (
            '<cuboid xtl1="10" ytl1="20" xbl1="10" ybl1="80" xtr1="30" ytr1="22" xbr1="30"'
            ' ybr1="82"'
            ' xtl2="40" ytl2="24" xbl2="40" ybl2="90" xtr2="12" ytr2="21" xbr2="12" ybr2="81"',
            [10, 20, 40, 90],
        ),
    ],
)
def test_other_shapes_become_the_box_around_them(
    tmp_path: Path, shape: str, expected: list[float]
) -> None:
    write_video(tmp_path)
    write_xml(tmp_path, f'<image name="frame_000000.png">{shape} label="person"/></image>')
    assert cvat.read(tmp_path, "test").scenes[0].boxes.tolist() == [expected]


def test_what_has_no_extent_or_another_label_is_named(tmp_path: Path) -> None:
    write_video(tmp_path)
    shapes = (
        '<points label="person" points="10,20;30,40"/><skeleton label="person"/>'
        '<tag label="night"/>'
        '<polygon label="bag" points="1,2;3,4;5,9"/><splat label="person"/>'
        '<box label="person" xtl="10" ytl="20" xbr="40" ybr="90"/>'
    )
    write_xml(tmp_path, f'<image name="frame_000000.png">{shapes}</image>')
    findings = Findings()
    assert cvat.read(tmp_path, "test", findings).n_boxes == 1
    assert marked(findings) == [
        "points marks a place and no extent: left out",
        "skeleton marks a place and no extent: left out",
        "tag marks a place and no extent: left out",
        "<splat> is not known to this reader: left out",
    ]
    assert "shape with the label 'bag', which is no person: left out" in [
        note.what for note in findings.notes
    ]


def test_a_stated_size_that_differs_is_named(tmp_path: Path) -> None:
    write_images(tmp_path)
    file = tmp_path / "annotations.xml"
    file.write_text(file.read_text().replace('width="160"', 'width="320"', 1))
    with pytest.raises(AnnotationError, match=r"stated as 320x120, but .* is 160x120"):
        cvat.read(tmp_path, "test")


def test_a_doubled_row_counts_once(tmp_path: Path) -> None:
    write_video(tmp_path)
    row = video_box(0, 1, 2, 30, 60)
    write_xml(tmp_path, f'<track id="1" label="person">{row}{row}</track>')
    findings = Findings()
    assert cvat.read(tmp_path, "test", findings).n_boxes == 1
    assert "left out" in findings.notes[-1].what
    other = f'<track id="2" label="person">{row}</track>'
    write_xml(tmp_path, f'<track id="1" label="person">{row}</track>{other}')
    findings = Findings()
    assert cvat.read(tmp_path, "test", findings).n_boxes == 2
    assert findings.notes[-1].what == "two people have the same box: both kept"


def test_a_track_is_nobody_whom_another_track_states(tmp_path: Path) -> None:
    write_video(tmp_path)
    mark = '<attribute name="person_id">1</attribute>'
    tracks = (
        f'<track id="0" label="person">{mark}{video_box(0, 1, 2, 30, 60)}</track>'
        f'<track id="1" label="person">{video_box(0, 50, 2, 80, 60)}</track>'
    )
    write_xml(tmp_path, tracks)
    findings = Findings()
    assert cvat.read(tmp_path, "test", findings).scenes[0].person_ids.tolist() == [1, 2]
    assert marked(findings) == ["track id that somebody else has: taken as another person"]


def keyframed(*frames: tuple[int, tuple[float, float, float, float], int]) -> str:
    rows = "".join(video_box(frame, *box, outside=out) for frame, box, out in frames)
    return f'<track id="1" label="person">{rows}</track>'


def test_frames_between_key_frames_are_filled_in_as_cvat_does_it(tmp_path: Path) -> None:
    write_video(tmp_path, n_frames=8)
    there, gone = (10, 20, 30, 60), (50, 20, 70, 60)
    track = keyframed((0, there, 0), (4, (30, 28, 50, 68), 0), (6, gone, 1))
    write_xml(tmp_path, track)
    findings = Findings()
    found = [scene.boxes.tolist() for scene in cvat.read(tmp_path, "test", findings).scenes]
    assert found[:5] == [[[10 + 5 * k, 20 + 2 * k, 30 + 5 * k, 60 + 2 * k]] for k in range(5)]
    assert found[5:] == [[[40, 24, 60, 64]], [], []]
    assert marked(findings) == []
    assert findings.summary() == [
        "4 × frame between two key frames: box filled in as CVAT does it, first: "
        f"{tmp_path}/annotations.xml, track 1, frame 1"
    ]


def test_nobody_is_filled_in_after_outside_or_where_no_picture_is(tmp_path: Path) -> None:
    write_video(tmp_path, n_frames=8)
    (tmp_path / "images/frame_000006.png").unlink()
    box = (10, 20, 30, 60)
    write_xml(tmp_path, keyframed((0, box, 1), (3, box, 0), (4, box, 1), (5, box, 0), (7, box, 1)))
    scenes = cvat.read(tmp_path, "test").scenes
    assert [scene.frame for scene in scenes if len(scene.boxes)] == [3, 5]


def test_a_turn_is_filled_in_the_shorter_way(tmp_path: Path) -> None:
    write_video(tmp_path, n_frames=3)
    rows = [video_box(frame, 40, 40, 60, 80) for frame in (0, 2)]
    turned = [
        row.replace("<box ", f'<box rotation="{k}" ')
        for row, k in zip(rows, (350, 10), strict=True)
    ]
    write_xml(tmp_path, f'<track id="1" label="person">{"".join(turned)}</track>')
    assert cvat.read(tmp_path, "test").scenes[1].boxes.tolist() == [[40, 40, 60, 80]]


def test_outlines_are_not_filled_in_and_open_ends_are_named(tmp_path: Path) -> None:
    write_video(tmp_path, n_frames=4)
    rows = "".join(
        f'<polygon frame="{k}" outside="0" occluded="1" points="1,2;30,40;1,60"/>' for k in (0, 2)
    )
    write_xml(tmp_path, f'<track id="1" label="person">{rows}</track>')
    findings = Findings()
    scenes = cvat.read(tmp_path, "test", findings).scenes
    assert [len(scene.boxes) for scene in scenes] == [1, 0, 1, 0]
    assert marked(findings) == [
        "frame between two key frames of a polygon, which has no box there: left out",
        'track that ends without outside="1": CVAT shows it to the end of the video, here nobody '
        "is read after its last frame",
    ]
    what = [note.what for note in findings.notes]
    assert what.count("polygon: the upright box around it is taken") == 2
    assert what.count("shape that is occluded: taken like any other") == 2


def test_frames_far_apart_cost_nothing(tmp_path: Path) -> None:
    write_video(tmp_path, n_frames=2)
    box = (10, 20, 30, 60)
    write_xml(tmp_path, keyframed((0, box, 0), (2**52, box, 1)))
    assert cvat.read(tmp_path, "test").n_boxes == 2


def test_a_file_without_people_says_that_everything_is_taken(tmp_path: Path) -> None:
    write_video(tmp_path)
    write_xml(tmp_path, f'<track id="1" label="car">{video_box(0, 1, 2, 30, 40)}</track>')
    findings = Findings()
    assert cvat.read(tmp_path, "test", findings).n_boxes == 1
    assert marked(findings) == [
        "no shape has a label of person, pedestrian, people: all are taken as people"
    ]


def test_a_video_of_another_size_is_named(tmp_path: Path) -> None:
    text = write_video(tmp_path)
    size = "<original_size><width>320</width><height>240</height></original_size>"
    file = tmp_path / "annotations.xml"
    file.write_text(text.replace("<size>3</size>", f"<size>3</size>{size}"))
    with pytest.raises(AnnotationError, match=r"the video is stated as 320x240, but .* 160x120"):
        cvat.read(tmp_path, "test")
    findings = Findings(collect=True)
    assert cvat.read(tmp_path, "test", findings).n_boxes == 6
    assert len(findings.faults) == 1
