"""Frames of a video file by PyAV, in the child.

The file comes as an open object, and FFmpeg reads through it: it never opens anything by name.
Formats that are lists of other files (HLS, DASH, concat) are not among those it may try.
"""

import errno
import math
import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fdps.decoding.messages import MAX_PIXELS, DecodedFrame
from fdps.decoding.sampling import Sampling

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
FIRST_PLAUSIBLE_YEAR = 1980  # cameras without a clock begin in 1904 or 1970
SLACK_S = 0.5  # by which durations in headers are off


class VideoError(Exception):
    """A video, or the rest of it, cannot be decoded."""


@dataclass
class _Reading:
    """What is known so far about a video that is being read."""

    first_pts: int | None = None
    n_packets: int = 0
    n_damaged: int = 0
    n_frames: int = 0
    offset_s: float = 0.0
    taken_s: float | None = None
    skip: frozenset[int] = field(default_factory=frozenset)
    order: list[int] = field(default_factory=list)


def read_video(
    file: BinaryIO, sampling: Sampling, *, skip: frozenset[int] = frozenset(), max_frames: int
) -> Iterator[DecodedFrame | None]:
    """The frames that a rule takes, upright, in the order in which they are shown.

    Args:
        file: Open and seekable.
        sampling: The rule.
        skip: Numbers of frames that are not wanted; they count for the rule all the same.
        max_frames: More frames than this are refused.

    Yields:
        Frames, and ``None`` for each that is passed over: a sign of life.

    Raises:
        VideoError: The file is no such video; or, after the frames that could be read, why there
            are not more.
    """
    import av

    av.logging.set_level(None)
    reading = _Reading(skip=skip, order=_display_order(file) if sampling.is_keyframes else [])
    with _opened(file) as container:
        stream = _video_stream(container)
        if sampling.is_keyframes:
            stream.codec_context.skip_frame = "NONKEY"
        try:
            for frame in _decoded(container, stream, reading):
                yield _taken(frame, container, stream, sampling, reading)
                if reading.n_frames >= max_frames:
                    raise VideoError(f"more than {max_frames:,} frames")
        except (av.FFmpegError, ValueError, OverflowError) as error:
            raise VideoError(f"{_so_far(reading)}: {_plain(error)}") from error
        _complain(container, stream, reading)


def _opened(file: BinaryIO) -> "InputContainer":
    import av

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
        reason = f"it reads {', '.join(FORMATS)}" if is_other else _plain(error)
        raise VideoError(f"not a video that fdps reads: {reason}") from error


def _display_order(file: BinaryIO) -> list[int]:
    """Timestamps of all frames, rising, without decoding any.

    Where only keyframes are decoded, the place among these is the number of a frame.
    """
    import av

    times = []
    with _opened(file) as container:
        try:
            for packet in container.demux(_video_stream(container)):
                if packet.size and packet.pts is not None:
                    times.append(packet.pts)
        except av.FFmpegError:
            pass  # it is met again, and told, when the frames are read
    return sorted(times)


def _video_stream(container: "InputContainer") -> "VideoStream":
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


def _decoded(
    container: "InputContainer", stream: "VideoStream", reading: _Reading
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


def _taken(
    frame: "VideoFrame",
    container: "InputContainer",
    stream: "VideoStream",
    sampling: Sampling,
    reading: _Reading,
) -> DecodedFrame | None:
    number, reading.n_frames = reading.n_frames, reading.n_frames + 1
    if reading.order and frame.pts is not None:
        number = bisect_left(reading.order, frame.pts)
    reading.offset_s = _offset_s(frame, stream, reading)
    if frame.is_corrupt:
        reading.n_damaged += 1
        return None
    if sampling.is_keyframes and not frame.key_frame:  # not every codec can leave them out
        return None
    if not sampling.takes(number, reading.offset_s, reading.taken_s):
        return None
    reading.taken_s = reading.offset_s
    if number in reading.skip:
        return None
    if frame.width * frame.height > MAX_PIXELS:
        raise VideoError(f"more than {MAX_PIXELS:,} pixels")
    return DecodedFrame(
        _upright(frame),
        time=_creation_time(container),
        frame=number,
        offset_s=reading.offset_s,
        duration_s=_duration_s(container, stream),
    )


def _offset_s(frame: "VideoFrame", stream: "VideoStream", reading: _Reading) -> float:
    """Seconds from the beginning; frames without a timestamp follow the one before."""
    pts = frame.pts if frame.pts is not None else frame.dts
    base = frame.time_base or stream.time_base
    if pts is None or base is None:
        rate = stream.average_rate or Fraction(25)
        return reading.offset_s + float(1 / rate) * (reading.n_frames > 1)
    if reading.first_pts is None:
        reading.first_pts = pts
    return float((pts - reading.first_pts) * base)


def _upright(frame: "VideoFrame") -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise, as numpy turns
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


def _creation_time(container: "InputContainer") -> str | None:
    """When recording began. Apple's key knows the time zone, the common one is UTC."""
    for key in ("com.apple.quicktime.creationdate", "creation_time"):
        try:
            time = datetime.fromisoformat(container.metadata.get(key, ""))
        except ValueError:
            continue
        if time.year >= FIRST_PLAUSIBLE_YEAR:
            return time.isoformat()
    return None


def _duration_s(container: "InputContainer", stream: "VideoStream") -> float | None:
    import av

    duration = None
    if stream.duration and stream.time_base:
        duration = float(stream.duration * stream.time_base)
    elif container.duration and not container.streams.audio:  # sound may go on for longer
        duration = container.duration / av.time_base
    return duration if duration and math.isfinite(duration) else None


def _complain(container: "InputContainer", stream: "VideoStream", reading: _Reading) -> None:
    """Raise if the video ends before its header says so, or had damaged parts."""
    if reading.n_frames == 0:
        raise VideoError("it holds no frame that can be decoded")
    duration = _duration_s(container, stream)
    lacks_packets = not stream.frames or reading.n_packets < stream.frames
    if lacks_packets and duration and reading.offset_s + SLACK_S < duration * 0.99:
        raise VideoError(f"{_so_far(reading)}: it should last {duration:.1f} s")
    if reading.n_damaged:
        raise VideoError(f"{reading.n_damaged} damaged parts were passed over")


def _so_far(reading: _Reading) -> str:
    return f"it ends after {reading.offset_s:.1f} s"


def _plain(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
