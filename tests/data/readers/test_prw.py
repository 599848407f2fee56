from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from fake.people import write_picture
from fake.prw import (
    frame_name,
    query_line,
    write_boxes,
    write_frame_list,
    write_prw,
    write_queries,
)
from fdps.data.findings import Findings
from fdps.data.readers import prw
from fdps.errors import AnnotationError, MissingDataError, PictureError, UsageError
from fdps.structures import UNLABELLED

FIRST, LAST = frame_name(1), frame_name(12)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_prw(tmp_path / "prw")


def one_frame(root: Path, rows: object, variable: str = "box_new", name: str = FIRST) -> Path:
    """A set with one train frame of 160x120 and these boxes."""
    write_frame_list(root, "train", [name])
    write_picture(root / "frames" / f"{name}.jpg", np.zeros((120, 160, 3), dtype=np.uint8))
    write_boxes(root, name, rows, variable)
    return root


def test_train(root: Path) -> None:
    scenes = prw.read(root, "train")
    assert scenes.name == "prw/train"
    assert [scene.name for scene in scenes.scenes] == [frame_name(i) for i in range(1, 7)]
    assert scenes.scenes[0].path == root / "frames" / f"{FIRST}.jpg"
    assert scenes.n_boxes == 18
    assert scenes.person_ids == [0, 1, 2]  # 2, 3, 7 in the files
    assert [scene.person_ids.tolist() for scene in scenes.scenes[:3]] == [
        [0, 1, UNLABELLED],
        [1, 2, UNLABELLED],
        [2, 0, UNLABELLED],
    ]
    assert scenes.queries == ()


def test_test_keeps_identities_and_has_queries(root: Path) -> None:
    scenes = prw.read(root, "test")
    assert scenes.person_ids == [11, 12]
    assert [(query.scene, query.person_id) for query in scenes.queries] == [
        (frame_name(7), 11),
        (frame_name(8), 12),
    ]
    shown = {scene.name: scene for scene in scenes.scenes}
    for query in scenes.queries:
        scene = shown[query.scene]
        row = scene.person_ids.tolist().index(query.person_id)
        assert (query.box == scene.boxes[row]).all()
        assert query.gallery is None


def test_camera_and_frame_come_from_the_name(tmp_path: Path) -> None:
    names = ["c6s1_042326", "c1s3_000001"]
    for name in names:
        one_frame(tmp_path, [[1, 0, 0, 9, 9]], name=name)
    write_frame_list(tmp_path, "train", names)
    first, second = prw.read(tmp_path, "train").scenes
    assert (first.camera, first.frame) == ("c6", 42326)
    assert (second.camera, second.frame) == ("c1", 20_000_001)


def test_border_is_cut_after_adding(tmp_path: Path) -> None:
    root = one_frame(tmp_path, [[1, -10.0, -4.0, 30.0, 20.0], [2, 150.5, 100.0, 30.0, 30.0]])
    boxes = prw.read(root, "train").scenes[0].boxes
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[0, 0, 20, 16], [150.5, 100, 160, 120]]


def test_box_beyond_the_border_is_dropped_with_its_identity(tmp_path: Path) -> None:
    root = one_frame(tmp_path, [[5, 160, 0, 9, 9], [6, 0, 0, 9, 9], [7, -9, 0, 9, 9]])
    scene = prw.read(root, "train").scenes[0]
    assert scene.boxes.tolist() == [[0, 0, 9, 9]]
    assert scene.person_ids.tolist() == [0]


def test_narrow_integers_do_not_overflow(tmp_path: Path) -> None:
    rows = np.array([[1, 100, 20, 50, 90]], dtype=np.int8)  # 100 + 50 is not an int8
    assert prw.read(one_frame(tmp_path, rows), "train").scenes[0].boxes.tolist() == [
        [100, 20, 150, 110]
    ]


def test_frame_without_people(tmp_path: Path) -> None:
    scene = prw.read(one_frame(tmp_path, np.zeros((0, 5))), "train").scenes[0]
    assert scene.boxes.shape == (0, 4)
    assert scene.person_ids.shape == (0,)
    assert scene.boxes.dtype == np.float32


def test_same_person_twice_in_a_frame_is_kept(tmp_path: Path) -> None:
    root = one_frame(tmp_path, [[5, 0, 0, 9, 9], [5, 20, 0, 9, 9]])
    assert prw.read(root, "train").scenes[0].person_ids.tolist() == [0, 0]


@pytest.mark.parametrize("variable", prw.BOX_VARIABLES)
def test_each_name_of_the_annotations(tmp_path: Path, variable: str) -> None:
    assert prw.read(one_frame(tmp_path, [[1, 0, 0, 9, 9]], variable), "train").n_boxes == 1


def test_box_new_comes_first(tmp_path: Path) -> None:
    root = one_frame(tmp_path, [[1, 0, 0, 9, 9]])
    tables = {"anno_file": np.zeros((0, 5)), "box_new": [[1, 0, 0, 9, 9.0]]}
    savemat(root / "annotations" / f"{FIRST}.jpg.mat", tables)
    assert prw.read(root, "train").n_boxes == 1


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_lines_of_the_query_file_end_either_way(root: Path, newline: str) -> None:
    lines = [query_line(np.array([11, 1, 2, 30, 40]), LAST), ""]
    write_queries(root, lines, newline)
    (query,) = prw.read(root, "test").queries
    assert (query.scene, query.person_id, query.box.tolist()) == (LAST, 11, [1, 2, 31, 42])


def test_query_box_is_cut_like_an_annotation(root: Path) -> None:
    write_queries(root, [query_line(np.array([11, -5.5, 2, 30, 400]), LAST)])
    assert prw.read(root, "test").queries[0].box.tolist() == [0, 2, 24.5, 120]


def test_unknown_split(root: Path) -> None:
    with pytest.raises(UsageError, match="no split 'val'") as caught:
        prw.read(root, "val")
    assert "train or test" in caught.value.hint


@pytest.mark.parametrize(
    "path",
    ["frame_test.mat", "query_info.txt", f"annotations/{LAST}.jpg.mat", f"frames/{LAST}.jpg"],
)
def test_missing_file_is_named(root: Path, path: str) -> None:
    (root / path).unlink()
    with pytest.raises(MissingDataError, match=Path(path).name):
        prw.read(root, "test")


def test_damaged_mat_is_named(root: Path) -> None:
    (root / "annotations" / f"{FIRST}.jpg.mat").write_bytes(b"no mat file")
    with pytest.raises(AnnotationError, match=rf"{FIRST}\.jpg\.mat is not a readable \.mat file"):
        prw.read(root, "train")


@pytest.mark.parametrize("folder", ["frames", "annotations"])
def test_missing_folder_is_named(root: Path, folder: str) -> None:
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(MissingDataError, match=f"no folder .*{folder}") as caught:
        prw.read(root, "test")
    assert "frame_train.mat" in caught.value.hint


def test_mat_without_the_variable_names_what_it_has(root: Path) -> None:
    savemat(root / "annotations" / f"{FIRST}.jpg.mat", {"boxes": [[1.0]], "note": "x"})
    with pytest.raises(AnnotationError, match=r"box_new or .*, found: boxes, note"):
        prw.read(root, "train")
    savemat(root / "frame_train.mat", {})
    with pytest.raises(AnnotationError, match=r"frame_train.mat must .* found: none"):
        prw.read(root, "train")


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 0, 0, 9]],  # a column is missing
        [["a", "b", "c", "d", "e"]],  # text
        [[1.5, 0, 0, 9, 9]],  # half an identity
        [[1e300, 0, 0, 9, 9]],  # an identity beyond all integers
        [[np.nan, 0, 0, 9, 9]],
        [[1, 0, np.inf, 9, 9]],
        [[1, 0, 0, 0, 9]],  # x2 = x1
        [[1, 0, 0, 9, -9]],  # y2 < y1
    ],
)
def test_senseless_boxes_are_refused(tmp_path: Path, rows: list[list[object]]) -> None:
    with pytest.raises(AnnotationError, match=f"{FIRST}.*(id x y w h|got)"):
        prw.read(one_frame(tmp_path, rows), "train")


@pytest.mark.parametrize("name", ["frame7", "../c6s1_000001", "c6s1_000001.jpg", "c6s0_000001"])
def test_unusual_frame_name_is_refused(root: Path, name: str) -> None:
    write_frame_list(root, "train", [name])
    with pytest.raises(AnnotationError, match="not named like 'c6s1_042326'"):
        prw.read(root, "train")


def test_frame_listed_twice_is_refused(root: Path) -> None:
    write_frame_list(root, "train", [FIRST, FIRST])
    with pytest.raises(AnnotationError, match=f"lists frame '{FIRST}' twice"):
        prw.read(root, "train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"11 1 2 30 {LAST}", "expected 'id x y w h frame'"),
        (f"11 1 2 30 forty {LAST}", "expected 'id x y w h frame'"),
        ("11", "expected 'id x y w h frame'"),
        (f"11 1 2 30 40 {FIRST}", f"'{FIRST}' is not a frame of the test list"),
        (f"11 1 2 0 40 {LAST}", "w > 0"),
        (f"11 nan 2 30 40 {LAST}", "w > 0"),
        (f"11 500 2 30 40 {LAST}", "no person inside"),
        (f"-2 1 2 30 40 {LAST}", "no person inside"),
    ],
)
def test_bad_query_names_its_line(root: Path, line: str, message: str) -> None:
    write_queries(root, [query_line(np.array([11, 1, 2, 30, 40]), LAST), line])
    with pytest.raises(AnnotationError, match=f"query_info.txt line 2: .*{message}"):
        prw.read(root, "test")


def test_frame_that_is_no_picture(root: Path) -> None:
    (root / "frames" / f"{FIRST}.jpg").write_text("no picture")
    with pytest.raises(PictureError, match=FIRST):
        prw.read(root, "train")


@pytest.mark.long
def test_real_frames(shared_data: Path) -> None:
    train, test = (prw.read(shared_data / "prw_c6", split) for split in ("train", "test"))
    assert (len(train), train.n_boxes, train.person_ids) == (747, 1472, list(range(140)))
    assert (len(test), test.n_boxes) == (249, 523)
    assert len(test.queries) == 102
    assert len({query.person_id for query in test.queries}) == 35
    for scene in (*train.scenes, *test.scenes):
        assert scene.camera == "c6"
        assert scene.boxes.min(initial=0) >= 0
        assert (scene.boxes <= [720, 576, 720, 576]).all()
        assert (scene.boxes[:, 2:] > scene.boxes[:, :2]).all()
    shown = {scene.name: scene for scene in test.scenes}
    for query in test.queries:  # each query is one of the annotated people
        scene = shown[query.scene]
        row = scene.person_ids.tolist().index(query.person_id)
        assert np.abs(scene.boxes[row] - query.box).max() < 1


def test_training_identities_with_gaps_become_a_run(tmp_path: Path) -> None:
    """PRW has 483 training identities: 1..478 and five odd ones, up to 932."""
    root = one_frame(tmp_path, [[k, 5 * i, 0, 9, 9] for i, k in enumerate((932, 1, 480, -2, 478))])
    savemat(root / "ID_train.mat", {"ID_train": np.array([[1, 478, 480, 932]], dtype=np.uint16)})
    findings = Findings()
    scenes = prw.read(root, "train", findings)
    assert scenes.scenes[0].person_ids.tolist() == [3, 0, 2, UNLABELLED, 1]
    assert findings.notes == []


def test_lists_of_identities_are_compared(root: Path) -> None:
    savemat(root / "ID_train.mat", {"ID_train": np.array([[2, 3, 99]], dtype=np.uint16)})
    savemat(root / "ID_test.mat", {"ID_test2": np.array([[11, 12]], dtype=np.uint16)})
    findings = Findings()
    prw.read(root, "train", findings)
    assert [(note.what.split()[0], note.where[-3:]) for note in findings.notes] == [
        ("listed", " 99"),
        ("identity", ": 7"),
    ]
    findings = Findings()
    prw.read(root, "test", findings)
    assert findings.notes == []  # ID_test2 holds those who are looked for


def test_the_variable_really_is_called_id_test2(root: Path) -> None:
    savemat(root / "ID_test.mat", {"ID_test": np.array([[11, 12]])})
    with pytest.raises(AnnotationError, match="must hold the variable ID_test2, found: ID_test"):
        prw.read(root, "test")


def test_training_people_in_test_frames_keep_their_identity_but_are_no_queries(
    root: Path,
) -> None:
    write_boxes(root, LAST, [[2, 0, 0, 9, 9]])
    scenes = prw.read(root, "test")
    assert 2 in scenes.person_ids
    assert {query.person_id for query in scenes.queries} == {11, 12}


def test_the_thirty_queries_of_prw_mini(root: Path) -> None:
    assert prw.read(root, "test").query_lists == {}
    row = query_line(np.array([12, 1, 2, 30, 40]), LAST)
    (root / "prwmini_query_info.txt").write_text(row + "\n")
    (query,) = prw.read(root, "test").query_lists["mini"]()
    assert (query.scene, query.person_id, query.box.tolist()) == (LAST, 12, [1, 2, 31, 42])


def test_oddities_are_noted(tmp_path: Path) -> None:
    rows = [[5, -3, 0, 9, 9], [5, 20, 0, 9, 9], [-2, 30, 0, 9, 9], [-2, 40, 0, 9, 9]]
    rows.append([6, 500, 0, 9, 9])
    findings = Findings()
    prw.read(one_frame(tmp_path, rows), "train", findings)
    assert sorted(note.what for note in findings.notes) == [
        "box lies beyond the border of its frame: dropped",
        "box passes the border of its frame: cut there",
        "person twice in a frame: both kept",
    ]


def test_all_faults_are_collected_and_the_good_rows_stay(root: Path) -> None:
    write_boxes(root, LAST, [[2, 0, 0, 9, 9], [3, 0, 0, 0, 9], [np.nan, 0, 0, 9, 9]])
    (root / "frames" / f"{frame_name(7)}.jpg").write_bytes(b"")
    lines = [query_line(np.array([12, 1, 2, 30, 40]), LAST), "nonsense", f"x 1 2 3 4 {LAST}"]
    write_queries(root, lines)
    findings = Findings(collect=True)
    scenes = prw.read(root, "test", findings)
    assert len(scenes) == 5
    assert scenes.scenes[-1].person_ids.tolist() == [2]
    assert len(scenes.queries) == 1
    assert len(findings.faults) == 5


def test_cameras_serve_the_multi_camera_protocol(root: Path) -> None:
    scenes = prw.read(root, "test")
    shown = {scene.name: scene.camera for scene in scenes.scenes}
    for query in scenes.queries:
        elsewhere = [
            scene.name
            for scene in scenes.scenes
            if query.person_id in scene.person_ids and scene.camera != shown[query.scene]
        ]
        assert elsewhere
