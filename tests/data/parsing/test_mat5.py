"""Our parser of MATLAB files: equal to SciPy's on good files, and unbreakable."""

import contextlib
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from fdps.data.parsing import mat5
from fdps.data.parsing.mat5 import MatFileError, UnsupportedVersionError, parse

BOXES = np.array([([[1, 2, 30, 40]], 0), ([[5, 6, 7, 8]], 1)], dtype=[("a", "O"), ("b", "O")])
CELLS = np.array([["s1.jpg", np.zeros((1, 0))], [7.5, "ü"]], dtype=object)
CONTENT = {
    "double": np.arange(6.0).reshape(2, 3),
    "narrow": np.array([[200, 100]], dtype=np.uint8),
    "wide": np.array([[-(2**40)]], dtype=np.int64),
    "single": np.array([[0.5]], dtype=np.float32),
    "truth": np.array([[True, False]]),
    "text": "s1.jpg",
    "rows": np.array(["ab", "cd"]),
    "empty": np.zeros((1, 0)),
    "no_text": "",
    "cells": CELLS,
    "boxes": BOXES.reshape(1, 2),
    "nested": {"inner": {"deep": 3}, "list": CELLS},
    "cube": np.arange(24.0).reshape(2, 3, 4),
}


def written(content: dict[str, object], *, compress: bool = False) -> bytes:
    file = BytesIO()
    savemat(file, content, do_compression=compress)
    return file.getvalue()


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    if ours.dtype.names:
        assert ours.dtype.names == theirs.dtype.names
        for name in ours.dtype.names:
            assert_same(ours[name], theirs[name])
    elif ours.dtype == object:
        for a, b in zip(ours.ravel(), theirs.ravel(), strict=True):
            assert_same(a, b)
    else:
        assert ours.dtype.kind == theirs.dtype.kind
        assert (ours == theirs).all()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", CONTENT)
def test_equal_to_scipy(name: str, compress: bool) -> None:
    content = written(CONTENT, compress=compress)
    ours, names = parse(content, (name,))
    assert names == list(CONTENT)
    assert ours is not None
    assert_same(ours, loadmat(BytesIO(content), mat_dtype=True)[name])


def test_numbers_have_the_class_of_matlab_not_the_narrow_type_they_are_stored_in() -> None:
    element = struct.pack("<II4s4x", 2, 4, bytes([200, 0, 100, 0])[::2] + b"\x03\x04")
    flags = struct.pack("<IIII", 6, 8, 6, 0)  # class double
    dims = struct.pack("<IIii", 5, 8, 1, 4)
    name = struct.pack("<HH4s", 1, 1, b"x\0\0\0")
    body = flags + dims + name + element
    content = b"MATLAB".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 14, len(body)) + body
    value, _ = parse(content, ("x",))
    assert value is not None
    assert value.dtype == np.float64
    assert value.tolist() == [[200, 100, 3, 4]]


def test_big_endian_files() -> None:
    flags = struct.pack(">IIII", 6, 8, 6, 0)
    dims = struct.pack(">IIii", 5, 8, 1, 2)
    name = struct.pack(">HH4s", 1, 1, b"x\0\0\0")  # size first, then type
    numbers = struct.pack(">IIdd", 9, 16, 1.5, -2)
    body = flags + dims + name + numbers
    content = b"MATLAB".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(body)) + body
    value, names = parse(content, ("x",))
    assert names == ["x"]
    assert value is not None
    assert value.tolist() == [[1.5, -2]]


def test_equal_small_values_are_one_array() -> None:
    cells = np.empty(1000, dtype=object)
    cells[:] = ["s1.jpg", "s2.jpg"] * 500
    value, _ = parse(written({"c": cells}), ("c",))
    assert value is not None
    assert len({id(cell) for cell in value.ravel()}) == 2
    assert not value.ravel()[0].flags.writeable


def test_absent_variable() -> None:
    assert parse(written({"a": 1, "b": 2}), ("x",)) == (None, ["a", "b"])


def test_version_7_3() -> None:
    with pytest.raises(UnsupportedVersionError):
        parse(b"MATLAB 7.3".ljust(124) + b"\x00\x02IM", ("x",))


@pytest.mark.parametrize("content", [b"", b"x" * 127, b"x" * 400, b"M".ljust(124) + b"\x07\x00IM"])
def test_what_is_no_mat_file(content: bytes) -> None:
    with pytest.raises(MatFileError):
        parse(content, ("x",))


def test_a_compressed_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat5, "MAX_BYTES", 10_000)
    with pytest.raises(MatFileError, match="unpack to more"):
        parse(written({"x": np.zeros(100_000)}, compress=True), ("x",))


@pytest.mark.parametrize("compress", [False, True])
def test_every_cut_is_an_error_or_a_missing_variable(compress: bool) -> None:
    content = written(CONTENT, compress=compress)
    for size in range(0, len(content), 5):
        try:
            value, _ = parse(content[:size], ("cube",))
        except ValueError:
            continue
        assert value is None


PLAIN = written(CONTENT)


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(
    places=st.lists(st.integers(124, len(PLAIN) - 1), min_size=1, max_size=4),
    values=st.lists(st.integers(0, 255), min_size=4, max_size=4),
    name=st.sampled_from(list(CONTENT)),
    compress=st.booleans(),
)
def test_altered_bytes_never_do_more_than_raise(
    places: list[int], values: list[int], name: str, compress: bool
) -> None:
    content = bytearray(PLAIN)
    for place, value in zip(places, values, strict=False):
        content[place] = value
    if compress:  # the bytes behind the header, as one compressed element
        packed = zlib.compress(bytes(content[128:]))
        content[128:] = struct.pack("<II", 15, len(packed)) + packed
    with contextlib.suppress(ValueError):
        parse(bytes(content), (name,))


def test_nesting_has_a_limit() -> None:
    value: object = 1
    for _ in range(mat5.MAX_DEPTH + 2):
        value = {"x": value}
    with pytest.raises(MatFileError, match="nests deeper"):
        parse(written({"x": value}), ("x",))


def test_more_values_than_bytes_are_refused() -> None:
    content = bytearray(written({"c": np.array([["a"]], dtype=object)}))
    place = content.index(struct.pack("<ii", 1, 1), 128)
    content[place : place + 8] = struct.pack("<ii", 30_000, 60_000)
    with pytest.raises(MatFileError, match="values in"):
        parse(bytes(content), ("c",))
