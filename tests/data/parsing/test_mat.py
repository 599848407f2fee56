from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from fdps.data.parsing.mat import read_variable
from fdps.errors import AnnotationError, MissingDataError

CELLS = np.array([["a"], ["bcd"]], dtype=object)
CONTENT = {"boxes": np.arange(10.0).reshape(2, 5), "names": CELLS, "person": {"id": 7, "box": []}}


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    savemat(tmp_path / "a.mat", CONTENT, do_compression=request.param)
    return tmp_path / "a.mat"


def test_numbers_cells_and_structures(path: Path) -> None:
    assert (read_variable(path, ["boxes"]) == CONTENT["boxes"]).all()
    assert [str(cell[0]) for cell in read_variable(path, ["names"]).ravel()] == ["a", "bcd"]
    assert read_variable(path, ["person"])["id"][0, 0].item() == 7


def test_first_name_that_is_there(path: Path) -> None:
    assert read_variable(path, ["absent", "names", "boxes"]).dtype == object


def test_absent_variable(path: Path) -> None:
    with pytest.raises(
        AnnotationError, match=r"a\.mat must hold the variable x or y, found: boxes, names, person"
    ):
        read_variable(path, ["x", "y"])


def test_file_without_variables(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {})
    with pytest.raises(AnnotationError, match="found: none"):
        read_variable(tmp_path / "a.mat", ["x"])


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no file .*a\.mat") as caught:
        read_variable(tmp_path / "a.mat", ["x"], hint="look there")
    assert caught.value.hint == "look there"


def test_version_7_3_has_a_way_out(tmp_path: Path) -> None:
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n"
    (tmp_path / "a.mat").write_bytes(header)
    with pytest.raises(AnnotationError, match=r"a\.mat is .* version 7\.3") as caught:
        read_variable(tmp_path / "a.mat", ["x"])
    assert "-v7" in caught.value.hint


def test_truncated_file(path: Path) -> None:
    content = path.read_bytes()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(AnnotationError, match=r"a\.mat (is not a readable|must hold)"):
            read_variable(path, ["person"])
