"""Small ONNX networks that run, written as the protocol buffers that they are."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fake.onnx_file import field, varint

Shape = Sequence[int | str]

_FLOAT, _INT64 = 1, 7
_TYPES = {np.dtype(np.float32): _FLOAT, np.dtype(np.int64): _INT64}
_OPSET = 17


def write_graph(
    path: Path,
    nodes: Sequence[bytes],
    *,
    inputs: Mapping[str, tuple[Shape, type]],
    outputs: Mapping[str, tuple[Shape, type]],
    constants: Mapping[str, np.ndarray],
) -> Path:
    """Write a network.

    Args:
        path: The file.
        nodes: What it does, in order; see :func:`node`.
        inputs: Shape and type by name; a side may be a word, which leaves it open.
        outputs: Likewise.
        constants: Arrays by name.
    """
    graph = b"".join(field(1, each) for each in nodes) + field(2, b"graph")
    graph += b"".join(field(5, _tensor(name, array)) for name, array in constants.items())
    graph += b"".join(field(11, _value(name, *about)) for name, about in inputs.items())
    graph += b"".join(field(12, _value(name, *about)) for name, about in outputs.items())
    opset = field(1, b"") + _number(2, _OPSET)
    path.write_bytes(_number(1, 8) + field(7, graph) + field(8, opset))
    return path


def node(kind: str, inputs: str, outputs: str, **attributes: int | float | Sequence[int]) -> bytes:
    """A step of a network; names are separated by spaces."""
    message = b"".join(field(1, name.encode()) for name in inputs.split())
    message += b"".join(field(2, name.encode()) for name in outputs.split())
    message += field(4, kind.encode())
    return message + b"".join(field(5, _attribute(*item)) for item in attributes.items())


def _attribute(name: str, value: int | float | Sequence[int]) -> bytes:
    message = field(1, name.encode())
    if isinstance(value, float):
        return message + varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return message + _number(3, value) + _number(20, 2)
    return message + b"".join(_number(8, each) for each in value) + _number(20, 7)


def _tensor(name: str, array: np.ndarray) -> bytes:
    message = b"".join(_number(1, side) for side in array.shape)
    message += _number(2, _TYPES[array.dtype]) + field(8, name.encode())
    return message + field(9, array.tobytes())


def _value(name: str, shape: Shape, kind: type) -> bytes:
    sides = b"".join(
        field(1, field(2, side.encode()) if isinstance(side, str) else _number(1, side))
        for side in shape
    )
    tensor = _number(1, _TYPES[np.dtype(kind)]) + field(2, sides)
    return field(1, name.encode()) + field(2, field(1, tensor))


def _number(number: int, value: int) -> bytes:
    """A field that holds a number, which is not negative."""
    return varint(number << 3) + varint(value)
