"""Video files by PyAV: opened without names, decoded packet by packet.

The file comes as an open object, and FFmpeg reads through it: it never opens anything by name.
Formats that are lists of other files (HLS, DASH, concat) are not among those it may try.
"""

import errno
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from jaxtyping import UInt8

from fdps.decoding.endings import missing_bytes
from fdps.decoding.messages import MAX_PIXELS

if TYPE_CHECKING:
    from av import Packet
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
    """The state of a video that is being read.

    Args:
        first_pts: Timestamp of the first frame.
        begin_s: Timestamp of the first packet in the order of showing, in seconds.
        end_s: Timestamp of the end of the last packet that came whole, in seconds.
        sound_end_s: The same of the sound.
        longest_s: How long the longest stream lasts, where the header tells that alone.
    """

    first_pts: int | None = None
    begin_s: float = math.inf
    end_s: float = 0.0
    sound_end_s: float = 0.0
    longest_s: float | None = None
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
        if missing_bytes(file):
            raise VideoError(
                "the end of the file is missing, and without it nothing can be read"
            ) from error
        is_other = getattr(error, "errno", 0) == errno.EINVAL  # FFmpeg: "not on the list"
        reason = f"it reads {', '.join(FORMATS)}" if is_other else plain(error)
        raise VideoError(f"not a video that fdps reads: {reason}") from error


def video_stream(container: "InputContainer") -> "VideoStream":
    """Choose the stream that players show, ready to decode.

    That is the one that the file marks as its default, otherwise the largest, otherwise the first.
    Covers, thumbnails and stills are none, and a stream of a single picture is only taken where
    there is no other.

    Raises:
        VideoError: There is none, or its pictures are too large.
    """
    from av.stream import Disposition

    stills = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    moving = [stream for stream in container.streams.video if not stream.disposition & stills]
    known = [stream for stream in moving if stream.codec_context is not None]
    if not moving:
        only = ", only a cover or stills" if container.streams.video else ""
        raise VideoError(f"it holds no video{only}")
    if not known:
        raise VideoError("its codec is not known")

    def merit(stream: "VideoStream") -> tuple[bool, bool, int]:
        is_default = bool(stream.disposition & Disposition.default)
        return stream.frames != 1, is_default, stream.width * stream.height

    stream = max(known, key=merit)
    context = stream.codec_context
    if context.width * context.height > MAX_PIXELS:
        raise VideoError(f"more than {MAX_PIXELS:,} pixels")
    context.options = {"max_pixels": str(MAX_PIXELS)}
    context.thread_count = 1  # the network needs the other cores
    return stream


def decoded(
    container: "InputContainer", stream: "VideoStream", reading: Reading
) -> Iterator["VideoFrame"]:
    """Yield all frames; damaged packets are counted and passed over."""
    import av

    for packet in container.demux(stream, *container.streams.audio):
        _note_times(packet, stream, reading)
        if packet.stream is not stream:
            continue
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.FFmpegError as error:
            reading.n_damaged += 1
            if reading.n_damaged > MAX_DAMAGED_PACKETS:
                raise VideoError(f"{reading.n_damaged:,} damaged packets") from error
            continue
        yield from cast("list[VideoFrame]", frames)


def _note_times(packet: "Packet[Any]", stream: "VideoStream", reading: Reading) -> None:
    time = packet.pts if packet.pts is not None else packet.dts
    if time is None or not packet.size or not packet.time_base or packet.is_corrupt:
        return
    end_s = float((time + (packet.duration or 0)) * packet.time_base)
    if packet.stream is not stream:
        reading.sound_end_s = max(reading.sound_end_s, end_s)
        return
    reading.begin_s = min(reading.begin_s, float(time * packet.time_base))
    reading.end_s = max(reading.end_s, end_s)


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


def upright(frame: "VideoFrame", stream: "VideoStream") -> UInt8[np.ndarray, "H W 3"]:
    """The pixels as players show them.

    Pixels that are not square are made square: the height stays, the width is scaled. Then the
    picture is mirrored and turned as the display matrix says, by the nearest right angle.

    Args:
        frame: A decoded frame.
        stream: Its stream, which knows the aspect of the pixels.

    Raises:
        VideoError: There are too many.
    """
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width = max(round(frame.width * aspect), 1) if aspect > 0 else frame.width
    if max(width, frame.width) * frame.height > MAX_PIXELS:
        raise VideoError(f"more than {MAX_PIXELS:,} pixels")
    image = frame.to_ndarray(format="rgb24", width=width)
    is_mirrored, quarter_turns = _display(frame)
    if is_mirrored:
        image = image[:, ::-1]
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


def _display(frame: "VideoFrame") -> tuple[bool, int]:
    """Return whether to mirror a frame, and then how often to turn it counter-clockwise.

    The display matrix sends a step to the right to (a, b) and a step down to (c, d). Where it
    turns right and down into each other the other way round, it mirrors.
    """
    from av.sidedata.sidedata import SideDataContainer, Type

    # Not frame.side_data: that and the frame hold each other, so the pixels would stay in memory.
    try:
        matrix = SideDataContainer(frame).get(  # type: ignore[call-arg]
            Type.DISPLAYMATRIX
        )
    except ValueError:  # the frame has side data of a kind that PyAV does not know
        return False, round(frame.rotation / 90) % 4
    if matrix is None:
        return False, 0
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix)[:36])
    is_mirrored = a * d - b * c < 0
    right = (-a, -b) if is_mirrored else (a, b)
    return is_mirrored, round(-math.atan2(right[1], right[0]) / (math.pi / 2)) % 4


def plain(error: Exception) -> str:
    """Return the message of an error without FFmpeg's decoration."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
