"""Figures of one ranked list: average precision, the rank of the first match, the best few.

Higher similarity ranks first. Where similarities tie, average precision takes the tied entries
together, as scikit-learn does; ranks put the entry that is later in the gallery first, which is
what the public code does when it reverses a rising sort. Both are independent of luck.

Axes: G entries of the gallery; for many lists at once B queries, W columns, K matches.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64


def average_precision(
    similarity: Float[np.ndarray, " G"], is_match: Bool[np.ndarray, " G"], n_relevant: int
) -> float:
    r"""Average precision of one query, scaled by the recall of the detector.

    .. math:: \mathrm{AP} = \frac{1}{n} \sum_{k:\, m_k = 1}
        \frac{\#\{j : s_j \ge s_k,\, m_j = 1\}}{\#\{j : s_j \ge s_k\}}

    where :math:`s` is the similarity, :math:`m` tells whether an entry is the person and
    :math:`n` counts the gallery scenes that show this person, detected or not. Dividing by
    :math:`n` and not by the number found is the protocol of CUHK-SYSU: it equals
    ``sklearn.metrics.average_precision_score(m, s) * m.sum() / n``.

    Args:
        similarity: Only the order counts, so any sign is allowed.
        is_match: Whether the entry is the queried person.
        n_relevant: Matches that a perfect system would have, at least 1.

    Returns:
        A fraction in [0, 1]; 0 when nothing was found.

    Raises:
        ValueError: If ``n_relevant`` is below the number of matches, or below 1.

    Example:
        >>> average_precision(np.array([0.4, 0.2, -0.1]), np.array([False, True, True]), 2)
        0.5833333333333333
    """
    matched = np.sort(similarity[is_match])
    if n_relevant < max(len(matched), 1):
        raise ValueError(
            f"n_relevant must be at least 1 and at least the {len(matched)} matches, "
            f"got {n_relevant}"
        )
    at_least_as_similar = len(similarity) - np.searchsorted(np.sort(similarity), matched)
    matches_among_them = len(matched) - np.searchsorted(matched, matched)
    return float((matches_among_them / at_least_as_similar).sum() / n_relevant)


@dataclass(frozen=True, slots=True, eq=False)
class RankedTable:
    """A table of similarities with each row sorted, to look up ranks in.

    Args:
        similarity: A row per query; minus infinity where there is nothing.
        rising: The same rows, sorted.
    """

    similarity: Float32[np.ndarray, "B W"]
    rising: Float32[np.ndarray, "B W"]

    def at_least(
        self, rows: Int64[np.ndarray, " K"], values: Float32[np.ndarray, " K"]
    ) -> Int64[np.ndarray, " K"]:
        """Count the entries of each row that are at least as similar as a value."""
        return self._width - self._position(rows, values, "left")

    def above(
        self, rows: Int64[np.ndarray, " K"], values: Float32[np.ndarray, " K"]
    ) -> Int64[np.ndarray, " K"]:
        """Count the entries of each row that are more similar than a value."""
        return self._width - self._position(rows, values, "right")

    @property
    def _width(self) -> int:
        return int(self.rising.shape[1])

    def _position(self, rows: np.ndarray, values: np.ndarray, side: str) -> np.ndarray:
        """``np.searchsorted`` of a value in each of several sorted rows, all at once."""
        low = np.zeros(len(rows), dtype=np.int64)
        high = np.full(len(rows), self._width, dtype=np.int64)
        for _ in range(self._width.bit_length()):
            middle = (low + high) // 2
            there = self.rising[rows, np.minimum(middle, self._width - 1)]
            goes_up = (there < values if side == "left" else there <= values) & (low < high)
            low = np.where(goes_up, middle + 1, low)
            high = np.where(goes_up, high, middle)
        return low


def rank_table(similarity: Float32[np.ndarray, "B W"]) -> RankedTable:
    """Sort every row of a table once."""
    return RankedTable(similarity, np.sort(similarity, axis=1))


def average_precisions(
    ranks: RankedTable,
    rows: Int64[np.ndarray, " K"],
    values: Float32[np.ndarray, " K"],
    n_relevant: Int64[np.ndarray, " B"],
) -> Float64[np.ndarray, " B"]:
    """:func:`average_precision` of every row at once.

    Args:
        ranks: All entries of every gallery.
        rows: Row of each match; never falling.
        values: Similarity of each match.
        n_relevant: Matches that a perfect system would have; where it is 0 the result is 0.
    """
    rising = np.lexsort((values, rows))
    rows, values = rows[rising], values[rising]
    index = np.arange(len(rows))
    begins_tie = np.ones(len(rows), dtype=np.bool_)
    begins_tie[1:] = (np.diff(rows) != 0) | (np.diff(values) != 0)
    first_of_tie = np.maximum.accumulate(np.where(begins_tie, index, 0))
    row_ends = np.searchsorted(rows, rows, side="right")
    precision = (row_ends - first_of_tie) / ranks.at_least(rows, values)
    total = np.bincount(rows, weights=precision, minlength=len(n_relevant))
    return np.asarray(total / np.maximum(n_relevant, 1), dtype=np.float64)


def first_matches(
    ranks: RankedTable,
    is_match: Bool[np.ndarray, "B W"],
    rows: Int64[np.ndarray, " K"],
    values: Float32[np.ndarray, " K"],
    *,
    wrong_first: bool,
) -> Int64[np.ndarray, " B"]:
    """Rank of the best match of every row, counted from 1; 0 where there is none.

    Args:
        ranks: All entries of every gallery.
        is_match: Which of them are right.
        rows: Row of each match.
        values: Similarity of each match.
        wrong_first: Of entries that tie with the best match the wrong ones rank first; otherwise
            the later ones do.
    """
    first = np.zeros(len(is_match), dtype=np.int64)
    if len(rows) == 0:
        return first
    best = np.full(len(is_match), -np.inf, dtype=np.float32)
    np.maximum.at(best, rows, values)
    found = np.unique(rows)
    above = ranks.above(found, best[found])
    first[found] = above + 1
    shared = found[ranks.at_least(found, best[found]) - above > 1]
    tied = ranks.similarity[shared] == best[shared, None]
    right = tied & is_match[shared]
    if wrong_first:
        first[shared] += (tied & ~right).sum(axis=1)
    else:
        latest = right.shape[1] - 1 - right[:, ::-1].argmax(axis=1)
        first[shared] += (tied & (np.arange(right.shape[1]) > latest[:, None])).sum(axis=1)
    return first


def best_columns(ranks: RankedTable, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best entries of every row.

    Returns:
        Row, place (0 is the best) and column of the ``n`` best entries of each row, or of all
        where there are fewer.
    """
    width = ranks.rising.shape[1]
    if width == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, nothing
    worst = ranks.rising[:, max(width - n, 0)]
    is_candidate = (ranks.similarity >= worst[:, None]) & (ranks.similarity > -np.inf)
    rows, columns = np.nonzero(is_candidate)
    order = np.lexsort((-columns, -ranks.similarity[rows, columns], rows))
    rows, columns = rows[order], columns[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows, side="left")
    kept = places < n
    return rows[kept], places[kept], columns[kept]
