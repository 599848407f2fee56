"""Divide scenes into batches by seed, epoch and what the scenes show.

Nothing else enters: neither the number of processes, reading workers or micro-batches, nor how
often a run was resumed. Hard sampling alone looks at what was learnt, and only through a vector
that its caller takes at the beginning of an epoch and keeps in the checkpoint.

A *row* is the position of a scene in its set. Axes in shapes: L identities.
"""

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float32

from fdps.pictures import picture_size
from fdps.structures import UNLABELLED, SceneSet

Sampling = Literal["shuffle", "identity", "hard", "pairs", "people"]
Batches = list[tuple[int, ...]]

_ORDER = 0  # stream of random numbers; augmentation has another one
_HARDNESS_STEPS = 2**24  # as many as a float32 in [0.5, 1] can tell apart
# Groups are 7 % wide, and each common ratio has one of its own. Mixes of cameras, photographs and
# films had at most 2 % more padding than sorted pictures, whose partners would never change.
_GROUPS_PER_OCTAVE = 10


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """The facts about scenes that their order needs, one entry for each scene.

    Args:
        person_ids: Labelled identities that the scene shows, each once, ascending.
        aspects: Width of each picture divided by its height; ``None`` where nobody groups by it.

    Raises:
        ValueError: The two differ in length, or an aspect ratio is not positive and finite.
    """

    person_ids: tuple[tuple[int, ...], ...]
    aspects: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.aspects is None:
            return
        if len(self.aspects) != len(self.person_ids):
            raise ValueError(
                f"{len(self.person_ids)} scenes need as many aspects, got {len(self.aspects)}"
            )
        wrong = [aspect for aspect in self.aspects if not 0 < aspect < math.inf]
        if wrong:
            raise ValueError(f"aspects must be positive and finite, got {wrong[0]}")

    @classmethod
    def of(cls, scenes: SceneSet, *, with_aspects: bool) -> "SceneFacts":
        """Gather the facts of a set.

        Args:
            scenes: Scenes whose identities are contiguous, 0..L-1.
            with_aspects: Whether to read the header of every picture for its size.

        Raises:
            MissingDataError: A picture is gone.
            PictureError: The header of a file is not that of a picture.
        """
        ids = (set(scene.person_ids.tolist()) - {UNLABELLED} for scene in scenes.scenes)
        sizes = (picture_size(scene.path) for scene in scenes.scenes)
        return cls(
            person_ids=tuple(tuple(sorted(shown)) for shown in ids),
            aspects=tuple(width / height for width, height in sizes) if with_aspects else None,
        )

    def __len__(self) -> int:
        return len(self.person_ids)

    @property
    def n_persons(self) -> int:
        """The number L of identities, one more than the largest."""
        return 1 + max(chain.from_iterable(self.person_ids), default=-1)


def epoch_batches(
    facts: SceneFacts,
    *,
    sampling: Sampling,
    group_by_aspect: bool,
    batch_size: int,
    seed: int,
    epoch: int,
    per_person: int = 1,
    hardness: Float32[np.ndarray, " L"] | None = None,
) -> Batches:
    """Draw all batches of one epoch: as many draws as there are scenes, whatever the sampling.

    ``shuffle`` draws each scene once. Under ``identity`` the identities take turns, each as often
    as any other, up to one; scenes without a labelled person are together one more identity, so
    that detection sees them. Whose turn it is gets the scene of theirs that this epoch has drawn
    least, in anybody's turn; equals come in random order. ``hard`` shares out half of the turns
    equally, the other half in proportion to hardness. ``pairs`` is ``identity`` with turns of two
    different scenes, one right after the other; scenes that share no identity with any other take
    part as scenes without a labelled person do. ``people`` is ``identity`` with turns of so many
    scenes as ``per_person`` says, so that a batch holds several views of each of its people; who
    has fewer comes again. A set without any labelled person is shuffled.

    Args:
        facts: Facts about the scenes.
        sampling: The way in which scenes are drawn.
        group_by_aspect: Whether to fill batches with pictures of similar aspect ratio.
        batch_size: Number of scenes in a batch, at least 1; only the last batch may have fewer.
        seed: Seed of the run.
        epoch: Number of the pass through the set, from 0.
        per_person: For ``people``, and ignored otherwise: scenes of a turn, at least 1.
        hardness: For ``hard``, and ignored otherwise: how close the nearest other identity comes,
            cut to [0, 1]; scenes without a labelled person have 0. With ``None`` or zeros nobody is
            harder than others, which is ``identity``.

    Returns:
        Positions of the scenes of each batch; ``ceil(len(facts) / batch_size)`` batches.

    Raises:
        ValueError: ``batch_size`` is below 1, ``hardness`` has another length than L or is not
            finite, or aspect ratios are to be grouped and ``facts`` has none.

    Example:
        >>> facts = SceneFacts(person_ids=((0,), (0,), (0,), (1,)))
        >>> epoch_batches(
        ...     facts, sampling="identity", group_by_aspect=False, batch_size=2, seed=1, epoch=0
        ... )
        [(3, 2), (0, 3)]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if sampling != "hard":
        hardness = None
    if hardness is not None:
        _check_hardness(hardness, facts.n_persons)
    rng = np.random.default_rng((seed, _ORDER, epoch))
    if sampling == "shuffle" or not facts.n_persons:
        draws = rng.permutation(len(facts)).tolist()
    elif sampling == "pairs":
        draws = _in_turn(_shared(facts), None, rng, n_scenes=2)
    elif sampling == "people":
        draws = _in_turn(facts, None, rng, n_scenes=per_person)
    else:
        draws = _in_turn(facts, hardness, rng)
    if not group_by_aspect:
        return _cut(draws, batch_size)
    if facts.aspects is None:
        raise ValueError("group_by_aspect needs the aspects of the scenes, and facts has none")
    return _like_aspects(draws, facts.aspects, batch_size, rng)


def _check_hardness(hardness: np.ndarray, n_persons: int) -> None:
    if len(hardness) != n_persons:
        raise ValueError(
            f"hardness must have one entry for each of {n_persons} identities, got {len(hardness)}"
        )
    if not np.isfinite(hardness).all():
        wrong = int(np.flatnonzero(~np.isfinite(hardness))[0])
        raise ValueError(f"hardness must be finite, got {hardness[wrong]} of identity {wrong}")


def _shared(facts: SceneFacts) -> SceneFacts:
    """Keep the identities that more than one scene shows."""
    n_scenes = Counter(chain.from_iterable(facts.person_ids))
    return SceneFacts(
        tuple(tuple(p for p in shown if n_scenes[p] > 1) for shown in facts.person_ids)
    )


def _in_turn(
    facts: SceneFacts,
    hardness: np.ndarray | None,
    rng: np.random.Generator,
    *,
    n_scenes: int = 1,
) -> list[int]:
    """Draw scenes for identities that take turns, in each turn so many different ones."""
    shows: dict[int, list[int]] = {}
    for row, person_ids in enumerate(facts.person_ids):
        for person_id in person_ids or (UNLABELLED,):
            shows.setdefault(person_id, []).append(row)
    owners = sorted(shows)
    turns = _turns(_weights(owners, hardness), -(-len(facts) // n_scenes), rng)

    rank = rng.permutation(len(facts)).tolist()  # breaks ties of equally often drawn scenes
    n_drawn = [0] * len(facts)
    heaps = [[(0, rank[row], row) for row in shows[owner]] for owner in owners]
    for heap in heaps:
        heapq.heapify(heap)
    draws: list[int] = []
    for turn in turns:
        heap, drawn = heaps[turn], list[int]()
        for _ in range(n_scenes):
            if not heap:  # there are fewer: the same once more
                again = drawn[len(drawn) % len(shows[owners[turn]])]
                heap.append((n_drawn[again], rank[again], again))
            # Counts only rise, so an entry whose count is still true is the least of its heap.
            while heap[0][0] < n_drawn[row := heap[0][2]]:
                heapq.heapreplace(heap, (n_drawn[row], rank[row], row))
            n_drawn[row] += 1
            drawn.append(row)
            heapq.heappop(heap)
        for row in set(drawn):
            heapq.heappush(heap, (n_drawn[row], rank[row], row))
        draws += drawn
    return draws[: len(facts)]


def _weights(owners: Sequence[int], hardness: np.ndarray | None) -> list[int]:
    """Return shares of the turns in whole numbers, so that no rounding decides who is drawn."""
    if hardness is None:
        return [1] * len(owners)
    steps = (hardness.clip(0, 1).astype(np.float64) * _HARDNESS_STEPS).astype(np.int64).tolist()
    hard = [0 if owner == UNLABELLED else steps[owner] for owner in owners]
    if not any(hard):
        return [1] * len(owners)
    return [sum(hard) + len(owners) * steps for steps in hard]  # both terms add up to the same


def _turns(weights: Sequence[int], n_turns: int, rng: np.random.Generator) -> list[int]:
    """Spread positions in ``weights`` evenly, each as often as its share rounded down or up.

    This is systematic sampling: the shares lie side by side in random order on a line of length
    ``n_turns``, and whoever holds a mark gets the turn. The marks are one apart from a random
    start, so the expected number of turns is the share itself.
    """
    total = sum(weights)
    order = rng.permutation(len(weights)).tolist()
    start = int(rng.integers(2**32)) * total // 2**32
    below = accumulate((weights[k] for k in order), initial=0)
    marks = [(start + n_turns * weight) // total for weight in below]
    jitter = iter(rng.random(n_turns).tolist())
    # The j-th of n turns falls into the j-th of n equal parts of the epoch.
    timed = [
        ((j + next(jitter)) / (last - first), k)
        for k, (first, last) in zip(order, pairwise(marks), strict=True)
        for j in range(last - first)
    ]
    return [k for _, k in sorted(timed)]


def _like_aspects(
    draws: Sequence[int], aspects: Sequence[float], batch_size: int, rng: np.random.Generator
) -> Batches:
    """Make batches of similar aspect ratio in random order; the rest is joined, narrow to wide."""
    groups: dict[int, list[int]] = {}
    for row in draws:
        # Borders between groups are irrational: no ratio of two sizes lies on one, where the last
        # bit of a logarithm would decide.
        groups.setdefault(round(_GROUPS_PER_OCTAVE * math.log2(aspects[row])), []).append(row)
    batches: Batches = []
    left: list[int] = []
    for group in groups.values():
        n_full = len(group) // batch_size * batch_size
        batches += _cut(group[:n_full], batch_size)
        left += group[n_full:]
    batches += _cut(sorted(left, key=aspects.__getitem__), batch_size)
    n_full = len(draws) // batch_size
    return [batches[k] for k in rng.permutation(n_full).tolist()] + batches[n_full:]


def _cut(draws: Sequence[int], batch_size: int) -> Batches:
    return [tuple(draws[k : k + batch_size]) for k in range(0, len(draws), batch_size)]
