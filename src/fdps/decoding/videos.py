"""Frames of a video file by PyAV, in the child.

How a file is opened, and what is refused: :mod:`fdps.decoding.container`.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from fdps.decoding.container import (
    Reading,
    VideoError,
    decoded,
    offset_of,
    opened,
    plain,
    upright,
    video_stream,
)
from fdps.decoding.endings import matroska_seconds, missing_bytes
from fdps.decoding.messages import DecodedFrame
from fdps.decoding.sampling import Sampling

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video import VideoFrame, VideoStream

_CLOCK = re.compile(r"(\d+):(\d{2}):(\d{2}(?:\.\d+)?)")
FIRST_PLAUSIBLE_YEAR = 1980  # cameras without a clock begin in 1904 or 1970
SLACK_S = 0.5  # by which durations in headers are off
WITHOUT_DURATION = frozenset({"mpegts", "mpeg"})
"""Formats that state no duration; FFmpeg takes it from the timestamps of what is left."""


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

    n_missing, longest_s = missing_bytes(file), matroska_seconds(file)
    reading = Reading(
        longest_s=longest_s, skip=skip, order=_display_order(file) if sampling.is_keyframes else []
    )
    with opened(file) as container:
        stream = video_stream(container)
        if sampling.is_keyframes:
            stream.codec_context.skip_frame = "NONKEY"
        try:
            for frame in decoded(container, stream, reading):
                yield _taken(frame, container, stream, sampling, reading)
                if reading.n_frames >= max_frames:
                    raise VideoError(f"more than {max_frames:,} frames")
        except (av.FFmpegError, ValueError, OverflowError) as error:
            raise VideoError(f"{_so_far(reading)}: {plain(error)}") from error
        _complain(container, stream, reading, n_missing)


def _display_order(file: BinaryIO) -> list[int]:
    """Timestamps of all frames, rising, without decoding any.

    Where only keyframes are decoded, the place among these is the number of a frame.
    """
    import av

    times = []
    with opened(file) as container:
        try:
            for packet in container.demux(video_stream(container)):
                if packet.size and packet.pts is not None:
                    times.append(packet.pts)
        except av.FFmpegError:
            pass  # it is met again, and told, when the frames are read
    return sorted(times)


def _taken(
    frame: "VideoFrame",
    container: "InputContainer",
    stream: "VideoStream",
    sampling: Sampling,
    reading: Reading,
) -> DecodedFrame | None:
    number, reading.n_frames = reading.n_frames, reading.n_frames + 1
    if reading.order and frame.pts is not None:
        number = bisect_left(reading.order, frame.pts)
    reading.offset_s = offset_of(frame, stream, reading)
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
    return DecodedFrame(
        upright(frame, stream),
        time=_creation_time(container),
        frame=number,
        offset_s=reading.offset_s,
        duration_s=_duration_s(container, stream),
    )


def _creation_time(container: "InputContainer") -> str | None:
    """Return when recording began. Apple's key has the time zone, the common one is in UTC."""
    for key in ("com.apple.quicktime.creationdate", "creation_time"):
        try:
            time = datetime.fromisoformat(container.metadata.get(key, ""))
        except ValueError:
            continue
        if time.year >= FIRST_PLAUSIBLE_YEAR:
            return time.isoformat()
    return None


def _duration_s(container: "InputContainer", stream: "VideoStream") -> float | None:
    """Return the length of the video, by its header or by FFmpeg's estimate."""
    import av

    duration = _stated_s(container, stream)
    if duration is None and stream.duration and stream.time_base:
        duration = float(stream.duration * stream.time_base)
    elif duration is None and container.duration and not container.streams.audio:
        duration = container.duration / av.time_base
    return duration if duration and math.isfinite(duration) else None


def _stated_s(container: "InputContainer", stream: "VideoStream") -> float | None:
    """Return the length of the video that its header states."""
    formats = _formats(container)
    if formats & WITHOUT_DURATION:
        return None
    if "avi" in formats:  # its duration shrinks with the file, the number of its frames does not
        return float(stream.frames / stream.average_rate) if stream.average_rate else None
    if "matroska" in formats:
        return _seconds(stream.metadata.get("DURATION", ""))
    return (
        float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    )


def _formats(container: "InputContainer") -> set[str]:
    return set(container.format.name.split(","))


def _seconds(text: str) -> float | None:
    """Read the tag of Matroska, such as ``00:00:04.007000000``."""
    match = _CLOCK.fullmatch(text.strip("\0 "))
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None


def _complain(
    container: "InputContainer", stream: "VideoStream", reading: Reading, n_missing: int
) -> None:
    """Raise if the video ends before its container says so, or had damaged parts."""
    cut = f"the end of the file is missing ({n_missing:,} bytes)" if n_missing else ""
    if reading.n_frames == 0:
        raise VideoError(f"it holds no frame that can be decoded{cut and f': {cut}'}")
    stated_s = _stated_s(container, stream)
    read_s = max(reading.end_s, reading.end_s - reading.begin_s)
    if stated_s is None:
        stated_s, read_s = reading.longest_s, max(read_s, reading.sound_end_s)
    if stated_s and read_s + SLACK_S < stated_s * 0.99:
        raise VideoError(f"{_so_far(reading)}: it should last {stated_s:.1f} s")
    if cut:
        raise VideoError(f"{_so_far(reading)}: {cut}")
    if reading.n_damaged:
        raise VideoError(f"{reading.n_damaged} damaged parts were passed over")


def _so_far(reading: Reading) -> str:
    return f"it ends after {reading.offset_s:.1f} s"
