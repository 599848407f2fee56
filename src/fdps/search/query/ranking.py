"""Exact nearest neighbours by inner product, in an order that does not depend on the machine.

Axes: N people, B people of one block, D embedding dimension, Q queries, K results.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fdps.search.query.codes import UNIT_ROUNDOFF, Codes
from fdps.search.store import UNIT_TOLERANCE

QUERIES_PER_PASS = 64  # their products with a block stay in the processor's cache
ROWS_AT_ONCE = 4096  # rows in float64: 8 MB at D = 256
SPARSE = 0.25  # share of the rows; where fewer are allowed, copying them out is faster
CODED_QUERIES = 2
"""Up to so many queries are compared with codes: each reads them once, where a product of matrices
in float32 reads all rows once for all queries."""


class Best(NamedTuple):
    """The best rows for one query: highest similarity first, equal ones by row."""

    rows: Int64[np.ndarray, " K"]
    similarities: Float64[np.ndarray, " K"]


def nearest(
    blocks: Sequence[Float32[np.ndarray, "_ D"]],
    queries: Float32[np.ndarray, "Q D"],
    top: int,
    allowed: Bool[np.ndarray, " N"] | None = None,
    codes: Sequence[Codes] = (),
) -> list[Best]:
    """Find the rows most similar to each query, highest first, equal ones by row.

    The matrix is read once for up to 64 queries. A float32 product, whose last bits depend on the
    BLAS at hand, or one of codes in eight bits only tells which rows cannot be among the best:
    those that miss the last place by more than its error bound. Similarities of the others are
    computed in float64, row by row in a fixed order, and decide. So the hits are the same bits with
    codes and without.

    Args:
        blocks: Rows of unit length; row numbers count through all blocks.
        queries: Rows of unit length.
        top: Number of results wanted, at least 1.
        allowed: Rows that may be returned; ``None`` for all.
        codes: The rows of the first blocks in eight bits, which one query or two read faster.

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
        part = queries[start : start + QUERIES_PER_PASS]
        found += _one_pass(blocks, part, top, allowed, codes=codes)
    return found


def nearest_and_counts(
    blocks: Sequence[Float32[np.ndarray, "_ D"]],
    queries: Float32[np.ndarray, "Q D"],
    top: int,
    n_bins: int,
    allowed: Bool[np.ndarray, " N"] | None = None,
    codes: Sequence[Codes] = (),
) -> tuple[list[Best], Int64[np.ndarray, "Q _"]]:
    """Do what :func:`nearest` and :func:`similarity_counts` do, by one product of matrices.

    Reading the matrix is most of the work of either. Products of codes are rougher than those of
    float32: some rows near the border of two bins are counted in the other one.
    """
    counts = np.zeros((len(queries), n_bins), dtype=np.int64)
    found: list[Best] = []
    for start in range(0, len(queries), QUERIES_PER_PASS):
        part = slice(start, start + QUERIES_PER_PASS)
        found += _one_pass(blocks, queries[part], top, allowed, counts[part], codes)
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
    codes: Sequence[Codes] = (),
) -> list[Best]:
    """Find the best rows for up to 64 queries; ``counts`` are added to, where there are any."""
    best = [Best(np.zeros(0, dtype=np.int64), np.zeros(0)) for _ in queries]
    floors = np.full(len(queries), -np.inf)  # what a row must reach to be among the best
    coded_queries = Codes.of(queries) if codes and len(queries) <= CODED_QUERIES else None
    first = 0
    for block, coded in zip_longest(blocks, codes if coded_queries else ()):
        mask = None if allowed is None else allowed[first : first + len(block)]
        rows, block_rows = np.arange(first, first + len(block)), block
        if mask is not None and np.count_nonzero(mask) < SPARSE * len(mask):
            rows, block_rows, mask = rows[mask], block[mask], None
            coded = None  # few rows are multiplied faster than their codes are copied out
        scan = _scan(block_rows, queries, coded, coded_queries)
        if counts is not None:
            _count(scan.rough, mask, counts)
        is_candidate = scan.reaches(floors)
        if mask is not None:
            is_candidate &= mask
        for number in np.flatnonzero(is_candidate.any(axis=1)).tolist():
            chosen = scan.likely(number, np.flatnonzero(is_candidate[number]), top)
            exact = inner_products(block_rows[chosen], queries[number])
            best[number] = merged = _merge(best[number], Best(rows[chosen], exact), top)
            if len(merged.rows) == top:
                floors[number] = merged.similarities[-1]
        first += len(block)
    return best


class _Scan(NamedTuple):
    """Products (Q, B) of all queries with the rows of a block, and how far each can be off."""

    rough: np.ndarray
    error: float

    def reaches(self, floors: np.ndarray) -> np.ndarray:
        """Tell which rows (Q, B) may be as similar as the floor (Q,) of each query."""
        limits = (floors - self.error).astype(self.rough.dtype)
        reached: np.ndarray = (
            self.rough >= np.nextafter(limits, -np.inf, dtype=limits.dtype)[:, None]
        )
        return reached

    def likely(self, query: int, candidates: np.ndarray, top: int) -> np.ndarray:
        """Return those candidates of a query that can be among the ``top`` best of the block."""
        if len(candidates) <= top:
            return candidates
        rough = self.rough[query, candidates].astype(np.float64)
        n_worse = len(candidates) - top
        last = np.partition(rough, n_worse)[n_worse]
        likely: np.ndarray = candidates[rough >= last - 2 * self.error]
        return likely


def _scan(
    rows: np.ndarray, queries: np.ndarray, coded: Codes | None, coded_queries: Codes | None
) -> _Scan:
    """Multiply the rows of a block with all queries; by their codes, where both have any."""
    if coded is None or coded_queries is None:
        return _Scan(queries @ rows.T, rounding_bound(queries.shape[1]))
    return _Scan(*coded.products(coded_queries))


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


def _merge(best: Best, others: Best, top: int) -> Best:
    rows = np.concatenate([best.rows, others.rows])
    similarities = np.concatenate([best.similarities, others.similarities])
    order = np.lexsort((rows, -similarities))[:top]
    return Best(rows[order], similarities[order])
