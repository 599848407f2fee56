"""Boxes: validity, overlap, and the regression code of Faster R-CNN. Pure functions.

Axes: N and M boxes; a box is ``x1 y1 x2 y2`` in pixels. Areas follow no "+1" convention.
NumPy functions serve annotations and evaluation, torch functions the network.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

MAX_LOG_SCALE = math.log(1000.0 / 16)  # a 16-pixel anchor never decodes to more than 1000 pixels


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
    """Whether each box is finite and has a positive width and height.

    Example:
        >>> is_valid(np.array([[0.0, 0, 1, 1], [3, 0, 3, 1], [0, 0, np.nan, 1]])).tolist()
        [True, False, False]
    """
    ordered = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return np.asarray(np.isfinite(boxes).all(axis=1) & ordered)


def encode(
    boxes: Float[Tensor, "N 4"],
    references: Float[Tensor, "N 4"],
    weights: tuple[float, float, float, float],
) -> Float[Tensor, "N 4"]:
    r"""Express boxes relative to reference boxes: the regression target.

    .. math:: (d_x, d_y, d_w, d_h) =
        \bigl(w_x \tfrac{c_x - r_x}{r_w}, w_y \tfrac{c_y - r_y}{r_h},
        w_w \ln\tfrac{b_w}{r_w}, w_h \ln\tfrac{b_h}{r_h}\bigr)

    Source: Faster R-CNN, section 3.1.2, with the weights of public implementations.

    Args:
        boxes: Valid boxes.
        references: Valid boxes, for example proposals.
        weights: Factors of dx, dy, dw, dh.

    Returns:
        ``dx dy dw dh`` per box; zeros where box and reference agree.
    """
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    ref_centre = (references[:, :2] + references[:, 2:]) / 2
    ref_size = references[:, 2:] - references[:, :2]
    deltas = torch.cat([(centre - ref_centre) / ref_size, torch.log(size / ref_size)], dim=1)
    return deltas * deltas.new_tensor(weights)


def decode(
    deltas: Float[Tensor, "N 4"],
    references: Float[Tensor, "N 4"],
    weights: tuple[float, float, float, float],
) -> Float[Tensor, "N 4"]:
    """Inverse of :func:`encode`; the scale of a box is capped at 1000/16 of its reference."""
    d = deltas / deltas.new_tensor(weights)
    ref_centre = (references[:, :2] + references[:, 2:]) / 2
    ref_size = references[:, 2:] - references[:, :2]
    centre = ref_centre + d[:, :2] * ref_size
    half = torch.exp(d[:, 2:].clamp(max=MAX_LOG_SCALE)) * ref_size / 2
    return torch.cat([centre - half, centre + half], dim=1)
