"""Small videos of people who walk, and of plain colours whose frames can be told apart."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

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


def turned(path: Path, quarter_turns: int) -> Path:
    """Write into the header of an MP4 that players turn it clockwise by so many quarters."""
    matrices = {  # a, b, c, d of the display matrix
        0: (1, 0, 0, 1),
        1: (0, 1, -1, 0),
        2: (-1, 0, 0, -1),
        3: (0, -1, 1, 0),
    }
    a, b, c, d = matrices[quarter_turns % 4]
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # of a version 0 box
    rows = [(a, b, 0), (c, d, 0), (0, 0, 1)]
    for row, numbers in enumerate(rows):
        for column, number in enumerate(numbers):
            unit = 1 << (30 if column == 2 else 16)
            at = start + 4 * (3 * row + column)
            content[at : at + 4] = (number * unit).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    return path
