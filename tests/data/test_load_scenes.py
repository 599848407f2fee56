from pathlib import Path

import pytest

from fake.coco import write_coco
from fake.prw import write_prw
from fdps.data import KINDS, load_scenes
from fdps.errors import MissingDataError, UsageError


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
