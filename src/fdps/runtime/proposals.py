"""Proposals and detections in NumPy: what lies between the graphs of an exported network.

These are the rules of :mod:`fdps.models.rpn` and :mod:`fdps.models.roi_heads`, which stay the
reference: parity is measured against them.

Axes: A anchors per position, R anchors or regions, N boxes that are left.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from fdps.boxes import iou
from fdps.structures import Boxes

ANCHOR_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
REGION_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # scales of dx, dy, dw, dh, as in all of the family
LEAST_PROPOSAL_PX, LEAST_BOX_PX = 1e-3, 1.0
MAX_LOG_SCALE = math.log(1000.0 / 16)
_COMPARED = 64  # boxes that are compared with each other at once

Size = tuple[int, int]
"""Height and width in pixels."""
Rows = Float32[np.ndarray, " R"]


class Suppression(NamedTuple):
    """Which boxes of a picture are left.

    Args:
        min_score: Least score.
        max_iou: A box that overlaps a better one by more is dropped.
        most: Number of boxes that are left at most.
    """

    min_score: float
    max_iou: float
    most: int


def grid_anchors(
    cells: Float32[np.ndarray, "A 4"], grid: Size, padded: Size
) -> Float32[np.ndarray, "R 4"]:
    """Repeat the anchors of one position over a map: rows, then columns, then anchors.

    Args:
        cells: Anchors around the origin.
        grid: Rows and columns of the map.
        padded: Height and width of the picture that the map covers.
    """
    y, x = (np.arange(n) * (pixels // n) for n, pixels in zip(grid, padded, strict=True))
    corners = np.stack([*np.meshgrid(x, y)] * 2, axis=-1).astype(np.float32)
    return np.asarray((corners.reshape(-1, 1, 4) + cells).reshape(-1, 4))


def decode(
    deltas: Float32[np.ndarray, "R 4"],
    references: Float32[np.ndarray, "R 4"],
    weights: tuple[float, float, float, float],
) -> Float32[np.ndarray, "R 4"]:
    """Move reference boxes by ``dx dy dw dh``, as :func:`fdps.models.box_coder.decode` does."""
    d = deltas / np.array(weights, dtype=np.float32)
    size = references[:, 2:] - references[:, :2]
    centre = (references[:, :2] + references[:, 2:]) / 2 + d[:, :2] * size
    half = np.exp(np.minimum(d[:, 2:], np.float32(MAX_LOG_SCALE))) * size / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def propose(
    logits: Rows,
    deltas: Float32[np.ndarray, "R 4"],
    anchors: Float32[np.ndarray, "R 4"],
    size: Size,
    *,
    before: int,
    rules: Suppression,
) -> Float32[np.ndarray, "N 4"]:
    """Decode the best anchors and keep the best boxes that differ, best first.

    Args:
        logits: That an anchor shows a person, before the sigmoid.
        deltas: From anchor to box.
        anchors: In pixels of the resized picture.
        size: Height and width of that picture.
        before: Number of anchors that are decoded at most.
        rules: Which proposals are left.
    """
    score = rules.min_score
    least = math.log(score / (1 - score)) if score > 0 else -math.inf
    rows = np.flatnonzero(logits >= least)  # a logit that is not a number is in no order
    if len(rows) > before:
        rows = rows[np.argpartition(-logits[rows], before)[:before]]
    boxes = clipped(decode(deltas[rows], anchors[rows], ANCHOR_WEIGHTS), size)
    good = ((boxes[:, 2:] - boxes[:, :2]) >= LEAST_PROPOSAL_PX).all(axis=1)
    boxes, logits = boxes[good], logits[rows][good]
    kept = suppress(boxes, logits, max_iou=rules.max_iou, most=rules.most)
    return np.asarray(boxes[kept])


def select(
    boxes: Float32[np.ndarray, "R 4"], scores: Rows, size: Size, rules: Suppression
) -> Int64[np.ndarray, " N"]:
    """Drop weak and tiny boxes, which are clipped already, and suppress overlaps.

    Returns:
        Rows of those that are left, best first.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    rows = np.flatnonzero((scores >= rules.min_score) & (sides >= LEAST_BOX_PX).all(axis=1))
    kept = suppress(boxes[rows], scores[rows], max_iou=rules.max_iou, most=rules.most)
    return np.asarray(rows[kept], dtype=np.int64)


def clipped(boxes: Boxes, size: Size) -> Boxes:
    """Clip boxes to the height and width of a picture; some may lose all their area."""
    height, width = size
    limits = np.array([width, height, width, height], dtype=np.float32)
    return np.asarray(np.clip(boxes, 0, limits))


def suppress(
    boxes: Float32[np.ndarray, "R 4"], ranks: Rows, *, max_iou: float, most: int
) -> Int64[np.ndarray, " N"]:
    """Suppress overlaps greedily: the box of the highest rank stays, until there are enough.

    Candidates are taken in small lots, so that a picture full of proposals needs no table of all
    pairs.

    Returns:
        Rows of the boxes that are left, best first.

    Example:
        >>> boxes = np.array([[0, 0, 9, 9], [0, 0, 10, 10], [20, 0, 30, 10]], dtype=np.float32)
        >>> ranks = np.array([0.5, 0.9, 0.7], dtype=np.float32)
        >>> suppress(boxes, ranks, max_iou=0.5, most=9).tolist()
        [1, 2]
    """
    order = np.argsort(-ranks, kind="stable")
    kept = np.zeros(0, dtype=np.int64)
    for start in range(0, len(order), _COMPARED):
        lot = order[start : start + _COMPARED]
        if len(kept):
            lot = lot[(iou(boxes[lot], boxes[kept]) <= max_iou).all(axis=1)]
        overlaps = iou(boxes[lot], boxes[lot]) > max_iou
        alive = np.ones(len(lot), dtype=np.bool_)
        for rank in range(len(lot)):
            if alive[rank]:
                alive[rank + 1 :] &= ~overlaps[rank, rank + 1 :]
        kept = np.concatenate([kept, lot[alive]])
        if len(kept) >= most:
            break
    return kept[:most]
