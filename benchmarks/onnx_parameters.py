"""Count the parameters of an ONNX file without the onnx package.

An ONNX file is a protocol buffer; of its tree only three branches matter here:
``ModelProto.graph`` (field 7) → ``GraphProto.initializer`` (field 5) → ``TensorProto.dims``
(field 1) and ``data_type`` (field 2).
"""

import math
from collections.abc import Iterator
from pathlib import Path

GRAPH, INITIALIZER, DIMS, DATA_TYPE = 7, 5, 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
FLOAT_TYPES = {1, 10, 11, 16}  # float32, float16, float64, bfloat16


def n_parameters(path: Path) -> int:
    """Number of floating-point weights, folded normalisations included."""
    return sum(
        n_weights(tensor)
        for field, graph in fields(path.read_bytes())
        if field == GRAPH
        for name, tensor in fields(graph)
        if name == INITIALIZER
    )


def n_weights(tensor: bytes) -> int:
    """Elements of a serialised tensor; 0 if they are integers, such as shapes."""
    dims: list[int] = []
    is_float = False
    for field, value in fields(tensor):
        if field == DIMS:
            dims += list(varints(value)) if isinstance(value, bytes) else [value]
        if field == DATA_TYPE:
            is_float = value in FLOAT_TYPES
    return math.prod(dims) if is_float else 0


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of every field of a serialised message."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        field, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, at = varint(message, at)
            yield field, value
            continue
        if wire_type == BYTES:
            size, at = varint(message, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}[wire_type]
        yield field, message[at : at + size]
        at += size


def varints(packed: bytes) -> Iterator[int]:
    """Integers of a packed field."""
    at = 0
    while at < len(packed):
        value, at = varint(packed, at)
        yield value


def varint(message: bytes, at: int) -> tuple[int, int]:
    """An integer of seven bits per byte, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
