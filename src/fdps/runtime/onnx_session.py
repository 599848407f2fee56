"""Open an ONNX file with onnxruntime, and with no file that the network has no right to.

An ONNX file may keep its weights in other files, named inside it. Such a name must stay within the
folder of the network: ``../../etc/passwd`` is refused before onnxruntime sees it. The names are
read from the protocol buffer itself, so no package is needed for that.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fdps.errors import MissingDataError, ModelError, UsageError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_BELOW: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""The fields of each message of onnx.proto under which a tensor may lie."""
_MAX_DEPTH = 64  # subgraphs within subgraphs; real networks have three or four levels


def open_session(path: Path, *, threads: int) -> "InferenceSession":
    """Open a network for the CPU.

    Raises:
        MissingDataError: There is no such file, or a file that it names is not there.
        ModelError: The file is not an ONNX network, or it names a file outside its folder.
        UsageError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "ONNX networks need onnxruntime, which is not installed",
            hint="pip install 'fdps[runtime]'",
        ) from error
    if not path.is_file():
        raise MissingDataError(f"no network at {path}")
    external_files(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3  # errors, which are raised anyway; warnings are for its makers
    try:
        return onnxruntime.InferenceSession(
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a class of its own for every cause
        raise ModelError(f"{path} is not an ONNX network: {error}") from error


def run(session: "InferenceSession", pixels: np.ndarray) -> np.ndarray:
    """Return the first output of a network for its one input."""
    output = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    return np.asarray(output)


def run_all(session: "InferenceSession", given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return all outputs of a network by their names, for inputs by theirs."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, dict(given))), strict=True))


def external_files(path: Path) -> list[Path]:
    """Return the sorted files beside an ONNX file that hold weights of it.

    Raises:
        MissingDataError: There is no such file, or one that it names is not there.
        ModelError: The file is not a protocol buffer, or a name leads out of the folder.
    """
    if not path.is_file():
        raise MissingDataError(f"no network at {path}")
    try:
        names = {bytes(name).decode() for name in _locations(memoryview(path.read_bytes()))}
    except (IndexError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not an ONNX network: {error}") from error
    return [_inside(path, name) for name in sorted(names)]


def _inside(path: Path, name: str) -> Path:
    folder = path.parent.resolve()
    file = folder / name  # an absolute name replaces the folder
    # Links count as what they lead to; a null byte is no name at all.
    if "\0" in name or not file.resolve().is_relative_to(folder):
        raise ModelError(
            f"{path} keeps weights in {name!r}, outside its own folder",
            hint="put all files of a network into one folder, and export it again",
        )
    if not file.is_file():
        raise MissingDataError(f"{path} keeps weights in {os.fspath(file)}, which is not there")
    return file


def _locations(message: memoryview, kind: str = "model", depth: int = 0) -> Iterator[memoryview]:
    """Yield the values of all entries ``location`` of external tensors."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_DEPTH} levels")
    for field, value in _fields(message):
        below = _BELOW[kind].get(field)
        if below is None or value is None:
            continue
        if below != "entry":
            yield from _locations(value, below, depth + 1)
            continue
        pair = {number: text for number, text in _fields(value) if text is not None}
        if bytes(pair.get(1, memoryview(b""))) == b"location":
            yield pair.get(2, memoryview(b""))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Yield the number and the bytes of every field of a message; ``None`` for numbers."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            _, at = _varint(message, at)
            yield field, None
            continue
        if wire_type == _BYTES:
            size, at = _varint(message, at)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if at + size > len(message):
            raise ValueError("it is cut off")
        yield field, message[at : at + size] if wire_type == _BYTES else None
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of seven bits per byte, and return it with the place where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")
