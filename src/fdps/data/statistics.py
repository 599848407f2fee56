"""Count what is in a scene set, and what was published about the set it should be."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fdps.structures import UNLABELLED, SceneSet

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "cuhk_sysu": {
        "train": {"images": 11206, "boxes": 55272, "identities": 5532},
        "test": {"images": 6978, "boxes": 40871, "identities": 2900, "queries": 2900},
    },
    "prw": {
        "train": {
            "images": 5704,
            "boxes": 18048,
            "identities": 483,
            "labelled": 14907,
            "unlabelled": 3141,
        },
        "test": {
            "images": 6112,
            "boxes": 25062,
            "identities": 544,
            "labelled": 19127,
            "unlabelled": 5935,
            "queries": 2057,
        },
    },
    "wildtrack": {"train": {"images": 2520}, "test": {"images": 280}},
}
"""Counts of known data sets, by kind, split and field of :class:`Statistics`.

Counts of CUHK-SYSU are those that its public loaders print, of PRW those counted in the files that
AlignPS distributes, and of WILDTRACK those of its paper.
"""


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, median, mean and largest of some numbers; all 0 if there are none."""

    low: float
    median: float
    mean: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread":
        """Summarise numbers.

        Example:
            >>> Spread.of(np.array([1.0, 2.0, 6.0]))
            Spread(low=1.0, median=2.0, mean=3.0, high=6.0)
        """
        if values.size == 0:
            return cls(0.0, 0.0, 0.0, 0.0)
        numbers = (values.min(), np.median(values), values.mean(), values.max())
        return cls(*(float(number) for number in numbers))


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of one scene set.

    Args:
        images: Number of scenes.
        boxes: Number of people, counted once per picture.
        identities: Number of distinct labelled people.
        labelled: Number of boxes with identity.
        unlabelled: Number of boxes without identity.
        queries: Number of people to look for.
        cameras: Number of distinct cameras; 0 where the set does not tell.
        boxes_per_image: Spread of the number of people in a scene.
        heights: Spread of the heights of the boxes, in pixels.
        boxes_per_identity: Spread of the number of boxes of a labelled person.
    """

    images: int
    boxes: int
    identities: int
    labelled: int
    unlabelled: int
    queries: int
    cameras: int
    boxes_per_image: Spread
    heights: Spread
    boxes_per_identity: Spread


def count(scenes: SceneSet) -> Statistics:
    """Count a scene set."""
    ids = all_ids(scenes)
    labelled = ids[ids != UNLABELLED]
    return Statistics(
        images=len(scenes),
        boxes=len(ids),
        identities=len(np.unique(labelled)),
        labelled=len(labelled),
        unlabelled=len(ids) - len(labelled),
        queries=len(scenes.queries),
        cameras=len({scene.camera for scene in scenes.scenes if scene.camera is not None}),
        boxes_per_image=Spread.of(boxes_per_image(scenes)),
        heights=Spread.of(heights(scenes)),
        boxes_per_identity=Spread.of(boxes_per_identity(scenes)),
    )


def all_ids(scenes: SceneSet) -> np.ndarray:
    """Return the identity of every box."""
    return np.concatenate([np.zeros(0, np.int64), *(scene.person_ids for scene in scenes.scenes)])


def boxes_per_image(scenes: SceneSet) -> np.ndarray:
    """Return the number of people in each scene."""
    return np.array([len(scene.boxes) for scene in scenes.scenes], dtype=np.int64)


def heights(scenes: SceneSet) -> np.ndarray:
    """Return the height of every box, in pixels."""
    return np.concatenate(
        [np.zeros(0, np.float32), *(s.boxes[:, 3] - s.boxes[:, 1] for s in scenes.scenes)]
    )


def boxes_per_identity(scenes: SceneSet) -> np.ndarray:
    """Return the number of boxes of each labelled person."""
    ids = all_ids(scenes)
    return np.unique(ids[ids != UNLABELLED], return_counts=True)[1]
