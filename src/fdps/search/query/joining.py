"""Join appearances to people: who is seen again, by looks alone and without labels.

Tracklets link what follows in one video (:mod:`fdps.search.query.tracklets`). Between videos,
between pictures and after an absence only looks are left. Two facts that need no labels help:

* *apart*: people who stand side by side in one picture are different people. Their appearances are
  never joined, neither directly nor through others.
* *strangers*: how alike such people are tells how alike strangers are, for this embedder and in
  this light. So the least similarity for joining follows the pictures.

Joined are the two groups whose appearances are most alike in the mean (average linkage), again and
again, until nobody is alike enough.

Axes in shapes: A appearances, G groups, K pairs, D embedding dimension.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64

from fdps.search.query.tracklets import USUAL_STRANGERS, Linking

RARE = 0.01
"""Share of the strangers that may be alike enough to be joined."""

ENOUGH_STRANGERS = 30
"""Number of pairs of strangers from which their median is trusted."""

NEIGHBOURS = 64
"""Most neighbours of a group that one round looks at, so that memory grows with people only."""

_BLOCK = 512  # groups whose similarities are in memory at once


def usual_similarity(strangers: Float64[np.ndarray, " K"]) -> float:
    """Return how alike strangers usually are: the median, or what is assumed where few are seen."""
    return float(np.median(strangers)) if len(strangers) >= ENOUGH_STRANGERS else USUAL_STRANGERS


def least_similarity(strangers: Float64[np.ndarray, " K"], *, known: float | None = None) -> float:
    """Choose the similarity from which on two appearances are taken for one person.

    It lies as far above usual strangers as that of two sightings in a row (``Linking.likeness``),
    and about 1 in 100 strangers reach it at most. ``benchmarks/seen_people.py`` measures what the
    rule gives.

    Args:
        strangers: Similarities of appearances that were side by side in one picture.
        known: Similarity that 1 in 100 strangers reach by a calibration. It counts where the
            pictures show fewer than :data:`ENOUGH_STRANGERS` pairs of strangers.
    """
    usual = usual_similarity(strangers)
    limits = [usual + Linking().likeness * (1 - usual)]
    if len(strangers):
        limits.append(float(np.quantile(strangers, 1 - RARE)))
    if known is not None and len(strangers) < ENOUGH_STRANGERS:
        limits.append(known)
    return max(limits)


def join_alike(
    appearances: Float64[np.ndarray, "A D"],
    apart: Int64[np.ndarray, "K 2"],
    min_similarity: float,
) -> Int64[np.ndarray, " A"]:
    """Join appearances that are alike, and return the group of each.

    With up to :data:`NEIGHBOURS` appearances this is average linkage as defined. With more, each
    round looks at the nearest groups of every group; rounds follow until one joins nothing.

    Args:
        appearances: Pooled embeddings of unit length.
        apart: Pairs of appearances of different people.
        min_similarity: Mean similarity from which on two groups are joined.

    Returns:
        Numbers from 0, in the order of the first appearance of each group.
    """
    labels = np.arange(len(appearances))
    while True:
        n_groups = int(labels.max(initial=-1)) + 1
        means = np.zeros((n_groups, appearances.shape[1]))
        np.add.at(means, labels, appearances)
        counts = np.bincount(labels, minlength=n_groups)
        means /= counts[:, None]
        joined = _Round(means, counts, labels[apart], min_similarity).labels()
        labels = _in_order(joined[labels])
        if labels.max(initial=-1) + 1 == n_groups or n_groups <= NEIGHBOURS:
            return labels


class _Round:
    """Groups that are joined pair by pair, the most similar pair first.

    Args:
        means: Mean embeddings; the product of two is the mean similarity of their appearances.
        counts: Number of appearances of each group.
        apart: Pairs of groups of different people.
        least: Mean similarity from which on groups are joined.
    """

    def __init__(
        self,
        means: Float64[np.ndarray, "G D"],
        counts: Int64[np.ndarray, " G"],
        apart: Int64[np.ndarray, "K 2"],
        least: float,
    ) -> None:
        self._least = least
        self._means = dict(enumerate(means))
        self._counts = dict(enumerate(counts.tolist()))
        self._members = {group: [group] for group in range(len(means))}
        self._apart: dict[int, set[int]] = defaultdict(set)
        for one, other in apart.tolist():
            self._apart[one].add(other)
            self._apart[other].add(one)
        self._near: dict[int, set[int]] = defaultdict(set)
        self._queue: list[tuple[float, int, int]] = []
        self._next = len(means)
        for similarity, one, other in _nearest_pairs(means, least):
            self._offer(similarity, one, other)

    def labels(self) -> Int64[np.ndarray, " G"]:
        """Join whatever can be joined, and return a number for each group."""
        while self._queue:
            _, one, other = heapq.heappop(self._queue)
            is_there = one in self._members and other in self._members
            if is_there and other not in self._apart[one]:
                self._join(one, other)
        numbers = np.empty(sum(map(len, self._members.values())), dtype=np.int64)
        for group, members in self._members.items():
            numbers[members] = group
        return numbers

    def _offer(self, similarity: float, one: int, other: int) -> None:
        self._near[one].add(other)
        self._near[other].add(one)
        heapq.heappush(self._queue, (-similarity, one, other))

    def _join(self, one: int, other: int) -> None:
        """Make a new group of two.

        Its mean similarity to a third is between theirs, so only what is near to one of the two
        can be near to it.
        """
        new, self._next = self._next, self._next + 1
        n_one, n_other = self._counts.pop(one), self._counts.pop(other)
        mean = n_one * self._means.pop(one) + n_other * self._means.pop(other)
        self._counts[new], self._means[new] = n_one + n_other, mean / (n_one + n_other)
        self._members[new] = self._members.pop(one) + self._members.pop(other)
        self._apart[new] = self._apart.pop(one, set()) | self._apart.pop(other, set())
        for group in self._apart[new]:
            self._apart[group].add(new)
        for group in sorted(self._near.pop(one) | self._near.pop(other)):
            if group in self._members:
                similarity = float(self._means[group] @ self._means[new])
                if similarity >= self._least:
                    self._offer(similarity, group, new)


def _nearest_pairs(
    means: Float64[np.ndarray, "G D"], least: float
) -> Iterator[tuple[float, int, int]]:
    """Yield the pairs that are alike enough, of each group those with its nearest neighbours."""
    n_nearest = min(NEIGHBOURS, len(means))
    for start in range(0, len(means), _BLOCK):
        similarity = means[start : start + _BLOCK] @ means.T
        rows = np.arange(len(similarity))[:, None]
        similarity[rows[:, 0], start + rows[:, 0]] = -np.inf  # nobody is their own neighbour
        nearest = np.argpartition(-similarity, n_nearest - 1, axis=1)[:, :n_nearest]
        places, columns = np.nonzero(similarity[rows, nearest] >= least)
        others = nearest[places, columns]
        values = similarity[places, others]
        for one, other, value in zip(
            (start + places).tolist(), others.tolist(), values.tolist(), strict=True
        ):
            yield value, min(one, other), max(one, other)


def _in_order(labels: Int64[np.ndarray, " A"]) -> Int64[np.ndarray, " A"]:
    """Number groups anew, in the order in which they first occur."""
    _, firsts, numbers = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(firsts), dtype=np.int64)
    order[np.argsort(firsts)] = np.arange(len(firsts))
    return np.asarray(order[numbers])
