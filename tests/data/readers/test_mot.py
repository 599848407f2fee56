from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake.mot import SIZE, write_info, write_sequence, write_tracks
from fake.people import write_picture
from fdps.data.findings import Findings
from fdps.data.readers import folder, mot
from fdps.errors import AnnotationError, MissingDataError
from fdps.structures import UNLABELLED


def notes(findings: Findings) -> list[str]:
    return [note.what for note in findings.notes]


def test_tracks_are_people_and_the_first_pixel_is_number_one(tmp_path: Path) -> None:
    lines = write_sequence(tmp_path / "gate", tracks=(1, 4))
    scenes = mot.read(tmp_path, "test")
    assert scenes.name == "mot/test"
    assert [scene.name for scene in scenes.scenes] == [
        f"gate/img1/{frame:06d}.jpg" for frame in (1, 2, 3, 4)
    ]
    first = scenes.scenes[0]
    assert first.person_ids.tolist() == [1, 4]
    x, y, w, h = map(int, lines[0].split(",")[2:6])
    assert first.boxes[0].tolist() == [x - 1, y - 1, x - 1 + w, y - 1 + h]
    assert (first.camera, first.frame, first.seconds) == ("gate", 1, 0.0)
    assert scenes.scenes[2].seconds == 2 / 25
    assert [query.person_id for query in scenes.queries] == [1, 4]


def test_training_identities_are_renumbered(tmp_path: Path) -> None:
    write_sequence(tmp_path / "gate", tracks=(1, 4))
    scenes = mot.read(tmp_path / "gate", "train")  # the sequence itself
    assert scenes.person_ids == [0, 1]
    assert scenes.queries == ()


def test_tracks_of_two_sequences_are_different_people(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a", tracks=(1, 4))
    write_sequence(tmp_path / "b", tracks=(1, 2))
    scenes = mot.read(tmp_path, "test")
    assert scenes.scenes[0].person_ids.tolist() == [0, 1]
    assert scenes.scenes[4].person_ids.tolist() == [2, 3]


def test_sequences_that_share_tracks_are_cameras_of_the_same_people(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a", tracks=(1, 4), shared=True, camera="gate")
    write_sequence(tmp_path / "b", tracks=(4,), shared=True, camera="hall")
    scenes = mot.read(tmp_path, "test")
    assert {scene.camera for scene in scenes.scenes} == {"gate", "hall"}
    assert scenes.scenes[4].person_ids.tolist() == [4]
    assert scenes.person_ids == [1, 4]


def test_a_folder_named_as_the_split_is_read_alone(tmp_path: Path) -> None:
    write_sequence(tmp_path / "train" / "a", tracks=(1,))
    write_sequence(tmp_path / "test" / "b", tracks=(2,), n_frames=2)
    assert len(mot.read(tmp_path, "train")) == 4
    assert len(mot.read(tmp_path, "test")) == 2


def test_rows_that_do_not_count_and_other_classes_are_left_out(tmp_path: Path) -> None:
    lines = write_sequence(tmp_path, n_frames=2)
    lines += ["1,8,5,5,9,9,0,1,1", "1,9,5,5,9,9,1,3,1", "2,10,5,5,9,9,1,7,1"]
    write_tracks(tmp_path, lines)
    findings = Findings()
    scenes = mot.read(tmp_path, "test", findings)
    assert scenes.person_ids == [1, 4]
    assert len(findings.notes) == 3


def test_the_ten_columns_of_2015_have_no_class(tmp_path: Path) -> None:
    write_sequence(tmp_path, n_frames=1)
    write_tracks(tmp_path, ["1,3,11,21,30,40,1,-1,-1,-1"])
    scene = mot.read(tmp_path, "test").scenes[0]
    assert (scene.boxes.tolist(), scene.person_ids.tolist()) == ([[10, 20, 40, 60]], [3])


def test_frames_without_people_are_scenes_and_crlf_is_fine(tmp_path: Path) -> None:
    write_sequence(tmp_path, n_frames=3)
    write_tracks(tmp_path, ["2,1,5,5,9,9", ""], newline="\r\n")
    scenes = mot.read(tmp_path, "test")
    assert [len(scene.boxes) for scene in scenes.scenes] == [0, 1, 0]
    assert scenes.scenes[0].boxes.dtype == np.float32


def test_boxes_at_and_beyond_the_border(tmp_path: Path) -> None:
    write_sequence(tmp_path, n_frames=1)
    write_tracks(tmp_path, ["1,1,-9,1,30,20", "1,2,500,1,9,9", "1,-1,1,1,9,9"])
    findings = Findings()
    scene = mot.read(tmp_path, "test", findings).scenes[0]
    assert scene.boxes.tolist() == [[0, 0, 20, 20], [0, 0, 9, 9]]
    assert scene.person_ids.tolist() == [1, UNLABELLED]
    assert notes(findings) == [
        "box passes the border of its picture: cut there",
        "box lies beyond the border of its picture: dropped",
    ]


def test_a_track_at_two_places_of_a_frame_is_a_fault(tmp_path: Path) -> None:
    write_sequence(tmp_path, n_frames=1)
    rows = ["1,1,5,5,9,9", "1,1,30,5,9,9", "1,1,5,5,9,9", "1,-1,5,5,9,9", "1,-1,30,5,9,9"]
    write_tracks(tmp_path, rows)
    with pytest.raises(AnnotationError, match=r"line 2: track 1 is in frame 1 .*line 1\)"):
        mot.read(tmp_path, "test")
    findings = Findings(collect=True)
    assert mot.read(tmp_path, "test", findings).n_boxes == 3
    assert len(findings.faults) == 1
    assert "row that repeats the box and the person of another: left out" in notes(findings)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1,1,5,5,9", "expected frame,track,left,top,width,height and more, got 5 values"),
        ("1,x,5,5,9,9", "track must be a whole number|track must be a number"),
        ("1.5,1,5,5,9,9", "frame must be a whole number, got '1.5'"),
        ("9,1,5,5,9,9", "frame 9 is not among 1..1"),
        ("0,1,5,5,9,9", "frame 0 is not among 1..1"),
        ("1,1,5,nan,9,9", "top must be a number, got 'nan'"),
        ("1,1,5,5,0,9", "x1 < x2"),
        ("1,1,5,5,9,-9", "y1 < y2"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, line: str, expected: str) -> None:
    write_sequence(tmp_path, n_frames=1)
    write_tracks(tmp_path, ["1,4,5,5,9,9", line])
    with pytest.raises(AnnotationError, match=rf"gt\.txt, line 2: .*({expected})"):
        mot.read(tmp_path, "test")
    findings = Findings(collect=True)
    assert mot.read(tmp_path, "test", findings).n_boxes == 1
    assert len(findings.faults) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", r"must be an INI file with \[Sequence\]"),
        (b"[Sequence]\nname=a\n", "seqLength must be a number, got ''"),
        (b"[Sequence]\nseqLength=0\n", "seqLength must be at least 1"),
        (b"[Sequence]\nseqLength=4\nimDir=../up\n", "leads out of the data set"),
        (b"\xff\xfe[Sequence]", "is not UTF-8"),
        (b"seqLength=4\n", "must be an INI file"),
    ],
)
def test_bad_info(tmp_path: Path, text: bytes, expected: str) -> None:
    write_sequence(tmp_path, n_frames=1)
    (tmp_path / "seqinfo.ini").write_bytes(text)
    with pytest.raises(AnnotationError, match=expected):
        mot.read(tmp_path, "test")


def test_missing_parts(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no sequence in"):
        mot.read(tmp_path, "test")
    write_sequence(tmp_path / "a")
    (tmp_path / "a/img1/000003.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"no picture at .*000003\.jpg"):
        mot.read(tmp_path, "test")
    write_info(tmp_path / "a", 2)
    (tmp_path / "a/gt/gt.txt").unlink()
    with pytest.raises(MissingDataError, match=r"no file .*gt\.txt"):
        mot.read(tmp_path, "test")


def test_more_frames_promised_than_there_are(tmp_path: Path) -> None:
    write_sequence(tmp_path, n_frames=2)
    write_info(tmp_path, 10**9)
    findings = Findings(collect=True)
    assert len(mot.read(tmp_path, "test", findings)) == 2
    (fault,) = findings.faults
    assert "000003.jpg" in str(fault)


rows = st.lists(
    st.tuples(
        st.integers(1, 3),  # frame
        st.integers(0, 5),  # track
        st.integers(1, SIZE[0] - 1),
        st.integers(1, SIZE[1] - 1),
        st.integers(1, 200),
        st.integers(1, 200),
    ),
    unique_by=lambda row: row[:2],
    max_size=12,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=rows)
def test_mot_to_folder_and_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, ...]]
) -> None:
    root = tmp_path_factory.mktemp("mot")
    for frame in (1, 2, 3):
        picture = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
        write_picture(root / "seq/img1" / f"{frame:06d}.jpg", picture)
    write_info(root / "seq", 3)
    write_tracks(root / "seq", [",".join(map(str, row)) for row in rows])
    read = mot.read(root, "test")
    folder.write_folder(root / "out", {"test": read}, name="out")
    back = folder.read(root / "out", "test")
    assert [scene.name for scene in back.scenes] == [scene.name for scene in read.scenes]
    for a, b in zip(read.scenes, back.scenes, strict=True):
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.person_ids, b.person_ids)
        assert (a.camera, a.frame, a.seconds) == (b.camera, b.frame, b.seconds)
    assert [(q.scene, q.person_id, q.box.tolist()) for q in read.queries] == [
        (q.scene, q.person_id, q.box.tolist()) for q in back.queries
    ]


def copy_sequence(source: Path, target: Path) -> None:
    for file in source.rglob("*"):
        if file.is_file():
            there = target / file.relative_to(source)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(file.read_bytes())


def test_copies_of_a_sequence_are_read_once(tmp_path: Path) -> None:
    write_sequence(tmp_path / "MOT17-02-DPM", tracks=(1, 4))
    for name in ("MOT17-02-FRCNN", "renamed"):
        copy_sequence(tmp_path / "MOT17-02-DPM", tmp_path / name)
    findings = Findings()
    scenes = mot.read(tmp_path, "train", findings)
    assert len(scenes) == 4
    assert scenes.person_ids == [0, 1]
    assert notes(findings) == ["sequence with the pictures of MOT17-02-DPM: read once"] * 2


def test_copies_that_disagree_are_named(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a")
    copy_sequence(tmp_path / "a", tmp_path / "b")
    write_tracks(tmp_path / "b", ["1,1,1,1,20,60,1,1,1"])
    with pytest.raises(AnnotationError, match=r"b has the pictures of .*a and other tracks"):
        mot.read(tmp_path, "train")


def test_equal_sizes_alone_make_no_copy(tmp_path: Path) -> None:
    for name, level in (("a", 10), ("b", 200)):
        write_sequence(tmp_path / name)
        for file in (tmp_path / name / "img1").iterdir():
            write_picture(file, np.full((SIZE[1], SIZE[0], 3), level, np.uint8))
    assert len(mot.read(tmp_path, "train")) == 8


def test_a_copy_may_be_shorter_and_written_in_another_way(tmp_path: Path) -> None:
    lines = write_sequence(tmp_path / "b-long", tracks=(1, 4), n_frames=5)
    copy_sequence(tmp_path / "b-long", tmp_path / "a-short")
    (tmp_path / "a-short/img1/000005.jpg").unlink()
    write_info(tmp_path / "a-short", 4)
    rows = [",".join(f"{float(cell)}" for cell in line.split(",")) for line in reversed(lines)]
    write_tracks(tmp_path / "a-short", [row for row in rows if row[0] != "5"], newline="\r\n")
    findings = Findings()
    scenes = mot.read(tmp_path, "train", findings)
    assert (len(scenes), scenes.person_ids) == (5, [0, 1])
    assert notes(findings) == ["sequence with the pictures of b-long: read once"]


def test_another_row_in_the_common_frames_is_a_fault(tmp_path: Path) -> None:
    lines = write_sequence(tmp_path / "long", n_frames=5)
    copy_sequence(tmp_path / "long", tmp_path / "short")
    (tmp_path / "short/img1/000005.jpg").unlink()
    write_info(tmp_path / "short", 4)
    write_tracks(tmp_path / "short", [line for line in lines if line[0] != "5"][:-1])
    with pytest.raises(AnnotationError, match=r"short has the pictures of .*long and other"):
        mot.read(tmp_path, "train")


def test_pictures_of_another_size_than_stated_are_named_once(tmp_path: Path) -> None:
    write_sequence(tmp_path, n_frames=3)
    info = tmp_path / "seqinfo.ini"
    info.write_text(info.read_text().replace("imWidth=160", "imWidth=1920"))
    with pytest.raises(AnnotationError, match=r"stated as 1920x120, but .*000001\.jpg is 160x120"):
        mot.read(tmp_path, "test")
    findings = Findings(collect=True)
    assert mot.read(tmp_path, "test", findings).n_boxes == 6
    assert len(findings.faults) == 1
    info.write_text(info.read_text().replace("imWidth=1920", "imWidth=wide"))
    with pytest.raises(AnnotationError, match="imWidth must be a number, got 'wide'"):
        mot.read(tmp_path, "test")
    info.write_text(info.read_text().replace("imWidth=wide\n", ""))
    assert len(mot.read(tmp_path, "test")) == 3
