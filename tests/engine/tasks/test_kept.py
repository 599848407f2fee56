from pathlib import Path

import numpy as np
import pytest

from fdps.engine.tasks.kept import Kept, name_of, picture_digest
from fdps.errors import MissingDataError, ModelError
from fdps.structures import Scene, empty_boxes

MADE_BY = {"network": "aaaa", "size": "128×64"}
ARRAYS = {"rows": np.arange(6, dtype=np.float32).reshape(2, 3)}


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    Kept(tmp_path, "features", MADE_BY).write("one", ARRAYS)
    found = Kept(tmp_path, "features", MADE_BY).read("one")
    assert found is not None
    assert np.array_equal(found["rows"], ARRAYS["rows"])
    assert Kept(tmp_path, "features", MADE_BY).read("two") is None


@pytest.mark.parametrize("change", [{"network": "bbbb"}, {"size": "256×128"}, {"more": "1"}])
def test_other_networks_and_other_ways_have_folders_of_their_own(
    change: dict[str, str], tmp_path: Path
) -> None:
    Kept(tmp_path, "features", MADE_BY).write("one", ARRAYS)
    assert Kept(tmp_path, "features", MADE_BY | change).read("one") is None


def test_a_file_of_other_weights_is_refused_by_name(tmp_path: Path) -> None:
    other = Kept(tmp_path, "features", MADE_BY | {"network": "bbbb"})
    other.write("one", ARRAYS)
    ours = Kept(tmp_path, "features", MADE_BY)
    other.folder.rename(ours.folder)
    with pytest.raises(ModelError, match="was made with network bbbb, expected aaaa") as caught:
        ours.read("one")
    assert str(ours.folder / "one.safetensors") in str(caught.value)
    assert f"delete {ours.folder}" in caught.value.hint


def test_a_damaged_file_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(tmp_path, "features", MADE_BY)
    kept.write("one", ARRAYS)
    file = kept.folder / "one.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    assert kept.read("one") is None
    assert "is damaged and made again" in caplog.text


def test_a_changed_picture_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    scene = Scene("a", path, empty_boxes(), np.zeros(0, np.int64))
    with pytest.raises(MissingDataError, match="no picture at"):
        picture_digest(scene)
    path.write_bytes(b"one")
    before = picture_digest(scene)
    path.write_bytes(b"two")
    assert picture_digest(scene) != before
    assert name_of("a", b"bc") != name_of("ab", b"c")
