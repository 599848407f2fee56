"""k-reciprocal re-ranking: hits whose neighbours are the query's neighbours come first.

Source: Zhong et al., "Re-ranking person re-identification with k-reciprocal encoding", CVPR 2017.
Here it puts the best hits of each query in a new order and leaves the others where they are:
the distances between all pairs of a whole gallery would not fit into memory.

Axes: B queries of a block, N detections of the set, D embedding dimension, H hits and the query.
"""

import numpy as np
from jaxtyping import Float, Float32, Float64

from fdps.evaluation.protocols import RerankOptions
from fdps.evaluation.ranking import best_columns, rank_table
from fdps.evaluation.table import Table


def k_reciprocal_distance(
    similarity: Float[np.ndarray, "H H"], options: RerankOptions
) -> Float64[np.ndarray, " H"]:
    r"""Distance of the first item to every item, by their neighbourhoods.

    With distance :math:`d = 1 - \text{similarity}` and :math:`R(p, k)` the items that are among
    the k nearest of p and have p among their own k nearest, the neighbourhood of p is
    :math:`R(p, k_1)`, joined with every :math:`R(q, k_1 / 2)` of a member q of which at least two
    thirds lie in :math:`R(p, k_1)`. Members have the weight :math:`e^{-d}`, normalised to a sum
    of 1, averaged over the :math:`k_2` nearest of p. The result is
    :math:`(1 - \lambda) d_J + \lambda d` with the Jaccard distance :math:`d_J` of the weights.

    Args:
        similarity: Similarity of all pairs; row and column 0 are the query.
        options: ``neighbours`` :math:`k_1`, ``averaged`` :math:`k_2`, ``weight``
            :math:`\lambda`.

    Returns:
        Lower is more alike; entry 0 is the query itself.
    """
    distance = 1.0 - similarity.astype(np.float64)
    np.fill_diagonal(distance, -1.0)  # everybody is the nearest of himself, before any double
    order = np.argsort(distance, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(order))[None], axis=1)
    np.fill_diagonal(distance, 0.0)
    wide = _reciprocal(rank, options.neighbours)
    narrow = _reciprocal(rank, max(1, round(options.neighbours / 2)))
    shared = wide.astype(np.float64) @ narrow.T.astype(np.float64)
    joins = wide & (3 * shared >= 2 * narrow.sum(axis=1))
    members = wide | (joins.astype(np.float64) @ narrow.astype(np.float64) > 0)
    weights = np.where(members, np.exp(-distance), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    nearest = rank < options.averaged
    weights = nearest @ weights / nearest.sum(axis=1, keepdims=True)
    common = np.minimum(weights[0], weights).sum(axis=1)
    jaccard = 1.0 - common / (2.0 - common)  # both sum to 1, so the maxima sum to 2 - common
    return np.asarray((1 - options.weight) * jaccard + options.weight * distance[0])


def _reciprocal(rank: np.ndarray, k: int) -> np.ndarray:
    """Mark who is among the k nearest of whom, both ways; all are neighbours of themselves."""
    is_near = rank <= k  # rank 0 is the item itself
    return np.asarray(is_near & is_near.T)


def reorder(
    table: Table,
    wanted: Float[np.ndarray, "B D"],
    embeddings: Float64[np.ndarray, "N D"],
    options: RerankOptions,
) -> Float32[np.ndarray, "B W"]:
    """Similarities of a block, with those of the best hits dealt out anew by their distance.

    The nearest hit gets the highest of the similarities that the shortlist had, and so on, so
    that the values keep their meaning and the shortlist stays ahead of all others.
    """
    similarity = table.similarity.copy()
    rows, _, columns = best_columns(rank_table(table.similarity), options.shortlist)
    ends = np.searchsorted(rows, np.arange(len(wanted)), side="right")
    begins = np.searchsorted(rows, np.arange(len(wanted)), side="left")
    for row, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        hits = columns[begin:end]
        if len(hits) == 0:
            continue
        detections = table.detections(rows[begin:end], hits)
        items = np.concatenate([wanted[row : row + 1].astype(np.float64), embeddings[detections]])
        distance = k_reciprocal_distance(items @ items.T, options)[1:]
        nearest_first = np.argsort(distance, kind="stable")  # of equal ones the better hit
        similarity[row, hits[nearest_first]] = table.similarity[row, hits]
    return similarity
