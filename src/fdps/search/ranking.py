"""Exact nearest neighbours by inner product, in an order that does not depend on the machine.

Axes: N people, D embedding dimension, K results.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

UNIT_ROUNDOFF = 2.0**-24  # of float32


def nearest(
    embeddings: Float32[np.ndarray, "N D"],
    query: Float32[np.ndarray, " D"],
    top: int,
    allowed: Bool[np.ndarray, " N"] | None = None,
) -> tuple[Int64[np.ndarray, " K"], Float64[np.ndarray, " K"]]:
    """The rows most similar to a query.

    A float32 product over all rows, whose last bits depend on the BLAS at hand, only chooses
    candidates: rows within twice its error bound ``D * 2**-24`` of the last place. Their
    similarities are then computed in float64, row by row in a fixed order, and decide.

    Args:
        embeddings: Unit rows.
        query: Unit length.
        top: Results wanted, at least 1.
        allowed: Rows that may be returned; ``None`` for all.

    Returns:
        Row numbers and similarities, highest first, equal ones by row; K is ``top`` or the number
        of allowed rows, whichever is less.

    Example:
        >>> rows = np.array([[0, 1], [1, 0], [1, 0]], dtype=np.float32)
        >>> nearest(rows, np.array([1, 0], dtype=np.float32), 2)
        (array([1, 2]), array([1., 1.]))
    """
    rough = embeddings @ query
    rows = np.arange(len(rough)) if allowed is None else np.flatnonzero(allowed)
    if len(rows) > top:
        last = np.partition(rough[rows], len(rows) - top)[len(rows) - top]
        rows = rows[rough[rows] >= last - 2 * len(query) * UNIT_ROUNDOFF]
    exact = (embeddings[rows].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    order = np.lexsort((rows, -exact))[:top]
    return rows[order].astype(np.int64), exact[order]
