"""The regression code of boxes in Faster R-CNN: pure functions of tensors.

Axes: N boxes; a box is ``x1 y1 x2 y2`` in pixels.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

MAX_LOG_SCALE = math.log(1000.0 / 16)  # a 16-pixel anchor never decodes to more than 1000 pixels


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
