"""Decode a file and find people in it: what every machine does that indexes.

Decoders read ahead in processes of their own; the network runs in the caller's thread, because
torch is a third slower in any thread but the first.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol, TypeVar, runtime_checkable

from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders, Job
from fdps.structures import BatchEmbedder, Detections, Embedder


@dataclass(frozen=True, slots=True, eq=False)
class SeenFrame:
    """A picture, or one frame of a video, and everybody in it; no longer its pixels.

    Args:
        width: Pixels, upright.
        height: Pixels, upright.
        people: Best first.
        time: When the file was taken, as the file itself tells.
        frame: Number of the frame in the video, from 0.
        offset_s: Seconds from the beginning of the video; ``None`` for a picture.
        duration_s: Of the whole video, where its header tells.
    """

    width: int
    height: int
    people: Detections
    time: str | None = None
    frame: int = 0
    offset_s: float | None = None
    duration_s: float | None = None


Events = Iterator[SeenFrame | Ending]
"""What a file gives: its frames, then one ending."""


@runtime_checkable
class Decodable(Protocol):
    """A file with what a decoder is asked for."""

    @property
    def request(self) -> dict[str, Any] | None:
        """As ``fdps.decoding.messages`` describes it; ``None`` if it is not to be decoded."""


File = TypeVar("File", bound=Decodable)


def look_at_all(
    files: Iterable[File], decoders: Decoders, embedder: Embedder, batch: int = 1
) -> Iterator[tuple[File, Events]]:
    """Every file in order, each with what it gives; nothing for those that are not decoded.

    A few files ahead are being decoded, and the network looks at up to ``batch`` frames ahead. What
    of a file was not asked for when the next file is, is lost.

    Args:
        files: What to look at.
        decoders: Running.
        embedder: Looks at several frames at once if it is a
            :class:`~fdps.structures.BatchEmbedder`.
        batch: So many frames at most, of one size and in a row; they may be of several files.

    Raises:
        ResourceError: No decoder can be started.
    """
    size = batch if isinstance(embedder, BatchEmbedder) else 1
    seen = _seen(_decoded(files, decoders), embedder, size)
    for file, events in groupby(seen, key=itemgetter(0)):
        yield file, (event for _, event in events if event is not None)


def _decoded(
    files: Iterable[File], decoders: Decoders
) -> Iterator[tuple[File, DecodedFrame | Ending | None]]:
    """What the decoders give, file after file; ``None`` for a file that is not decoded."""
    ahead: deque[tuple[File, Job | None]] = deque()

    def first() -> Iterator[tuple[File, DecodedFrame | Ending | None]]:
        file, job = ahead.popleft()
        yield from ((file, event) for event in job) if job else [(file, None)]

    for file in files:
        ahead.append((file, decoders.submit(file.request) if file.request else None))
        if len(ahead) > 2 * len(decoders.workers):
            yield from first()
    while ahead:
        yield from first()


def _seen(
    decoded: Iterable[tuple[File, DecodedFrame | Ending | None]], embedder: Embedder, batch: int
) -> Iterator[tuple[File, SeenFrame | Ending | None]]:
    """The same, with people in place of pixels."""
    waiting: list[tuple[File, DecodedFrame | Ending | None]] = []
    sizes: list[tuple[int, ...]] = []
    for file, event in decoded:
        if isinstance(event, DecodedFrame):
            if sizes and event.image.shape != sizes[0]:
                yield from _look(waiting, embedder)
                waiting, sizes = [], []
            sizes.append(event.image.shape)
        waiting.append((file, event))
        if len(sizes) in (0, batch):
            yield from _look(waiting, embedder)
            waiting, sizes = [], []
    yield from _look(waiting, embedder)


def _look(
    waiting: Sequence[tuple[File, DecodedFrame | Ending | None]], embedder: Embedder
) -> Iterator[tuple[File, SeenFrame | Ending | None]]:
    frames = [event for _, event in waiting if isinstance(event, DecodedFrame)]
    if len(frames) > 1 and isinstance(embedder, BatchEmbedder):
        people = iter(embedder.detect_batch([frame.image for frame in frames]))
    else:
        people = (embedder.detect(frame.image) for frame in frames)
    for file, event in waiting:
        if isinstance(event, DecodedFrame):
            height, width = event.image.shape[:2]
            yield (
                file,
                SeenFrame(
                    width=width,
                    height=height,
                    people=next(people),
                    time=event.time,
                    frame=event.frame,
                    offset_s=event.offset_s,
                    duration_s=event.duration_s,
                ),
            )
        else:
            yield file, event
