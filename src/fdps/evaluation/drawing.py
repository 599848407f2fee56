"""Galleries drawn from a seed: each query its own, the same on every machine.

Axes: E entries that may be drawn, of several queries.
"""

import numpy as np
from jaxtyping import Bool, Int64, UInt64

_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
_MIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_PRIORITY_BITS = np.uint64(43)
_DROPPED_BITS = np.uint64(64 - 43)
_QUERY_BITS = np.uint64(44)  # leaves room for a million queries in a block


def draw(
    queries: Int64[np.ndarray, " E"],
    scenes: Int64[np.ndarray, " E"],
    shows: Bool[np.ndarray, " E"],
    *,
    first_query: int,
    size: int,
    seed: int,
) -> Bool[np.ndarray, " E"]:
    """Choose the entries that show the person, and others until there are ``size``.

    Every scene has a priority that depends on seed, query and scene alone. So the draw of a query
    is the same in any block of queries, and a smaller gallery is part of a larger one.

    Args:
        queries: Query of each entry, within the block; never falling.
        scenes: Scene row of each entry.
        shows: Whether the entry shows the person.
        first_query: Row of the first query of the block.
        size: Entries per query, if the scenes suffice and the person is not in more.
        seed: Any whole number.

    Returns:
        Which entries are chosen.
    """
    priority = _hash(_hash(queries + first_query, seed & 0x7FFFFFFFFFFFFFFF), scenes)
    key = (queries.astype(np.uint64) << _QUERY_BITS) | (priority >> _DROPPED_BITS)
    key |= (~shows).astype(np.uint64) << _PRIORITY_BITS
    order = np.argsort(key)
    counts = np.bincount(queries)
    rank = np.empty(len(queries), dtype=np.int64)
    rank[order] = np.arange(len(queries)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(shows | (rank < size))


def _hash(value: np.ndarray, key: np.ndarray | int) -> UInt64[np.ndarray, " E"]:
    """Mix two whole numbers into 64 bits that look random.

    Source: the finaliser of SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom
    number generators", OOPSLA 2014.
    """
    mixed = value.astype(np.uint64) * _STEP + np.asarray(key).astype(np.uint64)
    for _ in range(2):  # twice, so that neighbouring numbers do not stay neighbours
        mixed = mixed + _STEP
        for shift, factor in _MIX:
            mixed = (mixed ^ (mixed >> shift)) * factor
        mixed = mixed ^ (mixed >> np.uint64(31))
    return np.asarray(mixed)
