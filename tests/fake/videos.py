"""Small videos of people who walk, and of plain colours whose frames can be told apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Disposition, Stream

from fake.people import draw_person, draw_scene

TICKS = 1000  # timestamps are in milliseconds
SIZE = (160, 120)


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    times_ms: Sequence[int] | None = None,
    codec: str = "mpeg4",
    keyframe_every: int = 12,
    created: str = "",
    options: dict[str, str] | None = None,
) -> Path:
    """Encode pictures: MPEG-4 at the times given, or 100 ms apart; other codecs 25 a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_free = codec == "mpeg4"
    step = 100 if is_free else 1
    times = times_ms if times_ms is not None else [step * n for n in range(len(frames))]
    base = Fraction(1, TICKS if is_free else 25)
    with av.open(str(path), "w", container_options=options or {}) as container:
        if created:
            container.metadata["creation_time"] = created
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = keyframe_every
        if codec.startswith("mpeg"):  # or a new scene begins with every step of grey
            stream.codec_context.options = {"sc_threshold": "1000000000"}
        stream.codec_context.bit_rate = 4_000_000
        for image, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = time, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grey_steps(n: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Frame k has the grey level 40 + 4 k."""
    return [np.full((size[1], size[0], 3), 40 + 4 * k, dtype=np.uint8) for k in range(n)]


def people_frames(n: int, *, seed: int = 0) -> list[np.ndarray]:
    """One to three people out of twelve in every frame."""
    rng = np.random.default_rng(seed)
    return [
        draw_scene(rng, rng.choice(12, size=rng.integers(1, 4), replace=False).tolist())[0]
        for _ in range(n)
    ]


def walking_frames(n: int, walks: Mapping[int, Callable[[int], int | None]]) -> list[np.ndarray]:
    """People who walk before a grey wall.

    Args:
        n: Frames.
        walks: Person → where their left edge is in a frame; ``None`` while they are away.
    """
    frames = []
    for number in range(n):
        picture = np.full((SIZE[1], SIZE[0], 3), 100, dtype=np.uint8)
        for person_id, walk in walks.items():
            x = walk(number)
            if x is not None:
                draw_person(picture, person_id, (x, 30, 20, 60))
        frames.append(picture)
    return frames


TURNS = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)]
"""Display matrices that turn clockwise by 0 to 3 quarters: a, b, c, d."""


def turned(path: Path, quarter_turns: int) -> Path:
    """Write into the header of an MP4 that players turn it clockwise by so many quarters."""
    return with_matrix(path, TURNS[quarter_turns % 4])


def with_matrix(path: Path, matrix: Sequence[float]) -> Path:
    """Write a display matrix into the header of an MP4.

    Args:
        path: Of the video; it is changed.
        matrix: a, b, c and d: a step to the right is shown as (a, b), a step down as (c, d).
    """
    a, b, c, d = matrix
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # of a version 0 box
    rows = [(a, b, 0), (c, d, 0), (0, 0, 1)]
    for row, numbers in enumerate(rows):
        for column, number in enumerate(numbers):
            unit = 1 << (30 if column == 2 else 16)
            at = start + 4 * (3 * row + column)
            content[at : at + 4] = round(number * unit).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    return path


NO_MARKS = Disposition(0)


@dataclass(frozen=True, slots=True)
class Track:
    """One stream of a file.

    Args:
        frames: Pictures, or for sound the number of tenths of a second.
        codec: Of FFmpeg.
        is_default: Whether players are to begin with it; ``None`` leaves it to the format.
        marks: What else the stream is, such as a cover.
        aspect: Width of a pixel to its height.
        rate: Pictures a second.
    """

    frames: Sequence[np.ndarray] | int
    codec: str = "mpeg4"
    is_default: bool | None = None
    marks: Disposition = NO_MARKS
    aspect: Fraction = Fraction(1)
    rate: int = 10


def write_tracks(path: Path, *tracks: Track, options: dict[str, str] | None = None) -> Path:
    """Write a file of several streams, interleaved as recorders do."""
    with av.open(str(path), "w", container_options=options or {}) as container:
        streams = [_add_stream(container, track) for track in tracks]
        n_steps = max(_n_steps(track) for track in tracks)
        for step in range(n_steps):
            for track, stream in zip(tracks, streams, strict=True):
                if step < _n_steps(track):
                    container.mux(stream.encode(_raw(track, step)))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


SOUND_RATE = 16_000


def _n_steps(track: Track) -> int:
    return track.frames if isinstance(track.frames, int) else len(track.frames)


def _add_stream(container: OutputContainer, track: Track) -> Stream:
    if isinstance(track.frames, int):
        return container.add_stream(track.codec, rate=SOUND_RATE, layout="mono")
    stream = container.add_stream(track.codec, rate=track.rate)
    stream.height, stream.width = track.frames[0].shape[:2]
    stream.pix_fmt = _pixels(track.codec)
    stream.codec_context.gop_size = 5
    stream.codec_context.sample_aspect_ratio = track.aspect
    marks = track.marks
    if track.is_default is not None:
        default = Disposition.default
        marks = marks | default if track.is_default else marks & ~default
    stream.disposition = marks
    return stream


def _pixels(codec: str) -> str:
    return {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")


def _raw(track: Track, step: int) -> av.VideoFrame | av.AudioFrame:
    if isinstance(track.frames, int):
        n = SOUND_RATE // 10
        wave = (8000 * np.sin(np.arange(step * n, (step + 1) * n) / 5)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = (
            SOUND_RATE,
            step * n,
            Fraction(1, SOUND_RATE),
        )
        return frame
    picture = av.VideoFrame.from_ndarray(track.frames[step], format="rgb24")
    picture = picture.reformat(format=_pixels(track.codec))
    picture.pts, picture.time_base = step, Fraction(1, track.rate)
    return picture
