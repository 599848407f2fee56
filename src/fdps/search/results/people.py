"""Find everybody in pictures and videos, without an archive, and write down who is where.

Axes in shapes: P people of all pictures, D embedding dimension.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from fdps.decoding.messages import Ending
from fdps.decoding.pool import Decoders
from fdps.decoding.sampling import DEFAULT_EVERY, Sampling
from fdps.errors import UsageError
from fdps.search.ingest.frames import Found, Frame, Skipped
from fdps.search.ingest.looking import Events, look_at_all
from fdps.search.ingest.scene_writer import Progress, clock
from fdps.search.results.formats import COCO_CATEGORIES, coco_annotation, mot_line
from fdps.structures import Detections, Embedder

NO_TRACK = -1  # what MOTChallenge writes for no track


@dataclass(frozen=True, slots=True, eq=False)
class PictureWithPeople:
    """Everybody in one picture, or in one frame of a video.

    Args:
        file: The picture or the video.
        place: Index of the file among those that were looked at, from 0.
        width: Width of the upright picture, in pixels.
        height: Height of the upright picture, in pixels.
        people: The people found, best first.
        frame: Number of the frame in the video, from 0; 0 for a picture.
        offset_s: Seconds from the beginning of the video; ``None`` for a picture.
    """

    file: Frame
    place: int
    width: int
    height: int
    people: Detections
    frame: int = 0
    offset_s: float | None = None

    @property
    def name(self) -> str:
        """The name in an archive: ``photos/a.jpg``, ``in/clip.mp4@00:00:01.500``."""
        moment = "" if self.offset_s is None else f"@{clock(self.offset_s)}"
        return f"{self.file.name}{moment}"


@dataclass(frozen=True, slots=True)
class _Wanted:
    file: Frame
    place: int
    request: dict[str, Any]


def find_people(
    embedder: Embedder,
    found: Found,
    *,
    every: str = DEFAULT_EVERY,
    progress: Progress | None = None,
) -> tuple[list[PictureWithPeople], list[Skipped]]:
    """Find everybody in pictures, and in frames of videos.

    Args:
        embedder: Embedder that finds the people.
        found: Files to look at.
        every: Frames of a video to look at, as :class:`~fdps.decoding.sampling.Sampling` reads it.
        progress: Called after every file, and after every frame of a video, with the number done
            and the number of all.

    Returns:
        The pictures and frames in order, and every file that was not read, or only in part, with
        the reason.

    Raises:
        UsageError: ``every`` is malformed.
        ResourceError: No decoder can be started.
    """
    sampling = Sampling.parse(every)
    search = _Search(sampling, len(found.frames), progress)
    wanted = [_wanted(file, place, sampling) for place, file in enumerate(found.frames)]
    with Decoders() as decoders:
        for file, events in look_at_all(wanted, decoders, embedder):
            search.take(file, events)
    return search.pictures, [*found.skipped, *search.skipped]


def _wanted(file: Frame, place: int, sampling: Sampling) -> _Wanted:
    request: dict[str, Any] = {"do": "picture", "path": str(file.path)}
    if file.is_video:
        request |= {"do": "video", "every": str(sampling)}
    return _Wanted(file, place, request)


class _Search:
    """The people found so far."""

    def __init__(self, sampling: Sampling, n_files: int, progress: Progress | None) -> None:
        self._sampling, self._progress = sampling, progress
        self._n_done, self._n_expected = 0, n_files
        self.pictures: list[PictureWithPeople] = []
        self.skipped: list[Skipped] = []

    def take(self, wanted: _Wanted, events: Events) -> None:
        """Take all that one file gives."""
        n_frames, n_before = 0, self._n_expected - 1
        for event in events:
            if isinstance(event, Ending):
                self._note(wanted.file, event.problem, n_frames)
                continue
            if wanted.file.is_video and not n_frames:
                self._n_expected = n_before + self._sampling.count(event.duration_s)
            n_frames += 1
            self.pictures.append(
                PictureWithPeople(
                    file=wanted.file,
                    place=wanted.place,
                    width=event.width,
                    height=event.height,
                    people=event.people,
                    frame=event.frame,
                    offset_s=event.offset_s,
                )
            )
            self._report()
        self._n_expected = n_before + max(n_frames, 1)
        if not n_frames:
            self._report()

    def _note(self, file: Frame, problem: str, n_frames: int) -> None:
        if problem:
            problem = problem.removeprefix(f"{file.path} ")
            what_is = f"; {n_frames} frames of it were read" if n_frames else ""
            self.skipped.append(Skipped(file.path, f"{problem}{what_is}"))

    def _report(self) -> None:
        self._n_done += 1
        if self._progress:
            self._progress(self._n_done, max(self._n_done, self._n_expected))


def embedding_rows(pictures: Sequence[PictureWithPeople], dim: int) -> Float32[np.ndarray, "P D"]:
    """Return all embeddings in the order in which the other functions list the people."""
    rows = [picture.people.embeddings for picture in pictures]
    return np.concatenate([np.zeros((0, dim), dtype=np.float32), *rows])


def as_json(pictures: Sequence[PictureWithPeople]) -> dict[str, Any]:
    """Return ``{"scenes": [{"scene", "width", "height", "people": [{"box", "score"}]}]}``.

    A frame of a video also has ``frame``, its number from 0, and ``offset_s``.
    """
    return {
        "scenes": [
            {
                "scene": picture.name,
                "width": picture.width,
                "height": picture.height,
                **_moment(picture),
                "people": [{"box": box, "score": score} for box, score in _rows(picture)],
            }
            for picture in pictures
        ]
    }


def as_csv(pictures: Sequence[PictureWithPeople]) -> str:
    """Write one line per person: ``scene,x1,y1,x2,y2,score``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scene", "x1", "y1", "x2", "y2", "score"])
    for picture in pictures:
        writer.writerows([picture.name, *box, score] for box, score in _rows(picture))
    return text.getvalue()


def as_coco(pictures: Sequence[PictureWithPeople]) -> dict[str, Any]:
    """Return COCO JSON; each person has a ``bbox`` (x, y, width, height) and a ``score``."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, picture in enumerate(pictures, start=1):
        images.append(
            {
                "id": image_id,
                "file_name": picture.name,
                "width": picture.width,
                "height": picture.height,
                **_moment(picture),
            }
        )
        for box, score in _rows(picture):
            annotations.append(coco_annotation(len(annotations) + 1, image_id, box, score=score))
    return {"images": images, "annotations": annotations, "categories": COCO_CATEGORIES}


def check_one_sequence(found: Found) -> None:
    """Refuse files that one file of MOTChallenge cannot tell apart.

    Raises:
        UsageError: The files are neither one video nor pictures alone.
    """
    n_videos = sum(file.is_video for file in found.frames)
    if n_videos and len(found.frames) > 1:
        raise UsageError(
            f"mot describes one video or one sequence of pictures, got {n_videos} videos and "
            f"{len(found.frames) - n_videos} pictures",
            hint="call it once for each video, or use --format json, csv or coco",
        )


def as_mot(pictures: Sequence[PictureWithPeople]) -> str:
    """Write MOTChallenge lines: ``frame,id,left,top,width,height,confidence,-1,-1,-1``.

    Each person is a line. Frames and pixels are counted from 1, and nobody is tracked: every id is
    -1. Pictures are the frames of a sequence, in their order; one that could not be read has no
    line.
    """
    lines = []
    for picture in pictures:
        frame = picture.frame if picture.file.is_video else picture.place
        lines += [mot_line(frame, NO_TRACK, box, score) for box, score in _rows(picture)]
    return "".join(lines)


def _moment(picture: PictureWithPeople) -> dict[str, Any]:
    if picture.offset_s is None:
        return {}
    return {"frame": picture.frame, "offset_s": picture.offset_s}


def _rows(picture: PictureWithPeople) -> list[tuple[list[float], float]]:
    """Return the box and score of each person, in tenths of a pixel and thousandths."""
    boxes = [[round(value, 1) for value in box] for box in picture.people.boxes.tolist()]
    scores = [round(score, 3) for score in picture.people.scores.tolist()]
    return list(zip(boxes, scores, strict=True))
