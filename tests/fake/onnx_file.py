"""ONNX files of a few bytes, written as the protocol buffers that they are."""

from pathlib import Path


def field(number: int, content: bytes) -> bytes:
    """A field that holds bytes: a text, or another message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def tensor_in(location: str) -> bytes:
    """A tensor whose values lie in another file."""
    entry = field(1, b"location") + field(2, location.encode())
    other = field(1, b"offset") + field(2, b"0")
    return field(8, b"weight") + field(13, other) + field(13, entry)


def write_with_initializer(path: Path, location: str) -> Path:
    """A network whose weights lie in another file."""
    path.write_bytes(varint(1 << 3) + varint(8) + field(7, field(5, tensor_in(location))))
    return path


def write_with_constant(path: Path, location: str) -> Path:
    """A network with a constant, deep in a branch of a node, that lies in another file."""
    constant = field(1, field(5, field(5, tensor_in(location))))  # node, attribute, tensor
    branch = field(1, field(5, field(6, constant)))  # node, attribute, graph
    path.write_bytes(field(7, branch))
    return path
