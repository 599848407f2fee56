"""Which scenes are searched for which query, and which of them show the person.

Axes: K scenes of a gallery, P sightings of a person, E detections.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64

from fdps.boxes import iou
from fdps.errors import AnnotationError, UsageError
from fdps.evaluation.grouping import Found
from fdps.evaluation.matching import search_iou
from fdps.structures import SceneSet

PROTOCOLS = ("reference",)


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What may be chosen when predictions are scored.

    Args:
        protocol: ``reference``: the rules of the public evaluation code, which
            docs/concepts/protocol.md lists.
        gallery: Number of scenes searched per query, drawn with ``seed``: every scene that shows
            the person, then others. ``all``: every scene but the query's own. Where a data set
            brings its own gallery lists, those are searched.
        seed: Of the drawn galleries.
        min_frame_gap: Scenes of the query's camera within so many frame numbers of it are
            ignored, neither right nor wrong; 0 ignores none.
        weight_by_score: Multiply each similarity by the detector score of the gallery person
            (confidence-weighted similarity, CWS).
        score_threshold: Detections below it do not exist.
    """

    protocol: str = "reference"
    gallery: int | Literal["all"] = "all"
    seed: int = 0
    min_frame_gap: int = 0
    weight_by_score: bool = False
    score_threshold: float = 0.5

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            UsageError: A value is unknown or out of range; the message names it.
        """
        if self.protocol not in PROTOCOLS:
            raise UsageError(
                f"unknown protocol {self.protocol!r}", hint=f"known: {', '.join(PROTOCOLS)}"
            )
        if self.gallery != "all" and self.gallery < 1:
            raise UsageError(f"gallery must be 'all' or at least 1 scene, got {self.gallery}")
        if self.min_frame_gap < 0:
            raise UsageError(f"min_frame_gap must be at least 0, got {self.min_frame_gap}")
        if not 0 <= self.score_threshold <= 1:
            raise UsageError(f"score_threshold must be in [0, 1], got {self.score_threshold}")


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Where one person is annotated, and which detections show them there.

    Args:
        scenes: Rows of the scenes that show the person, rising.
        detections: Detections that overlap the person enough, scene by scene.
        detection_scenes: Scene row of each of those.
    """

    scenes: Int64[np.ndarray, " P"]
    detections: Int64[np.ndarray, " E"]
    detection_scenes: Int64[np.ndarray, " E"]


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """What is searched for one query.

    Args:
        query: Row of the query.
        scenes: Distinct rows of the scenes searched, in protocol order.
        n_entries: Entries before any was ignored; a repeated one counts again.
        n_relevant: Entries that show the person; a repeated one counts again. May be 0.
    """

    query: int
    scenes: Int64[np.ndarray, " K"]
    n_entries: int
    n_relevant: int


def find_sightings(found: Found, scenes: SceneSet) -> dict[int, Sightings]:
    """Find every queried person in the annotations and in the detections.

    Where a scene shows a person twice the first box counts, as in the public code.
    """
    boxes_of: dict[int, dict[int, np.ndarray]] = {query.person_id: {} for query in scenes.queries}
    for row, scene in enumerate(scenes.scenes):
        for person_id, box in zip(scene.person_ids.tolist(), scene.boxes, strict=True):
            if person_id in boxes_of:
                boxes_of[person_id].setdefault(row, box)
    return {person_id: _sightings(found, boxes) for person_id, boxes in boxes_of.items()}


def _sightings(found: Found, boxes: dict[int, np.ndarray]) -> Sightings:
    rows = np.array(list(boxes), dtype=np.int64)
    people = np.array(list(boxes.values()), dtype=np.float32).reshape(-1, 4)
    nearby = found.of_many(rows)
    person = np.searchsorted(rows, found.scenes[nearby])
    overlap = iou(found.boxes[nearby], people)[np.arange(len(nearby)), person]
    shows = overlap >= search_iou(people)[person]
    return Sightings(rows, nearby[shows], found.scenes[nearby][shows])


def draw_galleries(
    scenes: SceneSet, sightings: dict[int, Sightings], options: EvaluationOptions
) -> Iterator[Gallery]:
    """Give the gallery of every query, in the order of the queries.

    Raises:
        UsageError: A frame gap is asked for and a scene lacks its camera or frame number, or a
            gallery size is asked for that the lists of the data set do not have.
        AnnotationError: A query names a scene that is not in the set.
    """
    row_of = {scene.name: row for row, scene in enumerate(scenes.scenes)}
    clock = _Clock(scenes) if options.min_frame_gap else None
    for index, query in enumerate(scenes.queries):
        own = _row(row_of, query.scene, index)
        if query.gallery is None:
            entries = np.delete(np.arange(len(scenes)), own)
        else:
            entries = np.array([_row(row_of, name, index) for name in query.gallery], np.int64)
            _check_list_length(len(entries), options, index)
        n_entries = len(entries)
        if clock is not None:
            entries = entries[~clock.is_near(own, options.min_frame_gap)[entries]]
        shows = np.isin(entries, sightings[query.person_id].scenes)
        if query.gallery is None and options.gallery != "all":
            rng = np.random.default_rng([options.seed, index])
            entries, shows = _draw(entries, shows, options.gallery, rng)
            n_entries = min(n_entries, options.gallery)
        _, first = np.unique(entries, return_index=True)
        yield Gallery(index, entries[np.sort(first)], n_entries, int(shows.sum()))


def _draw(
    entries: np.ndarray, shows: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """All entries that show the person, and others at random until there are ``size``."""
    others = np.flatnonzero(~shows)
    wanted = max(0, min(len(others), size - int(shows.sum())))
    chosen = shows.copy()
    chosen[rng.permutation(others)[:wanted]] = True
    return entries[chosen], shows[chosen]


def _row(row_of: dict[str, int], name: str, query: int) -> int:
    if name not in row_of:
        raise AnnotationError(f"query {query} names scene {name!r}, which is not in the set")
    return row_of[name]


def _check_list_length(n_entries: int, options: EvaluationOptions, query: int) -> None:
    if options.gallery not in ("all", n_entries):
        raise UsageError(
            f"gallery={options.gallery} was asked for, but the data set lists {n_entries} scenes "
            f"for query {query}",
            hint="use gallery 'all' to search the lists of the data set",
        )


class _Clock:
    """Cameras and frame numbers of a scene set."""

    def __init__(self, scenes: SceneSet) -> None:
        for scene in scenes.scenes:
            if scene.camera is None or scene.frame is None:
                raise UsageError(
                    f"min_frame_gap needs the camera and frame number of every scene; "
                    f"{scene.name!r} of {scenes.name} has none",
                    hint="evaluate without a frame gap",
                )
        self.cameras = np.array([scene.camera for scene in scenes.scenes])
        self.frames = np.array([scene.frame for scene in scenes.scenes], dtype=np.int64)

    def is_near(self, scene: int, gap: int) -> np.ndarray:
        """Which scenes the same camera took within ``gap`` frame numbers, the scene included."""
        apart = np.abs(self.frames - self.frames[scene])
        return np.asarray((self.cameras == self.cameras[scene]) & (apart <= gap))
