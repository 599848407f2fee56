"""Which detection shows which person: the rules that detection and search figures share.

Axes: N detections, M people of one scene.
"""

import numpy as np
from jaxtyping import Float, Int64

from fdps.boxes import iou

DETECTION_IOU = 0.5
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
    matches = np.full(len(boxes), -1, dtype=np.int64)
    if len(boxes) == 0 or len(people) == 0:
        return matches
    overlap = iou(boxes, people)
    chosen = overlap.argmax(axis=1)
    rows = np.arange(len(boxes))
    is_pair = (overlap.argmax(axis=0)[chosen] == rows) & (overlap[rows, chosen] >= min_iou)
    matches[is_pair] = chosen[is_pair]
    return matches


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
