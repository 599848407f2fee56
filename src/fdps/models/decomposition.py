"""Decompose the feature map of a region into marginal and global descriptors.

Axes: R regions in the batch, C channels, H rows (top to bottom), W columns (left to right).
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Marginals(NamedTuple):
    """Descriptors of one batch of regions, each named by the axis that survives."""

    rows: Float[Tensor, "R C H"]
    cols: Float[Tensor, "R C W"]
    mean: Float[Tensor, "R C"]
    peak: Float[Tensor, "R C"]


def decompose(features: Float[Tensor, "R C H W"]) -> Marginals:
    r"""Average and maximise a region feature map over its spatial axes.

    With :math:`F_c(x, y)` the response of channel :math:`c` at column :math:`x`, row :math:`y`:

    .. math::
        \mathrm{rows}_c(y) = \tfrac{1}{W} \sum_x F_c(x, y), \quad
        \mathrm{cols}_c(x) = \tfrac{1}{H} \sum_y F_c(x, y), \quad
        \mathrm{mean}_c = \tfrac{1}{HW} \sum_{x,y} F_c(x, y), \quad
        \mathrm{peak}_c = \max_{x,y} F_c(x, y)

    Source: FDPS, Eq. 2 (rows), 3 (cols), 5 (mean) and 4 (peak). The rows keep the vertical order
    of a person and serve the vertical box deltas; the columns serve the horizontal ones; the mean
    serves person/background and the peak re-ID. Nothing here has parameters, and nothing is
    normalised: unit length is the embedding's business.

    Args:
        features: Region-aligned map, any float dtype, unbounded values.

    Returns:
        The four descriptors, on the device and in the dtype of ``features``.

    Raises:
        ValueError: If ``H`` or ``W`` is zero. ``R`` may be zero: no region, no descriptor.

    Example:
        >>> import torch
        >>> m = decompose(torch.arange(6.0).reshape(1, 1, 2, 3))
        >>> m.rows.tolist(), m.cols.tolist()
        ([[[1.0, 4.0]]], [[[1.5, 2.5, 3.5]]])
        >>> m.mean.item(), m.peak.item()
        (2.5, 5.0)
    """
    H, W = features.shape[-2:]
    if H == 0 or W == 0:
        raise ValueError(f"features must have a non-empty spatial grid, got H={H}, W={W}")
    rows = features.mean(dim=3)
    return Marginals(
        rows=rows,
        cols=features.mean(dim=2),
        mean=rows.mean(dim=2),  # the mean of equally long rows: no second pass over the map
        peak=features.amax(dim=(2, 3)),
    )
