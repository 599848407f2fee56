"""Single frames of a video, found again by their time."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

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
from fdps.decoding.messages import DecodedFrame

TOLERANCE_S = 1e-4  # the clocks of videos tick in thousandths or slower; it is for rounding


def read_moments(
    file: BinaryIO, moments: Sequence[tuple[int, float]]
) -> Iterator[DecodedFrame | None]:
    """Frames that were read from this video before, in the order of their times.

    Decoding begins at the keyframe before each frame. Where a format cannot be entered there, it
    begins at the beginning.

    Args:
        file: Open and seekable.
        moments: Number and seconds from the beginning of each frame, as
            :func:`~fdps.decoding.videos.read_video` gave them.

    Yields:
        Frames, and ``None`` for each that is passed over: a sign of life.

    Raises:
        VideoError: The file is no such video, or a frame is not there.
    """
    for number, offset_s in sorted(moments, key=lambda moment: moment[1]):
        is_found = False
        for seek in (True, False):
            for frame in _from_keyframe(file, offset_s, seek=seek):
                yield frame and DecodedFrame(frame.image, frame=number, offset_s=offset_s)
                is_found = is_found or frame is not None
            if is_found:
                break
        else:
            raise VideoError(f"it has no frame at {offset_s:.3f} s")


def _from_keyframe(file: BinaryIO, offset_s: float, *, seek: bool) -> Iterator[DecodedFrame | None]:
    """Decode until the frame; where that is not met, nothing but signs of life is given."""
    import av

    reading = Reading()
    with opened(file) as container:
        stream = video_stream(container)
        try:
            frames = decoded(container, stream, reading)
            while (frame := next(frames, None)) is not None:
                reading.n_frames += 1
                reading.offset_s = offset_of(frame, stream, reading)
                if abs(reading.offset_s - offset_s) <= TOLERANCE_S:
                    yield DecodedFrame(upright(frame, stream))
                if reading.offset_s >= offset_s - TOLERANCE_S:
                    return
                yield None
                if seek and reading.n_frames == 1:  # it has told where the clock begins
                    if reading.first_pts is None or stream.time_base is None:
                        return
                    place = reading.first_pts + round(offset_s / stream.time_base)
                    container.seek(place, stream=stream)
                    frames = decoded(container, stream, reading)
        except (av.FFmpegError, ValueError, OverflowError) as error:
            if not seek:
                raise VideoError(plain(error)) from error
