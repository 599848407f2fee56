"""Parse MATLAB files of version 5 to 7.2: numbers, texts, cells and structures.

Every length that the file states is checked against the bytes that are there before it is used,
so that a damaged or forged file ends in a :class:`MatFileError` and never in a crash, which
``scipy.io.loadmat`` does not promise. Values come in the form that SciPy gives them: numbers as
at least 2-D arrays of the class that MATLAB had, texts as arrays of rows, cells as object arrays,
structures as structured arrays of objects.

Source: MathWorks, MAT-File Format, the chapter on level 5 files. Equal small values inside cells
and structures are one read-only array: the gallery lists of CUHK-SYSU repeat 7,000 names millions
of times.
"""

import struct
import zlib
from math import prod

import numpy as np

MAX_BYTES = 2**31
"""Most bytes of a variable; MATLAB itself writes no larger ones before version 7.3."""

MAX_DEPTH = 16
"""Deepest nesting of cells in structures in cells."""

_HEADER, _INTERNED_BYTES, _MAX_DIMS = 128, 256, 8
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_NUMBERS |= {14: "i8", 15: "u8"}
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"}
_STORED |= {13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_LOGICAL, _COMPLEX = 0x02, 0x08


class MatFileError(ValueError):
    """The bytes are not a MATLAB file of version 5 to 7.2, damaged, or of an unknown class."""


class UnsupportedVersionError(MatFileError):
    """A MATLAB file of version 7.3, which is HDF5 inside."""


def parse(content: bytes, wanted: tuple[str, ...]) -> tuple[np.ndarray | None, list[str]]:
    """Take one variable out of the bytes of a file.

    Args:
        content: The whole file.
        wanted: Names of variables in order of preference.

    Returns:
        The first of these variables that is there, else ``None``; and the names of all variables.

    Raises:
        MatFileError: As for the class. Variables that are not wanted are not looked into.
    """
    order = _byte_order(content)
    parsers: dict[str, tuple[_Parser, int, int]] = {}
    at, file = _HEADER, _Parser(content, order)
    while at < len(content):
        kind, start, stop, at = file.tag(at, len(content))
        parser = file
        if kind == _COMPRESSED:
            parser = _Parser(_inflate(content[start:stop]), order)
            kind, start, stop, _ = parser.tag(0, len(parser.data))
            at = min(at, len(content))
        if kind != _MATRIX:
            raise MatFileError(f"element of type {kind} at byte {at} is no variable")
        parsers[parser.name(start, stop)] = parser, start, stop
    for name in wanted:
        if name in parsers:
            parser, start, stop = parsers[name]
            return parser.matrix(start, stop, 0), list(parsers)
    return None, list(parsers)


def _byte_order(content: bytes) -> str:
    mark = content[126:128]
    if len(content) < _HEADER or mark not in (b"IM", b"MI"):
        raise MatFileError("it has no header of MATLAB's version 5")
    order = "<" if mark == b"IM" else ">"
    (version,) = struct.unpack_from(order + "H", content, 124)
    if version == 0x0200:
        raise UnsupportedVersionError("version 7.3")
    if version != 0x0100:
        raise MatFileError(f"unknown version {version:#06x}")
    return order


def _inflate(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise MatFileError(f"damaged compressed data: {error}") from error
    if not unpacker.eof:
        raise MatFileError("compressed data are cut off or unpack to more than 2 GiB")
    return data


class _Parser:
    """Parses the elements of one run of bytes.

    Args:
        data: The bytes.
        order: Byte order, ``<`` or ``>``.
    """

    def __init__(self, data: bytes, order: str) -> None:
        self.data, self.order = data, order
        self._pair = struct.Struct(order + "II")
        self._known: dict[bytes, np.ndarray] = {}

    def tag(self, at: int, end: int) -> tuple[int, int, int, int]:
        """Return the type of an element, start and stop of its data, and the place of the next."""
        if at + 8 > end:
            raise MatFileError(f"it ends inside an element, at byte {at}")
        kind, size = self._pair.unpack_from(self.data, at)
        if kind >> 16:  # a small element keeps up to four bytes of data inside its tag
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise MatFileError(f"small element of {size} bytes at byte {at}")
            return kind, at + 4, at + 4 + size, at + 8
        start, stop = at + 8, at + 8 + size
        if stop > end:
            raise MatFileError(f"element of {size} bytes at byte {at}, {end - start} are left")
        padding = 0 if kind == _COMPRESSED else -size % 8
        return kind, start, stop, min(stop + padding, end)

    def name(self, start: int, stop: int) -> str:
        """Return the name of the variable that a matrix element holds."""
        return self._head(start, stop)[3]

    def matrix(self, start: int, stop: int, depth: int) -> np.ndarray:
        """Return the value of the matrix element with these data."""
        if depth > MAX_DEPTH:
            raise MatFileError(f"it nests deeper than {MAX_DEPTH}")
        kind, flags, dims, _, at = self._head(start, stop)
        if kind in _NUMBERS:
            return self._numbers(kind, flags, dims, at, stop)
        if kind == _CHAR:
            return self._text(dims, at, stop)
        if kind == _CELL:
            return self._fill(prod(dims), 1, at, stop, depth)[0].reshape(dims, order="F")
        if kind == _STRUCT:
            return self._struct(dims, at, stop, depth)
        raise MatFileError(
            f"it holds a value of class {kind}, which is no number, text, cell or structure"
        )

    def _head(self, start: int, stop: int) -> tuple[int, int, tuple[int, ...], str, int]:
        """Return class, flags, shape, name, and the place behind them."""
        _, first, last, at = self.tag(start, stop)
        if last - first != 8:
            raise MatFileError(f"array flags of {last - first} bytes at byte {start}")
        (word,) = struct.unpack_from(self.order + "I", self.data, first)
        _, first, last, at = self.tag(at, stop)
        n_dims = (last - first) // 4
        if not 2 <= n_dims <= _MAX_DIMS or (last - first) % 4:
            raise MatFileError(f"{last - first} bytes of dimensions at byte {first}")
        dims = struct.unpack_from(f"{self.order}{n_dims}i", self.data, first)
        if min(dims) < 0 or prod(dims) > MAX_BYTES:
            raise MatFileError(f"an array of shape {dims}")
        _, first, last, at = self.tag(at, stop)
        name = self.data[first:last].decode("latin-1")
        return word & 0xFF, word >> 8 & 0xFF, dims, name, at

    def _numbers(
        self, kind: int, flags: int, dims: tuple[int, ...], at: int, stop: int
    ) -> np.ndarray:
        if flags & _COMPLEX:
            raise MatFileError("it holds complex numbers")
        values = self._stored(prod(dims), at, stop)
        dtype = np.dtype(bool) if flags & _LOGICAL else np.dtype(_NUMBERS[kind])
        with np.errstate(invalid="ignore"):  # a forged file may state a class that does not fit
            return values.astype(dtype).reshape(dims, order="F")

    def _stored(self, n: int, at: int, stop: int) -> np.ndarray:
        """Return numbers as they are stored, in the narrowest type that holds them all."""
        kind, first, last, _ = self.tag(at, stop)
        if kind not in _STORED:
            raise MatFileError(f"numbers of type {kind} at byte {at}")
        dtype = np.dtype(self.order + _STORED[kind])
        if last - first != n * dtype.itemsize:
            raise MatFileError(f"{last - first} bytes at byte {at} are not {n} {dtype} numbers")
        return np.frombuffer(self.data, dtype, n, first)

    def _text(self, dims: tuple[int, ...], at: int, stop: int) -> np.ndarray:
        n = prod(dims)
        if n == 0:
            return np.array([], dtype="U1")
        kind, first, last, _ = self.tag(at, stop)
        if kind not in _TEXTS:
            raise MatFileError(f"a text of type {kind} at byte {at}")
        coding = _TEXTS[kind]
        if coding in ("utf-16", "utf-32"):
            coding += "-le" if self.order == "<" else "-be"
        text = self.data[first:last].decode(coding)
        if len(text) != n:
            raise MatFileError(f"a text of {len(text)} letters at byte {at}, expected {n}")
        rows = np.array(list(text)).reshape(dims, order="F").reshape(-1, dims[-1])
        return np.array(["".join(row) for row in rows.tolist()])

    def _struct(self, dims: tuple[int, ...], at: int, stop: int, depth: int) -> np.ndarray:
        _, first, last, at = self.tag(at, stop)
        (width,) = self._stored_ints(first, last, 1)
        _, first, last, at = self.tag(at, stop)
        if width < 1 or (last - first) % width:
            raise MatFileError(f"field names of {last - first} bytes, {width} for each")
        packed = [self.data[k : k + width] for k in range(first, last, width)]
        names = [name.partition(b"\0")[0].decode("latin-1") for name in packed]
        if not names or "" in names or len(set(names)) < len(names):
            raise MatFileError(f"a structure with the fields {names}")
        n = prod(dims)
        columns = self._fill(n, len(names), at, stop, depth)
        records = np.empty(n, dtype=[(name, object) for name in names])
        for name, column in zip(names, columns, strict=True):
            records[name] = column
        return records.reshape(dims, order="F")

    def _stored_ints(self, first: int, last: int, n: int) -> tuple[int, ...]:
        if last - first != 4 * n:
            raise MatFileError(f"{last - first} bytes at byte {first}, expected {4 * n}")
        return struct.unpack_from(f"{self.order}{n}i", self.data, first)

    def _fill(self, n: int, n_columns: int, at: int, stop: int, depth: int) -> list[np.ndarray]:
        """Return the values inside a cell or structure array, which are stored row by row."""
        if n * n_columns * 8 > stop - at:
            raise MatFileError(f"{n * n_columns} values in {stop - at} bytes, at byte {at}")
        columns = [np.empty(n, dtype=object) for _ in range(n_columns)]
        for row in range(n):
            for column in columns:
                column[row], at = self._value(at, stop, depth + 1)
        return columns

    def _value(self, at: int, end: int, depth: int) -> tuple[np.ndarray, int]:
        kind, start, stop, following = self.tag(at, end)
        if kind != _MATRIX:
            raise MatFileError(f"element of type {kind} at byte {at} is no array")
        if start == stop:
            return np.zeros((1, 0)), following
        if stop - start > _INTERNED_BYTES:
            return self.matrix(start, stop, depth), following
        key = self.data[start:stop]
        value = self._known.get(key)
        if value is None:
            value = self._known[key] = self.matrix(start, stop, depth)
            value.flags.writeable = False
        return value, following
