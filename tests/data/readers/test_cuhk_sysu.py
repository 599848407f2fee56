"""CUHK-SYSU: every quirk of its files, by name."""

from pathlib import Path

import numpy as np
import pytest

from fake.cuhk_sysu import Content, made, save, write_cuhk_sysu, write_movienet
from fdps.data import load_scenes
from fdps.data.findings import Findings
from fdps.data.readers import cuhk_sysu, movienet
from fdps.errors import AnnotationError, FdpsError, MissingDataError, PictureError, UsageError
from fdps.structures import UNLABELLED, Query, SceneSet

TRAIN_LIST, LIST = "annotation/test/train_test/Train.mat", "annotation/test/train_test/TestG100.mat"


@pytest.fixture
def content() -> Content:
    return made()


def read(tmp_path: Path, content: Content, split: str) -> tuple[SceneSet, list[str]]:
    """The set, and what was noted but for the gallery size, which a miniature cannot have."""
    findings = Findings()
    root = write_cuhk_sysu(tmp_path / "cuhk", content)
    scenes = cuhk_sysu.read(root, split, findings)
    return scenes, [note.what for note in findings.notes if "another size" not in note.what]


def corners(box: list[float]) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y + h]


def test_train(tmp_path: Path, content: Content) -> None:
    scenes, notes = read(tmp_path, content, "train")
    assert scenes.name == "cuhk_sysu/train"
    assert [scene.name for scene in scenes.scenes] == [f"s{i}.jpg" for i in range(1, 7)]
    assert scenes.person_ids == [0, 1, 2]  # p2, p3, p7
    first = scenes.scenes[0]
    assert first.path == tmp_path / "cuhk/Image/SSM/s1.jpg"
    assert first.person_ids.tolist() == [0, 1, UNLABELLED]
    assert first.boxes.dtype == np.float32
    assert first.boxes.tolist() == [corners(box) for box in content.boxes["s1.jpg"]]
    assert (scenes.queries, notes) == ((), [])


def test_test_keeps_the_numbers_of_the_people_and_has_queries(
    tmp_path: Path, content: Content
) -> None:
    scenes, notes = read(tmp_path, content, "test")
    assert [scene.name for scene in scenes.scenes] == content.pool
    assert scenes.person_ids == [11, 12]
    assert [(query.scene, query.person_id) for query in scenes.queries] == [
        ("s101.jpg", 11),
        ("s102.jpg", 12),
    ]
    query = scenes.queries[1]
    assert query.box.tolist() == corners(content.boxes["s102.jpg"][1])
    assert query.gallery == tuple(name for name, _ in content.searches[1].gallery)
    assert query.gallery_boxes is not None
    assert sorted(query.gallery_boxes) == [0, 1, 2, 3, 4]
    for position, box in query.gallery_boxes.items():
        assert box.tolist() == corners(content.boxes[query.gallery[position]][1])
    assert notes == []


def test_bytes_and_16_bit_numbers_do_not_overflow(tmp_path: Path, content: Content) -> None:
    box = [200.0, 100.0, 100.0, 130.0]  # all fit a byte; 200 + 100 does not
    content.boxes["s1.jpg"][0] = box
    content.train["p2"][0] = ("s1.jpg", box)
    scenes, _ = read(tmp_path, content, "train")
    assert scenes.scenes[0].boxes[0].tolist() == [200, 100, 300, 230]
    assert scenes.scenes[0].person_ids[0] == 0


@pytest.mark.parametrize("box", [[5, 5, 0, 9], [5, 5, 9, 0], [5, 5, -3, 9], [5, 5, 9, -1]])
def test_boxes_without_width_or_height_are_dropped_and_noted(
    tmp_path: Path, content: Content, box: list[float]
) -> None:
    content.boxes["s1.jpg"].insert(1, box)
    scenes, notes = read(tmp_path, content, "train")
    assert len(scenes.scenes[0].boxes) == 3
    assert scenes.scenes[0].person_ids.tolist() == [0, 1, UNLABELLED]  # the ids did not move
    assert notes == ["box without width or height is dropped"]


def test_image_without_a_valid_box_stays_a_scene(tmp_path: Path, content: Content) -> None:
    content.boxes["s108.jpg"] = [[0, 0, 0, 0]]
    scenes, _ = read(tmp_path, content, "test")
    assert scenes.scenes[-1].boxes.shape == (0, 4)
    assert scenes.scenes[-1].person_ids.dtype == np.int64


def test_duplicate_gallery_entries_are_kept_in_order_with_their_boxes(
    tmp_path: Path, content: Content
) -> None:
    twin = [1.0, 2.0, 30.0, 40.0]
    content.boxes["s103.jpg"].append(twin)  # p11 appears twice in this picture
    content.searches[0].gallery.insert(1, ("s103.jpg", twin))
    scenes, notes = read(tmp_path, content, "test")
    query = scenes.queries[0]
    assert query.gallery is not None
    assert query.gallery[:4] == ("s102.jpg", "s103.jpg", "s103.jpg", "s104.jpg")
    shown = [box for name, box in query.gallery_entries() if name == "s103.jpg"]
    assert shown[0] is not None
    assert shown[1] is not None
    assert shown[0].tolist() == corners(twin)
    assert shown[1].tolist() == corners(content.boxes["s103.jpg"][0])
    assert scenes.scenes[2].person_ids.tolist() == [11, 12, UNLABELLED, 11]
    assert notes == ["gallery lists an image twice: kept"]


def test_query_that_lists_its_own_image_keeps_it(tmp_path: Path, content: Content) -> None:
    own = content.searches[0]
    own.gallery.insert(0, (own.image, own.box))
    scenes, notes = read(tmp_path, content, "test")
    assert scenes.queries[0].gallery is not None
    assert scenes.queries[0].gallery[0] == scenes.queries[0].scene == "s101.jpg"
    assert notes == ["query lists its own image: kept"]


def test_identity_whose_box_equals_none_is_noted_and_nobody_gets_it(
    tmp_path: Path, content: Content
) -> None:
    name, (x, y, w, h) = content.train["p3"][0]
    content.train["p3"][0] = (name, [x, y, w, h + 1])
    scenes, notes = read(tmp_path, content, "train")
    assert scenes.scenes[0].person_ids.tolist() == [0, UNLABELLED, UNLABELLED]
    assert notes == ["sighting equals no box of its image: nobody there gets the identity"]


def test_sighting_in_an_image_without_a_row_is_noted(tmp_path: Path, content: Content) -> None:
    content.train["p3"].append(("s999.jpg", [1, 2, 3, 4]))
    findings = Findings()
    root = write_cuhk_sysu(tmp_path, content)
    cuhk_sysu.read(root, "train", findings)
    (note,) = findings.notes
    assert "Train.mat, identity 2" in note.where
    assert "s999.jpg" in note.where


def test_positives_are_read_behind_negatives_too(tmp_path: Path, content: Content) -> None:
    gallery = content.searches[0].gallery
    gallery.append(gallery.pop(0))  # a sighting behind images without the person
    scenes, notes = read(tmp_path, content, "test")
    boxes = scenes.queries[0].gallery_boxes
    assert boxes is not None
    assert sorted(boxes) == [0, 1, 2, 3, 6]
    assert scenes.scenes[1].person_ids[0] == 11  # and gets the identity
    assert notes == ["sighting stands behind an entry without one: read all the same"]


def test_two_identities_of_one_box(tmp_path: Path, content: Content) -> None:
    content.train["p7"].append(content.train["p2"][0])
    scenes, notes = read(tmp_path, content, "train")
    assert scenes.scenes[0].person_ids[0] == 2
    assert notes == ["two identities claim one box: the later one gets it"]


def test_same_person_twice_in_an_image(tmp_path: Path, content: Content) -> None:
    content.boxes["s1.jpg"].append([3, 3, 20, 30])
    content.train["p2"].append(("s1.jpg", [3, 3, 20, 30]))
    scenes, _ = read(tmp_path, content, "train")
    assert scenes.scenes[0].person_ids.tolist() == [0, 1, UNLABELLED, 0]


def test_border_is_cut_after_adding(tmp_path: Path, content: Content) -> None:
    content.boxes["s1.jpg"][2] = [-10, 200, 40, 90]
    content.boxes["s2.jpg"].append([330, 10, 5, 5])
    scenes, notes = read(tmp_path, content, "train")
    assert scenes.scenes[0].boxes[2].tolist() == [0, 200, 30, 240]
    assert len(scenes.scenes[1].boxes) == 3
    assert notes == [
        "box passes the border of its picture: it is cut there",
        "box passes the border of its picture: it lies beyond it and is dropped",
    ]


def test_gallery_sizes_and_subsets(tmp_path: Path, content: Content) -> None:
    content.searches[0].gallery = content.searches[0].gallery[:3]
    scenes, _ = read(tmp_path, content, "test")
    lists = scenes.query_lists
    assert list(lists) == ["50", "100", "occlusion", "resolution"]
    assert [q.gallery for q in lists["50"]()] == [q.gallery for q in scenes.queries]
    assert [query.person_id for query in lists["occlusion"]()] == [11]
    assert [query.person_id for query in lists["resolution"]()] == [12]


def test_a_list_that_asks_for_others_is_refused(tmp_path: Path, content: Content) -> None:
    root = write_cuhk_sysu(tmp_path, content, sizes=(100,))
    content.searches.reverse()
    other = write_cuhk_sysu(tmp_path / "other", content, sizes=(50,))
    name = "annotation/test/train_test/TestG50.mat"
    (root / name).write_bytes((other / name).read_bytes())
    lists = cuhk_sysu.read(root, "test").query_lists
    with pytest.raises(AnnotationError, match=r"TestG50\.mat asks for others"):
        lists["50"]()


def test_another_list_serves_where_100_is_missing(tmp_path: Path, content: Content) -> None:
    root = write_cuhk_sysu(tmp_path, content, sizes=(500,))
    assert len(cuhk_sysu.read(root, "test").queries) == 2


def test_gallery_of_another_size_is_noted(tmp_path: Path, content: Content) -> None:
    findings = Findings()
    cuhk_sysu.read(write_cuhk_sysu(tmp_path, content), "test", findings)
    assert {note.what for note in findings.notes} == {
        "gallery of another size than the 100 of its file"
    }


def test_list_of_everybody_is_compared_when_faults_are_collected(
    tmp_path: Path, content: Content
) -> None:
    root = write_cuhk_sysu(tmp_path, content)
    content.train["p2"][0] = ("s1.jpg", [0, 0, 1, 1])
    other = write_cuhk_sysu(tmp_path / "other", content)
    name = "annotation/Person.mat"
    (root / name).write_bytes((other / name).read_bytes())
    findings = Findings(collect=True)
    cuhk_sysu.read(root, "train", findings)
    assert [note.what for note in findings.notes] == [
        "sighting of Person.mat equals no box of its image"
    ]
    assert not findings.faults


def without_box(content: Content) -> None:
    content.searches[0].box = []


def unknown_query_image(content: Content) -> None:
    content.searches[0].image = "s1.jpg"


def unknown_entry(content: Content) -> None:
    content.searches[0].gallery.append(("s1.jpg", None))


def not_a_number(content: Content) -> None:
    content.boxes["s101.jpg"][0] = [np.nan, 1, 2, 3]


def three_numbers(content: Content) -> None:
    content.boxes["s101.jpg"][0] = [1, 2, 3]


def nameless(content: Content) -> None:
    content.searches[0].name = "somebody"


def leads_out(content: Content) -> None:
    content.pool.append("../s1.jpg")


def twice_in_pool(content: Content) -> None:
    content.pool.append("s101.jpg")


def no_row(content: Content) -> None:
    content.pool.append("s77.jpg")


def outside(content: Content) -> None:
    content.searches[0].box = [900, 0, 5, 5]


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (without_box, "query 1 has no box"),
        (unknown_query_image, "query 1: image 's1.jpg' is not among the images of the test"),
        (unknown_entry, "query 1: image 's1.jpg' is not among the images of the test"),
        (not_a_number, r"image 7 \(s101.jpg\), box 1: .* four finite numbers"),
        (three_numbers, r"image 7 \(s101.jpg\), box 1: a box must be x y w h"),
        (nameless, "query 1: identity 'somebody' is not named like 'p123'"),
        (leads_out, "pool.mat, row 9: image name '../s1.jpg' leads out"),
        (twice_in_pool, "pool.mat, row 9: 's101.jpg' occurs twice"),
        (no_row, "image 's77.jpg' is listed, but has no row in Images.mat"),
        (outside, "query 1: box .* has no part inside its picture of 320x240"),
    ],
)
def test_faults_are_named_with_their_row(
    tmp_path: Path, content: Content, break_it: object, expected: str
) -> None:
    assert callable(break_it)
    break_it(content)
    root = write_cuhk_sysu(tmp_path, content)
    with pytest.raises(AnnotationError, match=expected):
        cuhk_sysu.read(root, "test")
    findings = Findings(collect=True)
    cuhk_sysu.read(root, "test", findings)  # goes on without the row
    assert findings.faults


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("annotation/Images.mat", "train"),
        ("annotation/pool.mat", "train"),
        (TRAIN_LIST, "train"),
        ("Image/SSM/s101.jpg", "test"),
    ],
)
def test_missing_files_are_named(tmp_path: Path, name: str, split: str) -> None:
    root = write_cuhk_sysu(tmp_path)
    (root / name).unlink()
    with pytest.raises(MissingDataError, match=Path(name).name):
        cuhk_sysu.read(root, split)


def test_no_list_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"TestG100\.mat") as caught:
        cuhk_sysu.read(write_cuhk_sysu(tmp_path, sizes=()), "test")
    assert "pool.mat" in caught.value.hint


def test_other_contents(tmp_path: Path) -> None:
    root = write_cuhk_sysu(tmp_path)
    save(root / LIST, {"TestG100": np.arange(3.0)})
    with pytest.raises(AnnotationError, match="expected a structure, got float64"):
        cuhk_sysu.read(root, "test")
    save(root / LIST, {"TestG100": {"Query": 1}})
    with pytest.raises(AnnotationError, match="no field 'Gallery', found: Query"):
        cuhk_sysu.read(root, "test")
    (root / "Image/SSM/s1.jpg").write_bytes(b"")
    with pytest.raises(PictureError):
        cuhk_sysu.read(root, "train")


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no split 'val'"):
        cuhk_sysu.read(write_cuhk_sysu(tmp_path), "val")
    with pytest.raises(UsageError, match="no split 'val'"):
        movienet.read(tmp_path, "val")


def test_movienet_train_holds_the_stills_of_its_identities(
    tmp_path: Path, content: Content
) -> None:
    del content.train["p7"]  # as a smaller Train_app file would
    content.train["p2"] = content.train["p2"][:1]
    scenes = movienet.read(write_movienet(tmp_path, content), "train")
    assert [scene.name for scene in scenes.scenes] == ["s1.jpg", "s2.jpg", "s4.jpg", "s5.jpg"]
    assert scenes.person_ids == [0, 1]
    assert scenes.scenes[0].person_ids.tolist() == [0, 1, UNLABELLED]


def test_movienet_test_numbers_people_as_listed(tmp_path: Path, content: Content) -> None:
    for search, name in zip(content.searches, ["tt1_Ann", "tt1_Bob"], strict=True):
        search.name = name  # no numbers here
    root = write_movienet(tmp_path, content)
    for split in ("test", "test_2000"):
        scenes = movienet.read(root, split)
        assert [query.person_id for query in scenes.queries] == [0, 1]
        assert scenes.scenes[0].person_ids.tolist() == [0, 1, UNLABELLED]
    with pytest.raises(MissingDataError, match=r"pool_4000\.mat"):
        movienet.read(root, "test_4000")


def test_queries_are_queries(tmp_path: Path) -> None:
    scenes = cuhk_sysu.read(write_cuhk_sysu(tmp_path), "test")
    for make in scenes.query_lists.values():
        assert all(isinstance(query, Query) for query in make())
    assert issubclass(AnnotationError, FdpsError)


def test_a_miss_is_reported_where_nobody_asked_for_findings(
    tmp_path: Path, content: Content, caplog: pytest.LogCaptureFixture
) -> None:
    content.train["p3"][0] = ("s1.jpg", [0, 0, 1, 1])
    content.boxes["s2.jpg"].append([5, 5, 0, 5])
    load_scenes("cuhk_sysu", write_cuhk_sysu(tmp_path, content), "train")
    (message,) = caplog.messages
    assert message.startswith("cuhk_sysu/train: 1 × sighting equals no box of its image")
    assert "Train.mat, identity 2: s1.jpg" in message


def test_boxes_in_another_convention_are_named(tmp_path: Path) -> None:
    content = made(n_train=3, n_test=2, size=(160, 120))
    for name in ("s1.jpg", "s2.jpg"):
        content.boxes[name] = [(90, 20, 150, 118), (70, 15, 130, 100)]
    content.boxes["s3.jpg"] = []
    content.train = {}
    write_cuhk_sysu(tmp_path, content)
    with pytest.raises(AnnotationError, match=r"4 of 4 boxes .* as two corners"):
        cuhk_sysu.read(tmp_path, "train")
    content.boxes["s1.jpg"] = [(0.5, 0.4, 0.75, 0.5)]
    write_cuhk_sysu(tmp_path, content)
    with pytest.raises(AnnotationError, match=r"s1\.jpg, box .* shares of the picture"):
        cuhk_sysu.read(tmp_path, "train")
