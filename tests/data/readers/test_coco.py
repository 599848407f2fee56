from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fake.coco import write_coco, write_json
from fake.people import write_picture
from fdps.data.findings import Findings
from fdps.data.readers import coco
from fdps.errors import AnnotationError, MissingDataError, PictureError
from fdps.structures import UNLABELLED


def test_train(tmp_path: Path) -> None:
    content = write_coco(tmp_path, person_ids=(4, 9, -1))
    scenes = coco.read(tmp_path, "train")
    assert scenes.name == "coco/train"
    assert [scene.name for scene in scenes.scenes] == [f"{i:04d}.jpg" for i in range(6)]
    scene = scenes.scenes[1]
    assert scene.path == tmp_path / "images" / "0001.jpg"
    assert (scene.camera, scene.frame) == ("gate", 300)
    assert scene.person_ids.tolist() == [0, 1, UNLABELLED]
    x, y, w, h = content["annotations"][3]["bbox"]
    assert scene.boxes[0].tolist() == [x, y, x + w, y + h]
    assert scenes.queries == ()


def test_test_keeps_identities_and_has_queries(tmp_path: Path) -> None:
    write_coco(tmp_path)
    scenes = coco.read(tmp_path, "test")
    assert scenes.person_ids == [4, 9]
    assert [(query.scene, query.person_id) for query in scenes.queries] == [
        ("0000.jpg", 4),
        ("0000.jpg", 9),
    ]
    assert (scenes.queries[1].box == scenes.scenes[0].boxes[1]).all()
    assert scenes.queries[1].gallery is None


def test_gallery_of_a_query(tmp_path: Path) -> None:
    content = write_coco(tmp_path)
    content["queries"][0]["gallery"] = [3, 1, 3]
    write_json(tmp_path, content)
    gallery = coco.read(tmp_path, "test").queries[0].gallery
    assert gallery == ("0003.jpg", "0001.jpg", "0003.jpg")


def test_optional_keys_may_be_absent(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=1)
    for row in (*content["images"], *content["annotations"]):
        for key in ("width", "height", "camera_id", "frame_id", "person_id", "iscrowd"):
            row.pop(key, None)
    del content["queries"], content["categories"]
    write_json(tmp_path, content)
    scenes = coco.read(tmp_path, "test")
    assert scenes.scenes[0].person_ids.tolist() == [UNLABELLED, UNLABELLED]
    assert (scenes.scenes[0].camera, scenes.scenes[0].frame) == (None, None)
    assert scenes.queries == ()


def test_every_negative_identity_is_unlabelled(tmp_path: Path) -> None:
    write_coco(tmp_path, person_ids=(-2, -1))
    assert coco.read(tmp_path, "test").scenes[0].person_ids.tolist() == [UNLABELLED] * 2


def test_picture_without_people(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=1) | {"annotations": [], "queries": []}
    write_json(tmp_path, content)
    scene = coco.read(tmp_path, "train").scenes[0]
    assert scene.boxes.shape == (0, 4)
    assert scene.boxes.dtype == np.float32
    assert scene.person_ids.dtype == np.int64


def test_box_is_cut_at_the_border(tmp_path: Path) -> None:
    content = write_coco(tmp_path)
    content["annotations"][0]["bbox"] = [-3, 100.5, 20, 900]
    write_json(tmp_path, content)
    assert coco.read(tmp_path, "train").scenes[0].boxes[0].tolist() == [0, 100.5, 17, 120]


def test_crowds_and_other_categories_are_left_out(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=1)
    content["annotations"][0]["iscrowd"] = 1
    bag = content["annotations"][1] | {"category_id": 2, "bbox": [3, 4, 20, 30]}
    content["annotations"].append(bag)
    content["categories"].append({"id": 2, "name": "bag"})
    write_json(tmp_path, content)
    assert coco.read(tmp_path, "test").scenes[0].person_ids.tolist() == [9]
    content["categories"][0]["name"] = "walker"  # nobody is called a person: all count
    write_json(tmp_path, content)
    assert coco.read(tmp_path, "test").scenes[0].person_ids.tolist() == [9, 9]


def test_images_are_filtered_by_their_split(tmp_path: Path) -> None:
    content = write_coco(tmp_path)
    for image in content["images"]:
        image["split"] = "train" if image["id"] >= 4 else "test"
    write_json(tmp_path, content)
    assert [scene.name for scene in coco.read(tmp_path, "train").scenes] == ["0004.jpg", "0005.jpg"]
    assert len(coco.read(tmp_path, "test")) == 4
    with pytest.raises(AnnotationError, match="no image of split 'val'") as caught:
        coco.read(tmp_path, "val")
    assert "test, train" in caught.value.hint
    del content["images"][0]["split"]
    write_json(tmp_path, content)
    with pytest.raises(AnnotationError, match="image 0 has no 'split', others have"):
        coco.read(tmp_path, "train")


def test_without_split_every_split_is_all(tmp_path: Path) -> None:
    write_coco(tmp_path)
    for split, n_queries in (("train", 0), ("val", 0), ("test", 2)):
        scenes = coco.read(tmp_path, split)
        assert (len(scenes), len(scenes.queries)) == (6, n_queries)


@pytest.mark.parametrize("name", ["annotations_test.json", "test.json"])
def test_a_file_of_the_split_comes_first(tmp_path: Path, name: str) -> None:
    content = write_coco(tmp_path)
    write_json(tmp_path, content | {"images": content["images"][:1], "annotations": []}, name)
    assert len(coco.read(tmp_path, "test")) == 1
    assert len(coco.read(tmp_path, "train")) == 6


def test_root_may_be_the_file_and_pictures_may_lie_beside_it(tmp_path: Path) -> None:
    write_coco(tmp_path)
    assert len(coco.read(tmp_path / "annotations.json", "train")) == 6
    for picture in (tmp_path / "images").iterdir():
        picture.rename(tmp_path / picture.name)
    (tmp_path / "images").rmdir()
    assert coco.read(tmp_path, "train").scenes[0].path == tmp_path / "0000.jpg"


def test_picture_is_measured_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "images" / "a.jpg", exif=exif)
    image = {"id": 0, "file_name": "a.jpg", "width": 60, "height": 80}
    content = {"images": [image], "annotations": [{"image_id": 0, "bbox": [0, 0, 60, 80]}]}
    write_json(tmp_path, content)
    assert coco.read(tmp_path, "train").scenes[0].boxes.tolist() == [[0, 0, 60, 80]]
    image["width"], image["height"] = 80, 60
    write_json(tmp_path, content)
    with pytest.raises(AnnotationError, match=r"stated as 80x60, but .*a\.jpg is 60x80"):
        coco.read(tmp_path, "train")


@pytest.mark.parametrize("root", ["", "nowhere", "nowhere.json"])
def test_missing_annotations(tmp_path: Path, root: str) -> None:
    with pytest.raises(MissingDataError, match="no annotations at") as caught:
        coco.read(tmp_path / root, "train")
    assert "annotations_train.json, train.json or annotations.json" in caught.value.hint


def test_missing_and_unreadable_picture(tmp_path: Path) -> None:
    write_coco(tmp_path)
    path = tmp_path / "images" / "0003.jpg"
    path.write_text("no picture")
    with pytest.raises(PictureError, match=r"0003\.jpg"):
        coco.read(tmp_path, "train")
    path.unlink()
    with pytest.raises(MissingDataError, match=r"0003\.jpg"):
        coco.read(tmp_path, "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),  # nested too deep for the parser
        (b"[]", "must hold a JSON object, got list"),
        (b'{"images": []}', "must have 'images' and 'annotations'"),
        (b'{"images": [], "annotations": {}}', "'annotations' must be a list of objects"),
        (b'{"images": [1], "annotations": []}', "'images' must be a list of objects"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "annotations.json").write_bytes(content)
    with pytest.raises(AnnotationError, match=rf"annotations\.json.* {message}"):
        coco.read(tmp_path, "train")


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        # images
        ("images", {"id": None}, "image '0001.jpg': 'id' must be a whole number, got None"),
        ("images", {"id": 2}, "two images have the same id"),
        ("images", {"file_name": None}, "image 1 must have a 'file_name', got None"),
        ("images", {"file_name": "0002.jpg"}, "two images have the same file_name"),
        ("images", {"file_name": "../0001.jpg"}, "leads out of the data set"),
        ("images", {"file_name": "/0001.jpg"}, "leads out of the data set"),
        ("images", {"width": 161}, "stated as 161x120"),
        ("images", {"frame_id": "7"}, "'frame_id' must be a whole number, got '7'"),
        # annotations
        ("annotations", {"image_id": None}, "annotation 1: 'image_id' must be a whole number"),
        ("annotations", {"image_id": 77}, "annotation 1 is of image 77, which is not among"),
        ("annotations", {"person_id": "12a"}, "annotation 1 of '0000.jpg': 'person_id' must be"),
        ("annotations", {"person_id": None}, "'person_id' must be a whole number, got None"),
        ("annotations", {"person_id": True}, "'person_id' must be a whole number, got True"),
        ("annotations", {"person_id": 2**70}, "'person_id' must be a whole number"),
        ("annotations", {"bbox": None}, "'bbox' must be .x, y, width, height., got None"),
        ("annotations", {"bbox": [1, 2, 3]}, "'bbox' must be"),
        ("annotations", {"bbox": [[1, 2], [3, 4], 5, 6]}, "'bbox' must be"),
        ("annotations", {"bbox": ["1", 2, 3, 4]}, "'bbox' must be"),
        ("annotations", {"bbox": [float("nan"), 2, 3, 4]}, "'bbox' must be"),
        ("annotations", {"bbox": [1, 2, 10**400, 4]}, "'bbox' must be"),
        ("annotations", {"bbox": [1, 2, 0, 4]}, "has no positive width and height"),
        ("annotations", {"bbox": [1, 2, 3, -4]}, "has no positive width and height"),
        ("annotations", {"bbox": [160, 0, 9, 9]}, "lies outside the picture of 160x120"),
        ("annotations", {"bbox": [0, -9, 9, 9]}, r"annotation 1 of '0000.jpg': bbox \[0, -9, 9, 9"),
        # queries
        ("queries", {"image_id": 77}, "query 1: image 77 is not among the images of the split"),
        ("queries", {"image_id": []}, "query 1: image .. is not among"),
        ("queries", {"person_id": -1}, "query 1: person_id must be at least 0, got -1"),
        ("queries", {"bbox": [200, 0, 9, 9]}, "query 1: bbox .* lies outside"),
        ("queries", {"gallery": 3}, "query 1: 'gallery' must be a list of image ids, got 3"),
        ("queries", {"gallery": [3, "x"]}, "query 1: image 'x' is not among"),
    ],
)
def test_bad_value_is_named(
    tmp_path: Path, part: str, change: dict[str, Any], message: str
) -> None:
    content = write_coco(tmp_path)
    content[part][1] |= change
    write_json(tmp_path, content)
    with pytest.raises(AnnotationError, match=message):
        coco.read(tmp_path, "test")


def test_pictures_in_folders(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "gate" / "a.png", np.zeros((8, 9, 3), dtype=np.uint8))
    image = {"id": 5, "file_name": "gate/a.png"}
    write_json(tmp_path, {"images": [image], "annotations": []})
    assert coco.read(tmp_path, "train").scenes[0].name == "gate/a.png"


def test_real_pictures(shared_data: Path) -> None:
    scenes = coco.read(shared_data / "penn_fudan", "train")
    assert (len(scenes), scenes.n_boxes, scenes.person_ids) == (170, 423, [])


@pytest.mark.parametrize("key", ["person_id", "pid"])
def test_keys_of_the_identity(tmp_path: Path, key: str) -> None:
    content = write_coco(tmp_path, person_ids=(4, -2))
    for annotation in content["annotations"]:
        annotation[key] = annotation.pop("person_id")
    write_json(tmp_path, content)
    assert coco.read(tmp_path, "test").scenes[0].person_ids.tolist() == [4, UNLABELLED]
    assert coco.read(tmp_path, "train").scenes[0].person_ids.tolist() == [0, UNLABELLED]


def test_an_id_that_repeats_is_the_identity(tmp_path: Path) -> None:
    content = write_coco(tmp_path, person_ids=(4, 9))
    for annotation in content["annotations"]:
        annotation["id"] = annotation.pop("person_id")
    write_json(tmp_path, content)
    findings = Findings()
    assert coco.read(tmp_path, "test", findings).person_ids == [4, 9]
    assert [note.what for note in findings.notes] == [
        "annotations repeat their 'id': it is taken as the identity"
    ]


def test_an_id_that_counts_annotations_is_no_identity(tmp_path: Path) -> None:
    content = write_coco(tmp_path)
    for annotation in content["annotations"]:
        del annotation["person_id"]
    write_json(tmp_path, content | {"queries": []})
    assert coco.read(tmp_path, "test").person_ids == []


def test_annotations_to_ignore_are_left_out(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=1)
    content["annotations"][0]["ignore"] = True
    content["annotations"][1]["ignore"] = False
    write_json(tmp_path, content)
    findings = Findings()
    assert coco.read(tmp_path, "test", findings).scenes[0].person_ids.tolist() == [9]
    assert [note.what for note in findings.notes] == ["annotation with iscrowd or ignore: left out"]


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        ({"seconds": 2.5}, 2.5),
        ({"time": "1970-01-01T00:01:00+00:00"}, 60.0),
        ({"time": "1970-01-01T02:01:00+02:00", "seconds": 3}, 3.0),
        ({"seconds": None}, None),
    ],
)
def test_time_of_an_image(tmp_path: Path, facts: dict[str, Any], seconds: float | None) -> None:
    content = write_coco(tmp_path)
    content["images"][0] |= facts
    write_json(tmp_path, content)
    assert coco.read(tmp_path, "test").scenes[0].seconds == seconds


def test_all_faults_are_collected_and_the_good_rows_stay(tmp_path: Path) -> None:
    content = write_coco(tmp_path)
    content["annotations"][0]["bbox"] = "wide"
    content["annotations"][1]["person_id"] = "Ann"
    content["annotations"][2]["image_id"] = 77
    content["images"][5]["file_name"] = "gone.jpg"
    content["queries"][0]["person_id"] = -1
    write_json(tmp_path, content)
    findings = Findings(collect=True)
    scenes = coco.read(tmp_path, "test", findings)
    assert len(findings.faults) == 5
    assert (len(scenes), scenes.n_boxes, len(scenes.queries)) == (5, 7, 1)


def test_a_turned_box_becomes_the_upright_box_around_it(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=1)
    content["annotations"][0] |= {"bbox": [30, 40, 24, 60], "attributes": {"rotation": 90.0}}
    write_json(tmp_path, content)
    assert coco.read(tmp_path, "test").scenes[0].boxes[0].tolist() == [12, 58, 72, 82]
    content["annotations"][0]["attributes"]["rotation"] = "half"
    write_json(tmp_path, content)
    with pytest.raises(AnnotationError, match="'rotation' must be a number of degrees"):
        coco.read(tmp_path, "test")


def test_an_outline_stands_for_a_missing_box(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=1)
    row = content["annotations"][0]
    del row["bbox"]
    row["segmentation"] = [[10, 20, 40, 25, 30, 90], [5, 50, 8, 60, 9, 50]]
    write_json(tmp_path, content)
    assert coco.read(tmp_path, "test").scenes[0].boxes[0].tolist() == [5, 20, 40, 90]
    row["segmentation"] = {"counts": "a", "size": [120, 160]}
    write_json(tmp_path, content)
    with pytest.raises(AnnotationError, match="not a list of polygons"):
        coco.read(tmp_path, "test")


def test_shares_of_the_picture_are_refused(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=1)
    content["annotations"][0]["bbox"] = [0.1, 0.2, 0.25, 0.5]
    write_json(tmp_path, content)
    with pytest.raises(AnnotationError, match="look like shares"):
        coco.read(tmp_path, "test")


def test_tracks_without_people_are_told(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=1)
    for row in content["annotations"]:
        del row["person_id"]
        row["attributes"] = {"track_id": 3}
    write_json(tmp_path, content)
    findings = Findings()
    scenes = coco.read(tmp_path, "test", findings)
    assert set(scenes.scenes[0].person_ids.tolist()) == {-1}
    assert any("'track_id' and no 'person_id'" in line for line in findings.summary())


def losses(findings: Findings) -> list[str]:
    return [note.what for note in findings.notes if note.is_loss]


def test_pedestrians_are_people_and_other_categories_are_not(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=2)
    content["categories"] = [{"id": 1, "name": "Pedestrian"}, {"id": 2, "name": "car"}]
    content["annotations"][0]["category_id"] = 2
    write_json(tmp_path, content)
    findings = Findings()
    assert coco.read(tmp_path, "test", findings).n_boxes == 3
    assert losses(findings) == []
    content["categories"] = [{"id": 1, "name": "walker"}, {"id": [2], "name": "car"}]
    write_json(tmp_path, content)
    findings = Findings()
    assert coco.read(tmp_path, "test", findings).n_boxes == 4
    assert losses(findings) == [
        "no category is called person, pedestrian, people: all are taken as people"
    ]


def test_outlines_and_turned_and_hidden_boxes_are_noted(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=2)
    outline, turned, hidden, _ = content["annotations"]
    x, y, w, h = outline.pop("bbox")
    outline["segmentation"] = [[x, y, x + w, y, x + w, y + h]]
    turned["attributes"] = {"rotation": 90.0, "occluded": False}
    hidden["attributes"] = {"rotation": 0.0, "occluded": True}
    write_json(tmp_path, content)
    findings = Findings()
    scenes = coco.read(tmp_path, "test", findings)
    assert scenes.scenes[0].boxes[0].tolist() == [x, y, x + w, y + h]
    assert [note.what for note in findings.notes if "border" not in note.what] == [
        "outline without a box: the upright box around it is taken",
        "box that is turned: the upright box around it is taken",
        "shape that is occluded: taken like any other",
    ]


def test_a_set_in_which_nobody_is_says_so(tmp_path: Path) -> None:
    content = write_coco(tmp_path, n_images=2)
    write_json(tmp_path, content | {"annotations": [], "queries": []})
    findings = Findings()
    assert coco.read(tmp_path, "test", findings).n_boxes == 0
    assert losses(findings) == ["nobody is annotated in this split"]
    write_json(tmp_path, {"images": [], "annotations": []})
    findings = Findings()
    assert len(coco.read(tmp_path, "test", findings)) == 0
    assert losses(findings) == ["the split is empty"]
