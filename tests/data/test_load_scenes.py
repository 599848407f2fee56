from collections.abc import Callable
from pathlib import Path

import pytest

from fake.coco import write_coco
from fake.prw import write_prw
from fdps.data import KINDS, load_scenes
from fdps.data.check import check
from fdps.data.detect_kind import kind_of, splits_of
from fdps.data.readers import coco, folder
from fdps.data.readers.coco_writer import write_coco as write_coco_files
from fdps.data.readers.folder import read_info, write_folder
from fdps.errors import DataError, MissingDataError, UsageError
from fdps.pictures import StrPath, picture_size, read_picture


def test_reads_the_kind_that_is_named(tmp_path: Path) -> None:
    write_prw(tmp_path / "prw")
    write_coco(tmp_path / "coco")
    assert load_scenes("prw", tmp_path / "prw", "test").name == "prw/test"
    assert load_scenes("coco", tmp_path / "coco" / "annotations.json", "train").n_boxes == 12


@pytest.mark.parametrize(
    ("kind", "hint"), [("prv", "did you mean 'prw'? known kinds: "), ("x", "known kinds: ")]
)
def test_unknown_kind_names_the_nearest(tmp_path: Path, kind: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"unknown kind of data '{kind}'") as caught:
        load_scenes(kind, tmp_path, "train")
    assert caught.value.hint == hint + ", ".join(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_absent_root(tmp_path: Path, kind: str) -> None:
    with pytest.raises(MissingDataError, match=r"no data at .*nowhere"):
        load_scenes(kind, tmp_path / "nowhere", "train")


class Place:
    """A path that is neither text nor a ``Path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("form", [str, Place])
def test_paths_may_be_text_or_like_a_path(tmp_path: Path, form: Callable[[Path], StrPath]) -> None:
    write_coco(tmp_path / "set")
    root = form(tmp_path / "set")
    assert kind_of(root) == "coco"
    assert splits_of("coco", root) == ("test",)
    scenes = coco.read(root, "test")
    assert KINDS["coco"](root, "test").n_boxes == scenes.n_boxes == 12
    assert load_scenes("coco", root, "test", cache=form(tmp_path / "cache")).n_boxes == 12
    assert check("coco", root, ("test",))[0].faults == ()
    write_folder(form(tmp_path / "own"), {"test": scenes}, name="own")
    write_coco_files(form(tmp_path / "coco"), {"test": scenes})
    assert read_info(form(tmp_path / "own"))["name"] == "own"
    assert folder.read(form(tmp_path / "own"), "test").n_boxes == 12
    assert coco.read(form(tmp_path / "coco" / "annotations_test.json"), "test").n_boxes == 12
    picture = form(tmp_path / "set/images/0000.jpg")
    assert read_picture(picture).shape[1::-1] == picture_size(picture)
    with pytest.raises(MissingDataError, match="no data at"):
        kind_of(form(tmp_path / "nowhere"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_takes_text(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError):
        KINDS[kind](str(tmp_path), "test")
