"""The same picture under two names, in the formats that know pictures by name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fake import coco as fake_coco
from fake.people import write_picture
from fdps.data import load_scenes
from fdps.data.findings import Findings

TWICE = "picture with the content of another: both kept, and its people count twice"
AS_OTHERS = f"{TWICE}, as different people"


def doubled(root: Path, *, other_people: int) -> None:
    """A COCO set whose pictures lie in two folders, with their annotations."""
    content = fake_coco.write_coco(root, n_images=3)
    for folder in ("a", "b"):
        (root / "images" / folder).mkdir()
    for image in list(content["images"]):
        name = image["file_name"]
        shutil.copyfile(root / "images" / name, root / "images" / "b" / name)
        (root / "images" / name).rename(root / "images" / "a" / name)
        image["file_name"] = f"a/{name}"
        content["images"].append(image | {"id": image["id"] + 10, "file_name": f"b/{name}"})
    for row in list(content["annotations"]):
        changes = {"id": row["id"] + 100, "image_id": row["image_id"] + 10}
        content["annotations"].append(
            row | changes | {"person_id": row["person_id"] + other_people}
        )
    fake_coco.write_json(root, content)


def as_table(root: Path) -> None:
    content = json.loads((root / "annotations.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    lines = ["image,x1,y1,x2,y2,person_id"]
    for row in content["annotations"]:
        x, y, w, h = row["bbox"]
        lines.append(f"{names[row['image_id']]},{x},{y},{x + w},{y + h},{row['person_id']}")
    (root / "annotations.json").unlink()
    (root / "annotations.csv").write_text("\n".join(lines))


def losses(kind: str, root: Path) -> list[str]:
    findings = Findings()
    assert len(load_scenes(kind, root, "test", findings=findings)) == 6
    return [note.what for note in findings.notes if note.is_loss]


@pytest.mark.parametrize("kind", ["coco", "folder", "csv"])
@pytest.mark.parametrize(("other_people", "expected"), [(0, TWICE), (50, AS_OTHERS)])
def test_copies_are_named(tmp_path: Path, kind: str, other_people: int, expected: str) -> None:
    doubled(tmp_path, other_people=other_people)
    if kind == "folder":
        (tmp_path / "fdps.toml").write_text('name = "mine"')
    if kind == "csv":
        as_table(tmp_path)
    found = losses("coco" if kind == "coco" else "folder", tmp_path)
    assert found == [f"{expected}; keep one of the files"] * 3


def test_files_of_one_size_are_no_copies(tmp_path: Path) -> None:
    content = fake_coco.write_coco(tmp_path, n_images=6)
    size = max(file.stat().st_size for file in (tmp_path / "images").iterdir())
    for file in (tmp_path / "images").iterdir():
        file.write_bytes(file.read_bytes().ljust(size + 9000, b"\0"))  # ends alike, too
    assert len(content["images"]) == 6
    assert losses("coco", tmp_path) == []


def test_what_differs_in_one_byte_is_no_copy(tmp_path: Path) -> None:
    doubled(tmp_path, other_people=0)
    for file in (tmp_path / "images/b").iterdir():
        picture = bytearray(file.read_bytes())
        picture[13] ^= 1  # the density of a JPEG, which nobody looks at
        file.write_bytes(picture)
    assert losses("coco", tmp_path) == []


def test_copies_without_people_do_no_harm(tmp_path: Path) -> None:
    rows = "image,x1,y1,x2,y2\n1.png,,,,\n2.png,,,,\n"
    (tmp_path / "annotations.csv").write_text(rows)
    for name in ("1.png", "2.png"):
        write_picture(tmp_path / name, np.zeros((9, 9, 3), np.uint8))
    findings = Findings()
    load_scenes("folder", tmp_path, "test", findings=findings)
    assert [note.what for note in findings.notes] == ["nobody is annotated in this split"]


def test_two_scenes_of_one_file_are_named(tmp_path: Path) -> None:
    rows = "image,x1,y1,x2,y2\n1.png,1,2,8,9\n./1.png,1,2,8,9\n"
    (tmp_path / "annotations.csv").write_text(rows)
    write_picture(tmp_path / "1.png", np.zeros((9, 9, 3), np.uint8))
    findings = Findings()
    load_scenes("folder", tmp_path, "test", findings=findings)
    assert [(note.what, note.where) for note in findings.notes] == [
        (
            "scene with the picture file of another: both kept, and its people count twice",
            "./1.png is 1.png",
        )
    ]
