"""Rows of different lengths, kept as one flat array: the arithmetic that replaces loops.

Axes: G groups, E elements of all groups, P pairs.
"""

import numpy as np
from jaxtyping import Float, Int64, Integer


def ranges(
    starts: Integer[np.ndarray, " G"], counts: Integer[np.ndarray, " G"]
) -> Int64[np.ndarray, " E"]:
    """Concatenate ``arange(start, start + count)`` of every group.

    Example:
        >>> ranges(np.array([7, 2, 5]), np.array([2, 0, 3])).tolist()
        [7, 8, 5, 6, 7]
    """
    ends = np.cumsum(counts, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(starts - (ends - counts), counts), np.int64)


def last_of_runs(values: Integer[np.ndarray, " E"]) -> Int64[np.ndarray, " G"]:
    """Find the end of each run of equal neighbours.

    Example:
        >>> last_of_runs(np.array([4, 4, 9, 1, 1])).tolist()
        [1, 2, 4]
    """
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.append(np.diff(values) != 0, True))


def best_of_groups(
    groups: Integer[np.ndarray, " P"],
    values: Float[np.ndarray, " P"],
    order: Integer[np.ndarray, " P"],
) -> Int64[np.ndarray, " G"]:
    """The element of the highest value in every group; of equal ones that of the highest order.

    Args:
        groups: Group of each element, in any order; groups without elements do not appear.
        values: What is compared.
        order: Decides ties.

    Returns:
        Rows of the elements, by rising group.

    Example:
        >>> groups, values = np.array([1, 0, 1, 1]), np.array([0.5, 0.1, 0.9, 0.9])
        >>> best_of_groups(groups, values, np.arange(4)).tolist()
        [1, 3]
    """
    rising = np.lexsort((order, values, groups))
    return np.asarray(rising[last_of_runs(groups[rising])])
