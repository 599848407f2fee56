"""Names of pictures in other Unicode forms, in other letters, and of bytes that are no text."""

import json
import os
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from fake import coco as fake_coco
from fake import cvat as fake_cvat
from fake.people import write_picture
from fdps.cli.main import main
from fdps.data import load_scenes
from fdps.data.parsing.picture_files import find_picture
from fdps.data.readers.folder import write_folder
from fdps.errors import AnnotationError, MissingDataError
from fdps.predictions import data_hash

NAME = "Zoë/Düne \u1e69.png"
NFC, NFD = normalize("NFC", NAME), normalize("NFD", NAME)
TABLE = "image,x1,y1,x2,y2,person_id\n"


def picture(path: Path, level: int = 0) -> None:
    write_picture(path, np.full((60, 80, 3), level, np.uint8))


@pytest.mark.parametrize(("written", "stored"), [(NFC, NFD), (NFD, NFC), (NFC, NFC)])
def test_other_unicode_forms_are_the_same_name(tmp_path: Path, written: str, stored: str) -> None:
    picture(tmp_path / stored)
    assert find_picture(tmp_path / written) == tmp_path / stored
    (tmp_path / "annotations.csv").write_text(f"{TABLE}{written},1,2,30,40,7\n")
    (tmp_path / "queries.csv").write_text(f"{TABLE}{stored},1,2,30,40,7\n")
    scenes = load_scenes("folder", str(tmp_path), "test")
    assert scenes.scenes[0].path.is_file()
    assert [(scene.name, scene.path) for scene in scenes.scenes] == [(written, tmp_path / stored)]
    assert scenes.queries[0].scene == written


def test_a_name_that_is_there_is_taken_literally(tmp_path: Path) -> None:
    for level, name in enumerate((NFC, NFD)):
        picture(tmp_path / name, level)
    assert find_picture(tmp_path / NFC) == tmp_path / NFC
    assert find_picture(tmp_path / NFD) == tmp_path / NFD


def test_several_forms_are_named(tmp_path: Path) -> None:
    forms = ("\u1e69.png", "s\u0323\u0307.png", "s\u0307\u0323.png")
    for form in forms[:2]:
        picture(tmp_path / form)
    with pytest.raises(MissingDataError, match="no picture at") as caught:
        find_picture(tmp_path / forms[2])
    assert caught.value.hint.startswith("2 files have this name in other Unicode forms")


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("ab.png", "there is Ab.PNG: upper and lower case differ"),
        ("x\\Ab.PNG", "folders are separated by / and not by a backslash"),
        ("no/ab.png", "there is no folder"),
        ("other.png", ""),
        ("n" * 300, ""),
        ("\ud800.png", ""),
    ],
)
def test_what_is_not_there_is_named_with_what_is(tmp_path: Path, wanted: str, hint: str) -> None:
    picture(tmp_path / "Ab.PNG")
    with pytest.raises(MissingDataError, match="no picture at") as caught:
        find_picture(tmp_path / wanted)
    assert caught.value.hint.startswith(hint)
    assert bool(caught.value.hint) == bool(hint)


def test_a_folder_that_changes_is_listed_again(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(MissingDataError):
        find_picture(folder / "Ü.png")
    os.utime(folder, (1, 1))
    picture(folder / normalize("NFD", "Ü.png"))
    assert find_picture(folder / "Ü.png").is_file()


@pytest.mark.parametrize("kind", ["coco", "cvat"])
def test_other_formats_find_it_too(tmp_path: Path, kind: str) -> None:
    picture(tmp_path / "images" / NFD)
    if kind == "coco":
        content = {"images": [{"id": 1, "file_name": NFC}], "annotations": []}
        fake_coco.write_json(tmp_path, content)
    else:
        fake_cvat.write_xml(tmp_path, f'<image id="0" name="{NFC}" width="80" height="60"/>')
    assert load_scenes(kind, tmp_path, "test").scenes[0].path == tmp_path / "images" / NFD


def not_utf8(root: Path) -> Path:
    """A COCO set whose picture has a name in Latin-1, as JSON can hold it."""
    name = os.fsdecode(b"caf\xe9.png")
    picture(root / "images" / name)
    row = {"id": 1, "image_id": 1, "bbox": [1, 2, 30, 40], "person_id": 7}
    content = {"images": [{"id": 1, "file_name": name}], "annotations": [row]}
    fake_coco.write_json(root, content)
    return root


def test_names_that_are_not_utf8_are_read_and_hashed(tmp_path: Path) -> None:
    scenes = load_scenes("coco", not_utf8(tmp_path), "test", cache=str(tmp_path / "cache"))
    again = load_scenes("coco", tmp_path, "test", cache=tmp_path / "cache")
    assert scenes.n_boxes == again.n_boxes == 1
    assert len(data_hash(scenes)) == 16
    assert data_hash(scenes) == data_hash(again)


def test_no_verb_fails_on_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = not_utf8(tmp_path / "set")
    assert main(["data", "check", str(root)]) == 0
    assert main(["data", "convert", str(root), str(tmp_path / "out"), "--to", "coco"]) == 0
    assert main(["data", "check", str(tmp_path / "out")]) == 0
    assert main(["data", "convert", str(root), str(tmp_path / "own")]) == 3
    assert "caf\\xe9.png is not UTF-8" in capsys.readouterr().err
    with pytest.raises(AnnotationError, match="is not UTF-8"):
        write_folder(tmp_path / "own", {"test": load_scenes("coco", root, "test")}, name="own")
    for file in (root / "images").iterdir():
        file.unlink()
    assert main(["data", "check", str(root)]) == 3
    assert "caf\\xe9.png" in capsys.readouterr().out


def test_escapes_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {"images": [{"id": 1, "file_name": "a\x1b[2J\n.png"}], "annotations": []}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    assert main(["data", "check", str(tmp_path)]) == 3
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "a\\x1b[2J\\n.png" in out
