"""Decode a file and find people in it: what every machine does that indexes.

Decoders read ahead in processes of their own; the network runs in the caller's thread, because
torch is a third slower in any thread but the first.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from fdps.decoding.messages import Ending
from fdps.decoding.pool import Decoders, Job
from fdps.structures import Detections, Embedder


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
    files: Iterable[File], decoders: Decoders, embedder: Embedder
) -> Iterator[tuple[File, Events]]:
    """Every file in order, each with what it gives; nothing for those that are not decoded.

    A few files ahead are being decoded. The network sees a frame when its event is asked for; what
    was not asked for when the next file is, is lost.

    Raises:
        ResourceError: No decoder can be started.
    """
    ahead: deque[tuple[File, Job | None]] = deque()
    for file in files:
        ahead.append((file, decoders.submit(file.request) if file.request else None))
        if len(ahead) > 2 * len(decoders.workers):
            yield from _look_at(*ahead.popleft(), embedder)
    while ahead:
        yield from _look_at(*ahead.popleft(), embedder)


def _look_at(file: File, job: Job | None, embedder: Embedder) -> Iterator[tuple[File, Events]]:
    if job is None:
        yield file, iter(())
        return
    yield file, _events(job, embedder)
    job.cancel()


def _events(job: Job, embedder: Embedder) -> Events:
    for event in job:
        if isinstance(event, Ending):
            yield event
            continue
        height, width = event.image.shape[:2]
        yield SeenFrame(
            width=width,
            height=height,
            people=embedder.detect(event.image),
            time=event.time,
            frame=event.frame,
            offset_s=event.offset_s,
            duration_s=event.duration_s,
        )
