"""Decode a file and find the people in it: the work of every machine that indexes.

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
    """A picture, or one frame of a video, with everybody in it but without its pixels.

    Args:
        width: Width of the upright picture, in pixels.
        height: Height of the upright picture, in pixels.
        people: The people found, best first.
        time: Time at which the file was taken, as the file itself tells.
        frame: Number of the frame in the video, from 0.
        offset_s: Seconds from the beginning of the video; ``None`` for a picture.
        duration_s: Duration of the whole video in seconds, where its header tells.
    """

    width: int
    height: int
    people: Detections
    time: str | None = None
    frame: int = 0
    offset_s: float | None = None
    duration_s: float | None = None


Events = Iterator[SeenFrame | Ending]
"""Everything that a file gives: its frames, then one ending."""


@runtime_checkable
class Decodable(Protocol):
    """A file that a decoder can be asked for."""

    @property
    def request(self) -> dict[str, Any] | None:
        """The request to a decoder (``fdps.decoding.messages``); ``None`` if nothing is decoded."""


File = TypeVar("File", bound=Decodable)


def look_at_all(
    files: Iterable[File], decoders: Decoders, embedder: Embedder, batch: int = 1
) -> Iterator[tuple[File, Events]]:
    """Yield every file in order, each with what it gives; nothing for those that are not decoded.

    A few files ahead are being decoded, and the network looks at up to ``batch`` frames ahead.
    Whatever has not been taken of a file when the next file is asked for is lost.

    Args:
        files: Files to look at.
        decoders: Decoders that are running.
        embedder: Finds the people; looks at several frames at once if it is a
            :class:`~fdps.structures.BatchEmbedder`.
        batch: Most frames to look at together, of one size and in a row; they may be of several
            files.

    Raises:
        ResourceError: No decoder can be started.
    """
    size = batch if isinstance(embedder, BatchEmbedder) else 1
    seen = _seen(decode_ahead(files, decoders), embedder, size)
    for file, events in groupby(seen, key=itemgetter(0)):
        yield file, (event for _, event in events if event is not None)


def decode_ahead(
    files: Iterable[File], decoders: Decoders
) -> Iterator[tuple[File, DecodedFrame | Ending | None]]:
    """Yield what the decoders give, file after file; ``None`` for a file that is not decoded."""
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
    """Yield the same, with people in place of pixels."""
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
