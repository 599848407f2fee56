"""Match detections to people, by the rules that detection and search figures share.

Axes: N detections, M people, of one scene or of many; S1 scenes and one more.
"""

import numpy as np
from jaxtyping import Float, Int64

from fdps.boxes import iou_of_pairs
from fdps.evaluation.ragged import best_of_groups, ranges

DETECTION_IOU = 0.5
_PAIRS = 2_000_000  # of detections and people that are compared at once
_MARGIN = 10  # pixels of slack per side length that the search rule grants to small people


def mutual_matches(
    boxes: Float[np.ndarray, "N 4"],
    people: Float[np.ndarray, "M 4"],
    *,
    min_iou: float = DETECTION_IOU,
) -> Int64[np.ndarray, " N"]:
    """Pair detections and people that choose each other.

    A pair counts if the person is the best overlap of the detection, the detection is the best
    overlap of the person (the first one on a tie), and they overlap enough. This is not the
    greedy matching by score of COCO: a second detection of a found person is always false.

    Source: the evaluation code of Xiao et al., "Joint detection and identification feature
    learning for person search", CVPR 2017, and its descendants.

    Args:
        boxes: Detections of one scene, in any order.
        people: Annotated people of the same scene.
        min_iou: Least overlap, in (0, 1].

    Returns:
        For each detection the row of its person, or -1. No person occurs twice.

    Example:
        >>> people = np.array([[0.0, 0, 10, 10]])
        >>> mutual_matches(np.array([[0.0, 0, 10, 6], [0, 0, 10, 9]]), people).tolist()
        [-1, 0]
    """
    starts, people_starts = (np.array([0, len(rows)]) for rows in (boxes, people))
    return mutual_matches_of_scenes(boxes, starts, people, people_starts, min_iou=min_iou)


def mutual_matches_of_scenes(
    boxes: Float[np.ndarray, "N 4"],
    starts: Int64[np.ndarray, " S1"],
    people: Float[np.ndarray, "M 4"],
    people_starts: Int64[np.ndarray, " S1"],
    *,
    min_iou: float = DETECTION_IOU,
) -> Int64[np.ndarray, " N"]:
    """:func:`mutual_matches` of many scenes at once.

    Args:
        boxes: Detections, scene after scene.
        starts: Where the detections of each scene begin; the last entry is N.
        people: Annotated people, scene after scene.
        people_starts: Where the people of each scene begin; the last entry is M.
        min_iou: Least overlap, in (0, 1].

    Returns:
        For each detection the row of its person, or -1. No person occurs twice.
    """
    matches = np.full(len(boxes), -1, dtype=np.int64)
    n_pairs = np.cumsum(np.diff(starts) * np.diff(people_starts))
    first = 0
    while first < len(n_pairs):  # scenes whose pairs fit into memory together
        before = n_pairs[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(n_pairs, before + _PAIRS, side="right")))
        rows, chosen, overlap = _mutual(
            boxes, starts[first : last + 1], people, people_starts[first : last + 1]
        )
        enough = overlap >= min_iou
        matches[rows[enough]] = chosen[enough]
        first = last
    return matches


def _mutual(
    boxes: np.ndarray, starts: np.ndarray, people: np.ndarray, people_starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Detections and people that choose each other, with their overlap."""
    n_people = np.repeat(np.diff(people_starts), np.diff(starts))
    detections = np.repeat(np.arange(starts[0], starts[-1]), n_people)
    persons = ranges(np.repeat(people_starts[:-1], np.diff(starts)), n_people)
    overlap = iou_of_pairs(boxes[detections], people[persons])
    of_detection = best_of_groups(detections, overlap, -persons)
    of_person = best_of_groups(persons, overlap, -detections)
    both = np.intersect1d(of_detection, of_person, assume_unique=True)
    return detections[both], persons[both], overlap[both]


def search_iou(people: Float[np.ndarray, "M 4"]) -> Float[np.ndarray, " M"]:
    r"""Overlap that a search hit needs with each person.

    .. math:: \min\Bigl(0.5, \frac{w h}{(w + 10)(h + 10)}\Bigr)

    Source: as :func:`mutual_matches`. A box of 13×36 pixels that is off by a few pixels still
    counts; from about 24×24 on the threshold is 0.5.

    Args:
        people: Annotated people, with ``w`` and ``h`` in pixels of the picture as it is annotated.

    Returns:
        Values in (0, 0.5].

    Example:
        >>> search_iou(np.array([[0.0, 0, 10, 20], [0, 0, 100, 200]])).round(3).tolist()
        [0.333, 0.5]
    """
    width, height = (people[:, 2:] - people[:, :2]).astype(np.float64).T
    relaxed = width * height / ((width + _MARGIN) * (height + _MARGIN))
    return np.asarray(np.minimum(DETECTION_IOU, relaxed))
