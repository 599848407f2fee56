"""Boxes that were written in another convention than the format means, in every reader."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake import coco as fake_coco
from fake import cuhk_sysu as fake_cuhk
from fake import mot as fake_mot
from fake import prw as fake_prw
from fake.people import write_picture
from fdps.data import load_scenes
from fdps.data.findings import Findings
from fdps.errors import AnnotationError
from fdps.structures import SceneSet

CORNERS = [(20, 10, 90, 110), (70, 15, 130, 100), (90, 20, 150, 118), (15, 5, 60, 90)]
"""Boxes ``x1 y1 x2 y2`` in pictures of 160×120; two of four pass the border as ``x y w h``."""
SHARES = [(x1 / 160, y1 / 120, x2 / 160, y2 / 120) for x1, y1, x2, y2 in CORNERS]
CENTRES = [((a + c) / 2, (b + d) / 2, c - a, d - b) for a, b, c, d in SHARES]
FAR_RIGHT = (0.95, 0.5, 0.09, 0.6)  # a centre and size whose sum is above 1

Box = tuple[float, float, float, float]
Write = Callable[[Path, list[Box]], None]


def coco(root: Path, boxes: list[Box]) -> None:
    content = fake_coco.write_coco(root, n_images=2)
    for row, box in zip(content["annotations"], boxes, strict=True):
        row["bbox"] = list(box)
    content["queries"] = []
    fake_coco.write_json(root, content)


def own(root: Path, boxes: list[Box]) -> None:
    coco(root, boxes)
    (root / "fdps.toml").write_text('name = "mine"')


def table(root: Path, boxes: list[Box]) -> None:
    lines = ["image,x1,y1,x2,y2,person_id"]
    for number, box in enumerate(boxes):
        rng = np.random.default_rng(number)
        picture = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
        write_picture(root / "images" / f"{number}.png", picture)
        lines.append(f"{number}.png,{','.join(map(str, box))},{number}")
    (root / "annotations.csv").write_text("\n".join(lines))


def mot(root: Path, boxes: list[Box]) -> None:
    fake_mot.write_sequence(root / "seq", n_frames=2)
    lines = [f"{1 + k % 2},{k + 1},{','.join(map(str, b))},1,1,1" for k, b in enumerate(boxes)]
    fake_mot.write_tracks(root / "seq", lines)


def prw(root: Path, boxes: list[Box]) -> None:
    fake_prw.write_prw(root, n_train=2, n_test=4)
    for number in (0, 1):
        rows = [[k, *boxes[k]] for k in range(len(boxes)) if k % 2 == number]
        name = f"annotations/{fake_prw.frame_name(number + 1)}.jpg.mat"
        fake_cuhk.save(root / name, {"box_new": np.array(rows, dtype=np.float64)})


FORMATS: dict[str, tuple[str, Write]] = {
    "coco": ("coco", coco),
    "folder": ("folder", own),
    "csv": ("folder", table),
    "mot": ("mot", mot),
    "prw": ("prw", prw),
}
WITH_SIZES = ["coco", "folder", "mot", "prw"]


def read(name: str, root: Path, boxes: list[Box]) -> SceneSet:
    kind, write = FORMATS[name]
    write(root, boxes)
    return load_scenes(kind, root, "train", findings=Findings())


@pytest.mark.parametrize("name", WITH_SIZES)
def test_corners_for_width_and_height_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(AnnotationError, match=r"2 of 4 boxes .* as two corners .* 4 lie") as caught:
        read(name, tmp_path, CORNERS)
    assert "width is x2 - x1" in caught.value.hint


@pytest.mark.parametrize("name", WITH_SIZES)
def test_centres_for_first_corners_are_named(tmp_path: Path, name: str) -> None:
    boxes = [((a + c) / 2, (b + d) / 2, c - a, d - b) for a, b, c, d in CORNERS]
    with pytest.raises(AnnotationError, match=r"4 of 4 boxes .* as a centre, .* 4 lie") as caught:
        read(name, tmp_path, boxes)
    assert "half of width and height" in caught.value.hint


def test_exchanged_axes_are_named(tmp_path: Path) -> None:
    boxes = [(y1, x1, y2 - y1, x2 - x1) for x1, y1, x2, y2 in CORNERS]
    with pytest.raises(AnnotationError, match="turned by a quarter, 4 lie") as caught:
        read("coco", tmp_path, boxes)
    assert "exchange" in caught.value.hint


@pytest.mark.parametrize("name", WITH_SIZES)
def test_the_same_people_in_the_right_form_are_read(tmp_path: Path, name: str) -> None:
    boxes = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in CORNERS]
    first = 1 if name == "mot" else 0  # the first pixel is number 1
    found = read(name, tmp_path, boxes)
    rows = sorted(row for scene in found.scenes for row in scene.boxes.tolist())
    assert rows == sorted([value - first for value in box] for box in CORNERS)


@pytest.mark.parametrize("name", WITH_SIZES)
def test_people_cut_off_at_the_border_are_no_other_convention(tmp_path: Path, name: str) -> None:
    boxes = [(100, 30, 90, 60), (120, 30, 80, 85), (110, 10, 70, 60), (3, 5, 60, 90)]
    assert read(name, tmp_path, boxes).n_boxes == 4


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("boxes", [SHARES, CENTRES, [FAR_RIGHT] * 4])
def test_shares_of_the_picture_are_named(tmp_path: Path, name: str, boxes: list[Box]) -> None:
    with pytest.raises(AnnotationError, match="look like shares of the picture") as caught:
        read(name, tmp_path, boxes)
    assert "multiply x by the width" in caught.value.hint


def test_width_and_height_for_corners_are_named_with_what_is_meant(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"line 2: .* must have x1 < x2") as caught:
        read("csv", tmp_path, [(100, 20, 30, 90)])
    assert caught.value.hint == "if these are x y width height, write [100.0, 20.0, 130.0, 110.0]"


@pytest.mark.parametrize("name", ["csv", "mot", "prw"])
def test_boxes_of_larger_pictures_are_named(tmp_path: Path, name: str) -> None:
    boxes = [(200, 10, 270, 60), (330, 200, 430, 400), (500, 130, 600, 300), (400, 1, 500, 90)]
    with pytest.raises(AnnotationError, match=r"4 of 4 boxes .* pictures of another size"):
        read(name, tmp_path, boxes)


def test_one_part_of_a_joined_set_is_enough(tmp_path: Path) -> None:
    mot(tmp_path, [(30 * k + 5, 9, 20, 60) for k in range(5)])
    fake_mot.write_sequence(tmp_path / "other", n_frames=9, tracks=(1, 2, 3))
    lines = [f"{k + 1},{k},{','.join(map(str, box))}" for k, box in enumerate(CORNERS)]
    fake_mot.write_tracks(tmp_path / "other", lines)
    with pytest.raises(AnnotationError, match=r"other/gt/gt\.txt, line 2: 2 of 4 boxes"):
        load_scenes("mot", tmp_path, "train", findings=Findings())


def test_pictures_that_exif_turns_and_boxes_that_it_does_not(tmp_path: Path) -> None:
    boxes = [(10, 10, 50, 100), (60, 10, 90, 110), (100, 5, 140, 90), (110, 8, 158, 115)]
    table(tmp_path, boxes)
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(4):
        file = tmp_path / "images" / f"{number}.png"
        with Image.open(file) as picture:
            picture.convert("RGB").save(file, exif=exif)
    with pytest.raises(AnnotationError, match="that are turned by a quarter, 4 lie") as caught:
        load_scenes("folder", tmp_path, "train", findings=Findings())
    assert "EXIF" in caught.value.hint


def test_every_fault_is_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    coco(tmp_path, CORNERS)
    content = json.loads((tmp_path / "annotations.json").read_text())
    content["annotations"].append(content["annotations"][0] | {"id": 9, "bbox": [1, 2, -3, 4]})
    fake_coco.write_json(tmp_path, content)
    findings = Findings(collect=True)
    assert load_scenes("coco", tmp_path, "train", findings=findings).n_boxes == 4
    assert ["no positive" in str(fault) for fault in findings.faults] == [True, False]


def test_normalised_query_boxes_are_named(tmp_path: Path) -> None:
    table(tmp_path, CORNERS)
    queries = "image,x1,y1,x2,y2,person_id\n0.png,0.1,0.2,0.5,0.9,0\n"
    (tmp_path / "queries.csv").write_text(queries)
    with pytest.raises(AnnotationError, match=r"queries\.csv, line 2: .* shares of the picture"):
        load_scenes("folder", tmp_path, "test", findings=Findings())


def test_exchanged_corners_are_named_with_what_may_be_meant(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"line 2: .* must have x1 < x2") as caught:
        read("csv", tmp_path, [(100, 90, 30, 20)])
    assert caught.value.hint == (
        "if these are x y width height, write [100.0, 90.0, 130.0, 110.0]; "
        "if the corners are exchanged, write [30.0, 20.0, 100.0, 90.0]"
    )


def test_boxes_of_pictures_that_are_half_as_large_again_are_doubted(tmp_path: Path) -> None:
    table(tmp_path, [(40, 20, 180, 170), (70, 15, 190, 90), (90, 20, 150, 150), (9, 9, 60, 80)])
    findings = Findings()
    assert load_scenes("folder", tmp_path, "train", findings=findings).n_boxes == 4
    (what,) = (note.what for note in findings.notes if note.is_loss)
    assert what.endswith("do the boxes belong to pictures of another size?")


def test_a_query_that_is_listed_twice_is_noted(tmp_path: Path) -> None:
    table(tmp_path, CORNERS)
    row = "0.png,20,10,90,110,0\n"
    (tmp_path / "queries.csv").write_text(f"image,x1,y1,x2,y2,person_id\n{row}{row}")
    findings = Findings()
    assert len(load_scenes("folder", tmp_path, "test", findings=findings).queries) == 2
    assert [note.what for note in findings.notes] == [
        "query that is listed twice: both kept, and it counts twice"
    ]


def test_people_whose_feet_are_out_of_sight_are_no_centres(tmp_path: Path) -> None:
    boxes = [(40, 40, 30, 100), (80, 45, 30, 110), (60, 30, 30, 80), (100, 50, 40, 100)]
    assert read("mot", tmp_path, boxes).n_boxes == 4


def test_people_on_the_left_who_are_cut_off_below_are_not_turned(tmp_path: Path) -> None:
    boxes = [(4 * k, 10 + k % 7, 20, 60) for k in range(1, 23)] + [(40, 60, 30, 80)] * 2
    boxes[-1] = (70, 60, 30, 80)
    table(tmp_path, [(x, y, x + w, y + h) for x, y, w, h in boxes])
    assert load_scenes("folder", tmp_path, "train", findings=Findings()).n_boxes == 24
