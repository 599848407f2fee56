"""The annotations of a scene set as flat arrays, and where each person is.

Axes: M annotated people of all scenes, S scenes, P sightings of the people who are looked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from fdps.structures import Query, SceneSet, empty_boxes


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """Everybody who is annotated, scene after scene.

    Args:
        boxes: In pixels of their scene.
        person_ids: Identity, or :data:`~fdps.structures.UNLABELLED`.
        scenes: Row of the scene of each, never falling.
        starts: Where each scene begins; one entry more than scenes.
    """

    boxes: Float32[np.ndarray, "M 4"]
    person_ids: Int64[np.ndarray, " M"]
    scenes: Int64[np.ndarray, " M"]
    starts: Int64[np.ndarray, " S1"]


@dataclass(frozen=True, slots=True, eq=False)
class QueryAnnotations:
    """The annotations of the people who are looked for, person after person.

    Args:
        boxes: In pixels of their scene.
        scenes: Row of the scene of each, never falling within a person.
        is_first: Whether the annotation is the first one of that person in that scene.
        starts: First annotation of the person of each query.
        counts: Annotations of the person of each query.
    """

    boxes: Float32[np.ndarray, "P 4"]
    scenes: Int64[np.ndarray, " P"]
    is_first: Bool[np.ndarray, " P"]
    starts: Int64[np.ndarray, " Q"]
    counts: Int64[np.ndarray, " Q"]


def flatten(scenes: SceneSet) -> Annotated:
    """Put the annotations of all scenes behind each other."""
    counts = [len(scene.boxes) for scene in scenes.scenes]
    nobody = np.zeros(0, dtype=np.int64)
    return Annotated(
        boxes=np.concatenate([empty_boxes(), *(scene.boxes for scene in scenes.scenes)]),
        person_ids=np.concatenate([nobody, *(scene.person_ids for scene in scenes.scenes)]),
        scenes=np.repeat(np.arange(len(counts)), counts).astype(np.int64),
        starts=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
    )


def annotations_of_queries(annotated: Annotated, queries: Sequence[Query]) -> QueryAnnotations:
    """Find the person of every query among the annotations."""
    wanted = np.array([query.person_id for query in queries], dtype=np.int64)
    sought = np.flatnonzero(np.isin(annotated.person_ids, wanted))
    rows = sought[np.argsort(annotated.person_ids[sought], kind="stable")]
    person_ids, scenes = annotated.person_ids[rows], annotated.scenes[rows]
    is_first = np.ones(len(rows), dtype=np.bool_)
    is_first[1:] = (np.diff(person_ids) != 0) | (np.diff(scenes) != 0)
    starts = np.searchsorted(person_ids, wanted, side="left")
    ends = np.searchsorted(person_ids, wanted, side="right")
    return QueryAnnotations(
        boxes=annotated.boxes[rows],
        scenes=scenes,
        is_first=is_first,
        starts=starts.astype(np.int64),
        counts=(ends - starts).astype(np.int64),
    )
