r"""Appearances: the sightings of one person in a row, found as one result.

The similarity of an appearance is that of its pooled embedding: the mean of the embeddings of its
members, at unit length. It is not stored. With members e and a query q it is

.. math:: \frac{\sum_i \langle q, e_i \rangle}{\lVert \sum_i e_i \rVert}

so a search is the product of the query with all rows, sums over the rows of each track, and one
division. The lengths are computed once for a state of the archive and a filter.

Axes in shapes: N people, M people that pass the filters, A appearances, Q queries, D embedding
dimension, B people of one block.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fdps.search.query.ranking import SPARSE, inner_products, rounding_bound

QUERIES_PER_PASS = 8  # each takes 4 bytes for every person in the archive
ROWS_AT_ONCE = 8192  # rows in float64: 16 MB at D = 256
_SLACK = 1e-9  # far more than float64 sums lose

Blocks = Sequence[Float32[np.ndarray, "_ D"]]


class FoundRows(NamedTuple):
    """One appearance among the best."""

    similarity: float
    rows: Int64[np.ndarray, " K"]
    similarities: Float64[np.ndarray, " K"]


class Groups:
    """The rows that make one appearance, for all appearances.

    Args:
        blocks: Rows of unit length; row numbers count through all blocks, which are of one size but
            for the last.
        labels: Track of every row; the rows of one label are one appearance.
        allowed: Rows that count; ``None`` for all.
    """

    def __init__(
        self,
        blocks: Blocks,
        labels: Int64[np.ndarray, " N"],
        allowed: Bool[np.ndarray, " N"] | None = None,
    ) -> None:
        rows = np.arange(len(labels)) if allowed is None else np.flatnonzero(allowed)
        self._rows = rows[np.argsort(labels[rows], kind="stable")]
        sorted_labels = labels[self._rows]
        is_first = np.ones(len(rows), dtype=bool)
        is_first[1:] = sorted_labels[1:] != sorted_labels[:-1]
        self._starts = np.flatnonzero(is_first)
        self._counts = np.diff(self._starts, append=len(rows))
        self._lengths = np.ones(len(self._starts))
        several = np.flatnonzero(self._counts > 1)
        for groups, sums in self._sums(blocks, several):
            self._lengths[groups] = np.linalg.norm(sums, axis=1)

    def __len__(self) -> int:
        return len(self._starts)

    def nearest(
        self, blocks: Blocks, queries: Float32[np.ndarray, "Q D"], top: int
    ) -> list[list[FoundRows]]:
        """Return the appearances most similar to each query, highest first, equal ones by label.

        As in :func:`~fdps.search.query.ranking.nearest`, float32 products only tell who cannot be
        among the best; float64 decides. A single row is as similar as its embedding, whatever its
        length.
        """
        if len(self) == 0:
            return [[] for _ in queries]
        found: list[list[FoundRows]] = []
        for start in range(0, len(queries), QUERIES_PER_PASS):
            part = queries[start : start + QUERIES_PER_PASS]
            rough = self._products(blocks, part)
            found += [self._best(blocks, *pair, top) for pair in zip(part, rough, strict=True)]
        return found

    def _products(self, blocks: Blocks, queries: np.ndarray) -> Float32[np.ndarray, "Q M"]:
        """Compute the products of all rows that count, in the order of ``_rows``."""
        if len(self._rows) < SPARSE * sum(map(len, blocks)):
            return np.asarray(queries @ taken(blocks, self._rows).T)
        return np.concatenate([queries @ block.T for block in blocks], axis=1)[:, self._rows]

    def _best(
        self, blocks: Blocks, query: np.ndarray, rough: np.ndarray, top: int
    ) -> list[FoundRows]:
        candidates = self._candidates(rough, top, len(query))
        similarities = np.empty(len(candidates))
        single = self._counts[candidates] == 1
        rows = self._rows[self._starts[candidates[single]]]
        similarities[single] = inner_products(taken(blocks, rows), query)
        places = np.flatnonzero(~single)
        exact = query.astype(np.float64)
        for groups, sums in self._sums(blocks, candidates[places]):
            lengths = np.linalg.norm(sums, axis=1)
            products = (sums * exact).sum(axis=1)
            here = places[: len(groups)]
            similarities[here] = np.divide(
                products, lengths, out=np.zeros_like(products), where=lengths > 0
            )
            places = places[len(groups) :]
        order = np.lexsort((candidates, -similarities))[:top]
        return [
            self._found(blocks, query, int(candidates[place]), float(similarities[place]))
            for place in order
        ]

    def _candidates(self, rough: np.ndarray, top: int, dim: int) -> np.ndarray:
        """Return the groups, rising, that can be among the best by the products of their rows."""
        if len(self) <= top:
            return np.arange(len(self))
        lengths = np.maximum(self._lengths, 1e-12)
        sums = np.add.reduceat(rough.astype(np.float64), self._starts) / lengths
        errors = self._counts * rounding_bound(dim) / lengths + _SLACK
        floor = np.partition(sums - errors, len(self) - top)[len(self) - top]
        return np.flatnonzero(sums + errors >= floor)

    def _found(self, blocks: Blocks, query: np.ndarray, group: int, similarity: float) -> FoundRows:
        start = self._starts[group]
        rows = self._rows[start : start + self._counts[group]]
        return FoundRows(similarity, rows, inner_products(taken(blocks, rows), query))

    def _sums(
        self, blocks: Blocks, groups: Int64[np.ndarray, " A"]
    ) -> Iterator[tuple[Int64[np.ndarray, " _"], Float64[np.ndarray, "_ D"]]]:
        """Yield sums of embeddings in float64, for a part of the groups at a time.

        Every sum is formed by itself and in the order of rows, so that it does not depend on what
        else is asked for.
        """
        counts = self._counts[groups]
        ends = np.cumsum(counts)
        first = 0
        while first < len(groups):
            before = int(ends[first] - counts[first])
            last = max(first + 1, int(np.searchsorted(ends, before + ROWS_AT_ONCE, side="right")))
            starts = ends[first:last] - counts[first:last] - before
            places = np.repeat(self._starts[groups[first:last]] - starts, counts[first:last])
            rows = self._rows[places + np.arange(len(places))]
            embeddings = taken(blocks, rows).astype(np.float64)
            yield groups[first:last], np.add.reduceat(embeddings, starts, axis=0)
            first = last


def taken(blocks: Blocks, rows: Int64[np.ndarray, " K"]) -> Float32[np.ndarray, "K D"]:
    """Copy rows by their numbers, which count through all blocks."""
    size = len(blocks[0])
    found = np.empty((len(rows), blocks[0].shape[1]), dtype=np.float32)
    block_of = rows // size
    for number in np.unique(block_of).tolist():
        here = block_of == number
        found[here] = blocks[number][rows[here] - number * size]
    return found
