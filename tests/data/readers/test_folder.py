"""Our own folder format: what is written is read back, what is wrong is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.people import draw_scene, write_picture
from fdps.data.readers import folder
from fdps.errors import AnnotationError, MissingDataError, PictureError
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

HEADING = "image,x1,y1,x2,y2,person_id\n"


def made(folder_of_pictures: Path, people: list[list[int]], split: str) -> SceneSet:
    """Scenes that show the given people, with pictures somewhere else."""
    rng = np.random.default_rng(3)
    scenes = []
    for index, ids in enumerate(people):
        picture, boxes = draw_scene(rng, [max(i, 0) for i in ids])
        path = folder_of_pictures / split / f"{index}.png"
        write_picture(path, picture)
        boxes[:, 2:] += boxes[:, :2]
        scenes.append(
            Scene(
                name=f"{split}/{index}.png",
                path=path,
                boxes=(boxes + 0.3).astype(np.float32),
                person_ids=np.array(ids, dtype=np.int64),
                camera="hall" if index % 2 else None,
                frame=10 * index if index % 2 else None,
            )
        )
    return SceneSet(f"mine/{split}", tuple(scenes))


@pytest.fixture
def splits(tmp_path: Path) -> dict[str, SceneSet]:
    train = made(tmp_path / "elsewhere", [[0, 1], [1, UNLABELLED], [2]], "train")
    test = made(tmp_path / "elsewhere", [[7, 900], [900], [7], []], "test")
    queries = (
        Query("test/0.png", test.scenes[0].boxes[1], 900),
        Query("test/2.png", test.scenes[2].boxes[0], 7),
    )
    return {"train": train, "test": replace(test, queries=queries)}


@pytest.fixture
def root(tmp_path: Path, splits: dict[str, SceneSet]) -> Path:
    folder.write_folder(tmp_path / "mine", splits, name="mine", licence="own", notes='"quoted"\n')
    return tmp_path / "mine"


def assert_equal(read: SceneSet, written: SceneSet) -> None:
    assert read.name == written.name
    for a, b in zip(read.scenes, written.scenes, strict=True):
        assert (a.name, a.camera, a.frame) == (b.name, b.camera, b.frame)
        assert a.path.read_bytes() == b.path.read_bytes()
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.person_ids, b.person_ids)
    for p, q in zip(read.queries, written.queries, strict=True):
        assert (p.scene, p.person_id, p.gallery) == (q.scene, q.person_id, q.gallery)
        np.testing.assert_array_equal(p.box, q.box)


@pytest.mark.parametrize("split", ["train", "test"])
def test_round_trip(root: Path, splits: dict[str, SceneSet], split: str) -> None:
    assert_equal(folder.read(root, split), splits[split])


def test_rewriting_in_place_changes_no_file(root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    splits = {split: folder.read(root, split) for split in ("train", "test")}
    folder.write_folder(root, splits, name="mine", licence="own", notes='"quoted"\n')
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_info_keeps_every_text(root: Path, splits: dict[str, SceneSet]) -> None:
    notes = 'tab\t, "quotes", \\ and delete \x7f, 人'
    tables = {"made": {"by": "hand", "sizes": [1, 2], "share": 0.5}}
    folder.write_folder(root, splits, name="mine", notes=notes, tables=tables)
    info = folder.read_info(root)
    assert info == {"name": "mine", "licence": "", "notes": notes, **tables}


def test_training_identities_are_renumbered_and_test_identities_kept(root: Path) -> None:
    content = json.loads((root / folder.ANNOTATIONS).read_text())
    for row in content["annotations"]:
        row["person_id"] = row["person_id"] * 11 if row["person_id"] >= 0 else UNLABELLED
    (root / folder.ANNOTATIONS).write_text(json.dumps(content))
    (root / folder.QUERIES).unlink()
    assert folder.read(root, "train").person_ids == [0, 1, 2]
    assert folder.read(root, "test").person_ids == [77, 9900]


def test_without_a_list_everybody_in_two_scenes_is_looked_for_by_the_largest_box(
    root: Path,
) -> None:
    (root / folder.QUERIES).unlink()
    test = folder.read(root, "test")
    assert [query.person_id for query in test.queries] == [7, 900]
    for query in test.queries:
        boxes = np.concatenate([s.boxes[s.person_ids == query.person_id] for s in test.scenes])
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        np.testing.assert_array_equal(query.box, boxes[areas.argmax()])
    (root / folder.QUERIES).write_text(HEADING)  # a list, and nobody on it
    assert folder.read(root, "test").queries == ()


def test_query_lists_come_from_spreadsheets_too(root: Path) -> None:
    rows = HEADING + "test/0.png,-5,2,30,40.5,900\n\ntrain/0.png,1,2,30,40,0\n"
    (root / folder.QUERIES).write_bytes(b"\xef\xbb\xbf" + rows.replace("\n", "\r\n").encode())
    (query,) = folder.read(root, "test").queries
    assert query.box.tolist() == [0, 2, 30, 40.5]  # cut at the border


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("test/9.png,1,2,30,40,900", "image 'test/9.png' is not annotated"),  # unknown picture
        ("test/0.png,1,2,30,40,5", "nobody in this split has person_id 5"),  # unknown person
        ("test/0.png,1,2,30,40,-1", "person_id must be a whole number from 0"),  # unlabelled
        ("test/0.png,1,2,30,40,9²", "person_id must be a whole number from 0"),  # digit, no number
        ("test/0.png,1,2,30,900", "expected 6 values, got 5"),  # a value is missing
        ("test/0.png,a,2,30,40,900", "the box must be four numbers"),  # text
        ("test/0.png,nan,2,30,40,900", "must have x1 < x2 and y1 < y2"),  # not a number
        ("test/0.png,30,2,30,40,900", "must have x1 < x2 and y1 < y2"),  # no width
        ("test/0.png,500,2,600,40,900", "lies outside the picture, 160x120"),  # right of it
    ],
)
def test_a_bad_query_is_named_with_its_line(root: Path, line: str, expected: str) -> None:
    (root / folder.QUERIES).write_text(f"{HEADING}test/2.png,1,2,30,40,7\n{line}\n")
    with pytest.raises(AnnotationError) as caught:
        folder.read(root, "test")
    assert f"{root / folder.QUERIES}, line 3: " in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"scene;x1;y1\n", "line 1: the columns must be image,x1,y1,x2,y2,person_id"),
        (b"", "line 1: the columns must be image,x1,y1,x2,y2,person_id"),
        (HEADING.encode() + b"\xff\xfe\n", "is not UTF-8"),
        (HEADING.encode() + b'"' + b"x" * 140_000, "line 2: field larger than field limit"),
    ],
)
def test_a_file_that_is_no_query_list(root: Path, content: bytes, expected: str) -> None:
    (root / folder.QUERIES).write_bytes(content)
    with pytest.raises(AnnotationError, match=expected):
        folder.read(root, "test")


@pytest.mark.parametrize("name", [folder.INFO, folder.ANNOTATIONS, "images/test/0.png"])
def test_missing_files_are_named(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(MissingDataError, match=Path(name).name):
        folder.read(root, "test")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"name = ", "is not TOML"),
        (b"name = '\xff'", "is not TOML"),
        (b"", "'name' must be a text"),
        (b"name = 3", "'name' must be a text"),
    ],
)
def test_bad_info(root: Path, content: bytes, expected: str) -> None:
    (root / folder.INFO).write_bytes(content)
    with pytest.raises(AnnotationError, match=expected):
        folder.read_info(root)


def test_a_bad_annotation_and_a_bad_picture_are_named(root: Path) -> None:
    (root / "images/test/0.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"0\.png"):
        folder.read(root, "test")
    (root / folder.ANNOTATIONS).write_text("{")
    with pytest.raises(AnnotationError, match=folder.ANNOTATIONS):
        folder.read(root, "test")


def test_scenes_that_cannot_be_written(tmp_path: Path, splits: dict[str, SceneSet]) -> None:
    test = splits["test"]
    away = replace(test, scenes=(replace(test.scenes[0], name="../up.png"),), queries=())
    gone = replace(test.scenes[0], path=tmp_path / "gone.png")
    for bad, message in [
        ({"test": away}, "leads out of the folder"),
        ({"test": test, "again": test}, "occurs twice"),
    ]:
        with pytest.raises(AnnotationError, match=message):
            folder.write_folder(tmp_path / "bad", bad, name="bad")
    with pytest.raises(MissingDataError, match=r"gone\.png"):
        folder.write_folder(tmp_path / "bad", {"test": replace(test, scenes=(gone,))}, name="bad")
    assert not (tmp_path / "bad" / folder.INFO).exists()


@pytest.fixture
def with_galleries(tmp_path: Path, splits: dict[str, SceneSet]) -> Path:
    first, second = splits["test"].queries
    box = splits["test"].scenes[2].boxes[0]
    listed = ("test/2.png", "test/1.png", "test/2.png")
    own = replace(first, gallery=listed, gallery_boxes={2: box})
    test = replace(splits["test"], queries=(own, second))
    folder.write_folder(tmp_path / "lists", {"test": test}, name="lists")
    return tmp_path / "lists"


def test_galleries_are_kept_in_order_with_their_boxes(
    with_galleries: Path, splits: dict[str, SceneSet]
) -> None:
    first, second = folder.read(with_galleries, "test").queries
    assert first.gallery == ("test/2.png", "test/1.png", "test/2.png")
    assert first.gallery_boxes is not None
    assert {k: v.tolist() for k, v in first.gallery_boxes.items()} == {
        2: splits["test"].scenes[2].boxes[0].tolist()
    }
    assert (second.gallery, second.gallery_boxes) == (None, None)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "is not JSON"),
        (b"[]", "must list 2 objects, one for each query"),
        (b"[1, 2]", "query 1 must be an object"),
        (b'[{"image": "x"}, {}]', r"query 1 is about \('x', None\), queries.csv about"),
        (b'[{"gallery": 1}, {}]', "'gallery' must be a list of image names"),
        (b'[{"gallery": ["no"]}, {}]', "image 'no' is not in this split"),
        (b'[{"gallery": ["test/1.png"], "boxes": 1}, {}]', "'boxes' must be an object"),
        (
            b'[{"gallery": ["test/1.png"], "boxes": {"1": [1, 2, 3, 4]}}, {}]',
            "must map positions 0..0 to x1 y1 x2 y2, got '1'",
        ),
        (
            b'[{"gallery": ["test/1.png"], "boxes": {"0": [1, 2, 3]}}, {}]',
            "must map positions 0..0",
        ),
        (
            b'[{"gallery": ["test/1.png"], "boxes": {"0": [5, 2, 3, 4]}}, {}]',
            "must have x1 < x2",
        ),
        (
            b'[{"gallery": ["test/1.png"], "boxes": {"0": [500, 2, 600, 40]}}, {}]',
            "lies outside the picture, 160x120",
        ),
        (
            b'[{"gallery": ["test/1.png"], "boxes": {"0": [0.1, 0.2, 0.3, 0.9]}}, {}]',
            "look like shares of the picture",
        ),
    ],
)
def test_a_bad_gallery_file_is_named(with_galleries: Path, content: bytes, expected: str) -> None:
    who = b'{"image": "test/0.png", "person_id": 900, "gallery"'
    file = with_galleries / "galleries" / "test.json"
    file.write_bytes(content.replace(b'{"gallery"', who))
    with pytest.raises(AnnotationError, match=rf"test\.json.*{expected}"):
        folder.read(with_galleries, "test")


def test_details_are_kept_beside_the_boxes_and_read_over(
    tmp_path: Path, splits: dict[str, SceneSet]
) -> None:
    details = {"train/0.png": [{"visible": 0.5}, {"visible": 1.0}]}
    folder.write_folder(tmp_path / "more", splits, name="mine", details=details)
    content = json.loads((tmp_path / "more" / folder.ANNOTATIONS).read_text())
    assert [row.get("visible") for row in content["annotations"][:3]] == [0.5, 1.0, None]
    assert folder.read(tmp_path / "more", "train").n_boxes == splits["train"].n_boxes
