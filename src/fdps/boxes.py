"""Boxes: validity and overlap. Pure functions of NumPy arrays; torch is not loaded.

Axes: N and M boxes; a box is ``x1 y1 x2 y2`` in pixels. Areas follow no "+1" convention.
The network's own code of boxes is in :mod:`fdps.models.box_coder`.
"""

import numpy as np
from jaxtyping import Bool, Float


def iou(boxes: Float[np.ndarray, "N 4"], others: Float[np.ndarray, "M 4"]) -> np.ndarray:
    """Intersection over union of every pair, in float64.

    Args:
        boxes: First set, valid boxes.
        others: Second set, valid boxes.

    Returns:
        Shape (N, M), in [0, 1].

    Example:
        >>> iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])).round(3)
        array([[0.333, 0.   ]])
    """
    a, b = boxes.astype(np.float64), others.astype(np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.maximum(high - low, 0.0), axis=2)
    area_a = np.prod(a[:, 2:] - a[:, :2], axis=1)
    area_b = np.prod(b[:, 2:] - b[:, :2], axis=1)
    return np.asarray(intersection / (area_a[:, None] + area_b[None, :] - intersection))


def iou_of_pairs(
    boxes: Float[np.ndarray, "N 4"], others: Float[np.ndarray, "N 4"]
) -> Float[np.ndarray, " N"]:
    """Intersection over union row by row, in float64; the same numbers as :func:`iou`.

    Example:
        >>> iou_of_pairs(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2]])).round(3)
        array([0.333])
    """
    a, b = boxes.astype(np.float64).T, others.astype(np.float64).T
    width = np.maximum(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), 0.0)
    height = np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0.0)
    intersection = width * height
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return np.asarray(intersection / (area_a + area_b - intersection))


def clip(boxes: Float[np.ndarray, "N 4"], width: int, height: int) -> np.ndarray:
    """Cut boxes at the border of a picture; a box outside it becomes empty.

    Example:
        >>> clip(np.array([[-5.0, 3, 20, 9]]), 10, 8).tolist()
        [[0.0, 3.0, 10.0, 8.0]]
    """
    limit = np.array([width, height, width, height], dtype=boxes.dtype)
    return np.asarray(np.clip(boxes, 0, limit))


def is_valid(boxes: Float[np.ndarray, "N 4"]) -> Bool[np.ndarray, " N"]:
    """Return for each box whether it is finite and has a positive width and height.

    Example:
        >>> is_valid(np.array([[0.0, 0, 1, 1], [3, 0, 3, 1], [0, 0, np.nan, 1]])).tolist()
        [True, False, False]
    """
    ordered = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return np.asarray(np.isfinite(boxes).all(axis=1) & ordered)
