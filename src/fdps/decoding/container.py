"""Video files by PyAV: opened without names, decoded packet by packet.

The file comes as an open object, and FFmpeg reads through it: it never opens anything by name.
Formats that are lists of other files (HLS, DASH, concat) are not among those it may try.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from jaxtyping import UInt8

from fdps.decoding.messages import MAX_PIXELS

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video import VideoFrame, VideoStream

FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg")
"""Names by which FFmpeg knows what it may try."""

OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "protocol_whitelist": "none",  # what a video refers to stays closed
    "max_streams": "64",
}
READ_BYTES = 1 << 18
MAX_DAMAGED_PACKETS = 10_000


class VideoError(Exception):
    """A video, or the rest of it, cannot be decoded."""


@dataclass
class Reading:
    """What is known so far about a video that is being read."""

    first_pts: int | None = None
    n_packets: int = 0
    n_damaged: int = 0
    n_frames: int = 0
    offset_s: float = 0.0
    taken_s: float | None = None
    skip: frozenset[int] = field(default_factory=frozenset)
    order: list[int] = field(default_factory=list)


def opened(file: BinaryIO) -> "InputContainer":
    """Open a video.

    Raises:
        VideoError: It is none that fdps reads.
    """
    import av

    av.logging.set_level(None)

    if file.seek(0, os.SEEK_END) == 0:
        raise VideoError("the file is empty")
    file.seek(0)
    try:
        # Not options=: those are passed on to every stream, for which PyAV before 16 crashes where
        # a stream is found late.
        return av.open(
            file, "r", container_options=OPTIONS, metadata_errors="replace", buffer_size=READ_BYTES
        )
    except Exception as error:  # FFmpeg has a class of its own for every cause
        is_other = getattr(error, "errno", 0) == errno.EINVAL  # FFmpeg: "not on the list"
        reason = f"it reads {', '.join(FORMATS)}" if is_other else plain(error)
        raise VideoError(f"not a video that fdps reads: {reason}") from error


def video_stream(container: "InputContainer") -> "VideoStream":
    """The first stream of moving pictures, ready to decode.

    Raises:
        VideoError: There is none, or its pictures are too large.
    """
    import av

    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not moving:
        raise VideoError("it holds no video")
    stream = moving[0]
    context = stream.codec_context
    if context is None:
        raise VideoError("its codec is not known")
    if context.width * context.height > MAX_PIXELS:
        raise VideoError(f"more than {MAX_PIXELS:,} pixels")
    context.options = {"max_pixels": str(MAX_PIXELS)}
    context.thread_count = 1  # the network needs the other cores
    return stream


def decoded(
    container: "InputContainer", stream: "VideoStream", reading: Reading
) -> Iterator["VideoFrame"]:
    """All frames; damaged packets are counted and passed over."""
    import av

    for packet in container.demux(stream):
        reading.n_packets += packet.size > 0
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.FFmpegError as error:
            reading.n_damaged += 1
            if reading.n_damaged > MAX_DAMAGED_PACKETS:
                raise VideoError(f"{reading.n_damaged:,} damaged packets") from error
            continue
        yield from frames


def offset_of(frame: "VideoFrame", stream: "VideoStream", reading: Reading) -> float:
    """Seconds from the beginning; frames without a timestamp follow the one before."""
    pts = frame.pts if frame.pts is not None else frame.dts
    base = frame.time_base or stream.time_base
    if pts is None or base is None:
        rate = stream.average_rate or Fraction(25)
        return reading.offset_s + float(1 / rate) * (reading.n_frames > 1)
    if reading.first_pts is None:
        reading.first_pts = pts
    return float((pts - reading.first_pts) * base)


def upright(frame: "VideoFrame") -> UInt8[np.ndarray, "H W 3"]:
    """The pixels, turned as the video says.

    Raises:
        VideoError: There are too many.
    """
    if frame.width * frame.height > MAX_PIXELS:
        raise VideoError(f"more than {MAX_PIXELS:,} pixels")
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise, as numpy turns
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


def plain(error: Exception) -> str:
    """What went wrong, without FFmpeg's decoration."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
