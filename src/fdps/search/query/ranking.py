"""Exact nearest neighbours by inner product, in an order that does not depend on the machine.

Axes: N people, B people of one block, D embedding dimension, Q queries, K results.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fdps.search.store import UNIT_TOLERANCE

UNIT_ROUNDOFF = 2.0**-24  # unit roundoff of float32
QUERIES_PER_PASS = 64  # their products with a block stay in the processor's cache
ROWS_AT_ONCE = 4096  # rows in float64: 8 MB at D = 256
SPARSE = 0.25  # share of the rows; where fewer are allowed, copying them out is faster


class Best(NamedTuple):
    """The best rows for one query: highest similarity first, equal ones by row."""

    rows: Int64[np.ndarray, " K"]
    similarities: Float64[np.ndarray, " K"]


def nearest(
    blocks: Sequence[Float32[np.ndarray, "_ D"]],
    queries: Float32[np.ndarray, "Q D"],
    top: int,
    allowed: Bool[np.ndarray, " N"] | None = None,
) -> list[Best]:
    """Find the rows most similar to each query, highest first, equal ones by row.

    The matrix is read once for up to 64 queries. A float32 product, whose last bits depend on the
    BLAS at hand, only tells which rows cannot be among the best: those that miss the last place by
    more than its error bound. Similarities of the others are computed in float64, row by row in a
    fixed order, and decide.

    Args:
        blocks: Rows of unit length; row numbers count through all blocks.
        queries: Rows of unit length.
        top: Number of results wanted, at least 1.
        allowed: Rows that may be returned; ``None`` for all.

    Returns:
        One entry per query; K is ``top`` or the number of allowed rows, whichever is less.

    Example:
        >>> blocks = [np.array([[0, 1], [1, 0]], dtype=np.float32), np.eye(1, 2, dtype=np.float32)]
        >>> (best,) = nearest(blocks, np.array([[1, 0]], dtype=np.float32), 2)
        >>> best.rows, best.similarities
        (array([1, 2]), array([1., 1.]))
    """
    found: list[Best] = []
    for start in range(0, len(queries), QUERIES_PER_PASS):
        found += _one_pass(blocks, queries[start : start + QUERIES_PER_PASS], top, allowed)
    return found


def nearest_and_counts(
    blocks: Sequence[Float32[np.ndarray, "_ D"]],
    queries: Float32[np.ndarray, "Q D"],
    top: int,
    n_bins: int,
    allowed: Bool[np.ndarray, " N"] | None = None,
) -> tuple[list[Best], Int64[np.ndarray, "Q _"]]:
    """Do what :func:`nearest` and :func:`similarity_counts` do, by one product of matrices.

    Reading the matrix is most of the work of either.
    """
    counts = np.zeros((len(queries), n_bins), dtype=np.int64)
    found: list[Best] = []
    for start in range(0, len(queries), QUERIES_PER_PASS):
        part = slice(start, start + QUERIES_PER_PASS)
        found += _one_pass(blocks, queries[part], top, allowed, counts[part])
    return found, counts


def similarity_counts(
    blocks: Sequence[Float32[np.ndarray, "_ D"]],
    queries: Float32[np.ndarray, "Q D"],
    n_bins: int,
    allowed: Bool[np.ndarray, " N"] | None = None,
) -> Int64[np.ndarray, "Q _"]:
    """Count the rows by how similar they are to each query.

    The products are those of float32: at the border of two bins a row may be counted in either.

    Args:
        blocks: Rows of unit length.
        queries: Rows of unit length.
        n_bins: Number of bins of equal width from -1 to 1.
        allowed: Rows that are counted; ``None`` for all.

    Returns:
        A row of ``n_bins`` counts for each query; each row sums to the number of allowed rows.

    Example:
        >>> blocks = [np.array([[0, 1], [1, 0], [-1, 0]], dtype=np.float32)]
        >>> similarity_counts(blocks, np.array([[1, 0]], dtype=np.float32), 4)
        array([[1, 0, 1, 1]])
    """
    counts, first = np.zeros((len(queries), n_bins), dtype=np.int64), 0
    for block in blocks:
        rows = block if allowed is None else block[allowed[first : first + len(block)]]
        first += len(block)
        for start in range(0, len(queries), QUERIES_PER_PASS):
            part = slice(start, start + QUERIES_PER_PASS)
            _count(queries[part] @ rows.T, None, counts[part])
    return counts


def rounding_bound(dim: int) -> float:
    """Bound how far the float32 product of two unit vectors may be from the true one.

    In whatever order a BLAS adds, the error is at most n·u / (1 − n·u) times the lengths of both
    vectors, with n = ``dim`` and u = 2**-24 (Higham, Accuracy and Stability, 2002, section 3.1).
    """
    relative = dim * UNIT_ROUNDOFF
    return relative / (1 - relative) * (1 + UNIT_TOLERANCE) ** 2


def _one_pass(
    blocks: Sequence[np.ndarray],
    queries: np.ndarray,
    top: int,
    allowed: np.ndarray | None,
    counts: np.ndarray | None = None,
) -> list[Best]:
    """Find the best rows for up to 64 queries; ``counts`` are added to, where there are any."""
    best = [Best(np.zeros(0, dtype=np.int64), np.zeros(0)) for _ in queries]
    floors = np.full((len(queries), 1), -np.inf, dtype=np.float32)
    first, dim = 0, queries.shape[1]
    for block in blocks:
        mask = None if allowed is None else allowed[first : first + len(block)]
        rows, block_rows = np.arange(first, first + len(block)), block
        if mask is not None and np.count_nonzero(mask) < SPARSE * len(mask):
            rows, block_rows, mask = rows[mask], block[mask], None
        rough = queries @ block_rows.T
        if counts is not None:
            _count(rough, mask, counts)
        is_candidate = rough >= floors
        if mask is not None:
            is_candidate &= mask
        for number in np.flatnonzero(is_candidate.any(axis=1)):
            chosen = _roughly_best(rough[number], np.flatnonzero(is_candidate[number]), top, dim)
            exact = inner_products(block_rows[chosen], queries[number])
            best[number] = merged = _merge(best[number], Best(rows[chosen], exact), top)
            if len(merged.rows) == top:
                floors[number] = _floor(float(merged.similarities[-1]), dim)
        first += len(block)
    return best


def _count(products: np.ndarray, mask: np.ndarray | None, counts: np.ndarray) -> None:
    """Add the products of queries with rows to their counts, a row of bins for each query."""
    n_bins = counts.shape[1]
    for of_query, of_bins in zip(products, counts, strict=True):
        # One query after the other stays in the processor's cache.
        shifted = (of_query if mask is None else of_query[mask]) + np.float32(1)
        shifted *= np.float32(n_bins / 2)
        bins = shifted.astype(np.intp)
        np.clip(bins, 0, n_bins - 1, out=bins)
        of_bins += np.bincount(bins, minlength=n_bins)


def inner_products(
    rows: Float32[np.ndarray, "N D"], query: Float32[np.ndarray, " D"]
) -> Float64[np.ndarray, " N"]:
    """Compute products in float64, each row by itself, so that they do not depend on other rows."""
    exact, query = np.empty(len(rows)), query.astype(np.float64)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        exact[part] = (rows[part].astype(np.float64) * query).sum(axis=1)
    return exact


def _roughly_best(rough: np.ndarray, candidates: np.ndarray, top: int, dim: int) -> np.ndarray:
    """Return the candidates of a block that can be among its ``top`` best."""
    if len(candidates) <= top:
        return candidates
    n_worse = len(candidates) - top
    last = float(np.partition(rough[candidates], n_worse)[n_worse])
    likely: np.ndarray = candidates[rough[candidates] >= _floor(last, dim, errors=2)]
    return likely


def _floor(similarity: float, dim: int, *, errors: int = 1) -> float:
    """Return what a float32 product reaches if the true one is ``similarity``, rounded down."""
    lowest = np.float32(similarity - errors * rounding_bound(dim))
    return float(np.nextafter(lowest, np.float32(-np.inf)))


def _merge(best: Best, others: Best, top: int) -> Best:
    rows = np.concatenate([best.rows, others.rows])
    similarities = np.concatenate([best.similarities, others.similarities])
    order = np.lexsort((rows, -similarities))[:top]
    return Best(rows[order], similarities[order])
