"""Figures of one ranked list: average precision, the rank of the first match, the best few.

Higher similarity ranks first. Where similarities tie, average precision takes the tied entries
together, as scikit-learn does; ranks put the entry that is later in the gallery first, which is
what the public code does when it reverses a rising sort. Both are independent of luck.

Axes: G entries of the gallery.
"""

import numpy as np
from jaxtyping import Bool, Float, Int64


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


def first_match(similarity: Float[np.ndarray, " G"], is_match: Bool[np.ndarray, " G"]) -> int:
    """Rank of the best match, counted from 1; 0 if there is none.

    Example:
        >>> first_match(np.array([0.4, 0.2, -0.1]), np.array([False, True, True]))
        2
    """
    if not is_match.any():
        return 0
    best = similarity[is_match].max()
    tied = np.flatnonzero(similarity == best)
    latest = tied[is_match[tied]][-1]
    return int((similarity > best).sum() + (tied > latest).sum() + 1)


def best_entries(similarity: Float[np.ndarray, " G"], n: int) -> Int64[np.ndarray, " K"]:
    """The ``n`` best entries (all, if there are fewer), best first.

    Example:
        >>> best_entries(np.array([0.1, 0.9, 0.5, 0.9]), 3).tolist()
        [3, 1, 2]
    """
    candidates = np.arange(len(similarity))
    if n < len(similarity):
        # Everything tied with the n-th best stays, so that a tie is not cut by chance.
        worst = np.partition(similarity, len(similarity) - n)[len(similarity) - n]
        candidates = np.flatnonzero(similarity >= worst)
    rising = np.argsort(similarity[candidates], kind="stable")
    return np.asarray(candidates[rising[::-1]][:n])
