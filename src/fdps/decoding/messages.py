"""The messages between parent and decoder: a small JSON header, then plain bytes.

.. code-block:: text

    request   {"do": "picture", "path": ..., "wants_time": true, "max_pixels": ...}
              {"do": "video", "path": ..., "every": "0.5s", "skip": [0, 12, ...]}
              {"do": "moments", "path": ..., "moments": [[240, 9.6], ...]}   frame, seconds
    reply     {"kind": "ready"}     once, when the process has started
              {"kind": "alive"}     a video goes on, without a frame that is wanted
              {"kind": "frame", "width": ..., "height": ..., ...} + width * height * 3 bytes, RGB
              {"kind": "end", "problem": ...}   of the file; a problem, or nothing

A length of four bytes stands before each header. Nothing is unpickled, and what the decoder
claims about sizes is checked: it may have been taken over by the file it reads.
"""

import json
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8

MAX_HEADER_BYTES = 1 << 16
MAX_PIXELS = 89_478_485  # as fdps.pictures; repeated, that module is for the child
_LENGTH = struct.Struct(">I")


class BrokenMessageError(Exception):
    """The other side ended, or said what makes no sense."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """A picture, or one frame of a video.

    Args:
        image: RGB, upright.
        time: When the file was taken, or its first frame, as the file itself tells: ISO 8601, with
            an offset where the file knows one.
        frame: Number of the frame in the video, from 0.
        offset_s: Seconds from the beginning of the video; ``None`` for a picture.
        duration_s: Length of the whole video, where its header tells.
    """

    image: UInt8[np.ndarray, "H W 3"]
    time: str | None = None
    frame: int = 0
    offset_s: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """Nothing more comes from a file.

    Args:
        problem: Why not all of it could be read; empty if it could.
    """

    problem: str = ""


def write_message(stream: BinaryIO, header: dict[str, Any], pixels: Any = b"") -> None:
    """Write header and pixels, and flush."""
    text = json.dumps(header).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    stream.flush()
    view = memoryview(pixels).cast("B") if len(pixels) else memoryview(b"")
    while len(view):  # an unbuffered stream may take less than all
        view = view[stream.write(view) :]


def read_header(stream: BinaryIO, most: int = MAX_HEADER_BYTES) -> dict[str, Any]:
    """Read one header.

    Raises:
        BrokenMessageError: The stream ended, or this is no header.
    """
    prefix = bytearray(_LENGTH.size)
    _fill(stream, memoryview(prefix))
    (length,) = _LENGTH.unpack(prefix)
    if length > most:
        raise BrokenMessageError(f"a header of {length} bytes")
    text = bytearray(length)
    _fill(stream, memoryview(text))
    try:
        header = json.loads(text)
    except ValueError as error:
        raise BrokenMessageError("a header that is not JSON") from error
    if not isinstance(header, dict):
        raise BrokenMessageError("a header that is no object")
    return header


def read_reply(stream: BinaryIO) -> DecodedFrame | Ending | None:
    """Read what a decoder replies; ``None`` for a mere sign of life.

    Raises:
        BrokenMessageError: The decoder ended, or what it says makes no sense.
    """
    header = read_header(stream)
    kind = header.get("kind")
    if kind in ("alive", "ready"):
        return None
    if kind == "end":
        return Ending(str(header.get("problem") or ""))
    width, height = header.get("width"), header.get("height")
    if kind != "frame" or not isinstance(width, int) or not isinstance(height, int):
        raise BrokenMessageError(f"a reply of kind {kind}")
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise BrokenMessageError(f"a picture of {width}×{height}")
    image = np.empty((height, width, 3), dtype=np.uint8)
    _fill(stream, image.reshape(-1).data)
    return DecodedFrame(
        image,
        time=None if header.get("time") is None else str(header["time"]),
        frame=int(header.get("frame") or 0),
        offset_s=_number(header.get("offset_s")),
        duration_s=_number(header.get("duration_s")),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _fill(stream: BinaryIO, view: memoryview) -> None:
    while len(view):
        n = stream.readinto(view)  # type: ignore[attr-defined]
        if not n:
            raise BrokenMessageError("the decoder ended")
        view = view[n:]
