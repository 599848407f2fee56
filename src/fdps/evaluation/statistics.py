"""The influence of chance on a figure: bootstrap intervals, a paired test, spread over seeds.

All of it is over the queries of one evaluation. Queries of one person resemble each other;
``units`` (for example the person id of each query) lets those of a unit stand or fall together.

Axes: Q queries, M figures, U units, K values or tests.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float64, Int64

from fdps.evaluation.search import SearchResult

FIGURES = ("mAP", "top1", "top5", "top10")
"""Figures that are means over queries, in the order of the columns of :func:`query_values`."""

N_DRAWS, N_FLIPS = 2_000, 10_000
_TOP = (1, 5, 10)
_BLOCK = 2**21  # numbers in memory at once
_EXACT_BELOW = 13  # units; 2^13 sign patterns are fewer than are drawn otherwise
_NOTHING = 1e-12  # a difference of fractions below this is rounding


@dataclass(frozen=True, slots=True)
class Interval:
    """The range in which a figure probably lies; both ends are NaN without anything to draw."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over several seeds.

    Args:
        mean: Over the seeds.
        deviation: Standard deviation with ``n - 1`` in the denominator; NaN for one seed.
        n: Number of seeds.
    """

    mean: float
    deviation: float
    n: int


def query_values(result: SearchResult) -> Float64[np.ndarray, "Q M"]:
    """Return what each query adds to each of :data:`FIGURES`, whose values are the column means.

    Args:
        result: Scored queries.

    Returns:
        Values in [0, 1], one column per figure: average precision, then 1 where a right hit is
        among the first 1, 5 and 10, else 0.
    """
    rank = result.first_matches
    hits = [(rank > 0) & (rank <= k) for k in _TOP]
    return np.stack([result.average_precisions, *hits], axis=1).astype(np.float64)


def bootstrap_intervals(
    values: Float64[np.ndarray, "Q M"],
    *,
    units: Int64[np.ndarray, " Q"] | None = None,
    level: float = 0.95,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> list[Interval]:
    """Percentile intervals of the mean of each column, by drawing queries with replacement.

    The same draws serve all columns. With ``units``, whole units are drawn and the mean is over
    all queries of those, so that a person with many queries does not look like many people.

    Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979.

    Args:
        values: One row per query, from :func:`query_values` or a difference of two of them.
        units: Which queries belong together; every query for itself by default.
        level: Share of the draws inside, in (0, 1).
        n_draws: At least 1; more draws make the ends steadier, not the interval narrower.
        seed: Equal seeds give equal intervals.

    Returns:
        One interval per column.

    Raises:
        ValueError: If ``level`` or ``n_draws`` is out of range.

    Example:
        >>> bootstrap_intervals(np.array([[0.5], [0.5]]))
        [Interval(low=0.5, high=0.5)]
    """
    if not 0 < level < 1 or n_draws < 1:
        raise ValueError(
            f"level must be in (0, 1) and n_draws at least 1, got {level} and {n_draws}"
        )
    if len(values) == 0:
        return [Interval(nan, nan)] * values.shape[1]
    sums, counts = _by_unit(values, units)
    rng = np.random.default_rng(seed)
    means = [
        sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None]
        for size in _blocks(n_draws, sums.size)
        for drawn in [rng.integers(len(sums), size=(size, len(sums)))]
    ]
    ends = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [Interval(float(low), float(high)) for low, high in ends.T]


def randomisation_test(
    differences: Float64[np.ndarray, "Q M"],
    *,
    units: Int64[np.ndarray, " Q"] | None = None,
    n_flips: int = N_FLIPS,
    seed: int = 0,
) -> Float64[np.ndarray, " M"]:
    r"""Two-sided p-value of a mean paired difference, by exchanging the systems at random.

    If two systems were equally good, either could have had either value of a query, so that each
    difference could as well have the other sign. With :math:`d` the sums of differences per unit
    and :math:`s` random signs,

    .. math:: p = P\Bigl(\bigl|\textstyle\sum_u s_u d_u\bigr| \ge \bigl|\sum_u d_u\bigr|\Bigr).

    Up to 12 units that differ, all sign patterns are counted; beyond, ``n_flips`` are drawn and
    :math:`p = (1 + \text{hits}) / (1 + n)`, which is never 0. For values of 0 and 1 (top-k) this
    is the exact test of McNemar.

    Source: Fisher, "The design of experiments", 1935, §21; for retrieval Smucker, Allan and
    Carterette, "A comparison of statistical significance tests", CIKM 2007.

    Args:
        differences: Values of one system minus those of the other, query by query.
        units: Which queries are exchanged together; every query for itself by default.
        n_flips: Sign patterns to draw, at least 1.
        seed: Equal seeds give equal p-values.

    Returns:
        One p-value in (0, 1] per column; 1 where nothing differs.

    Raises:
        ValueError: If ``n_flips`` is below 1.

    Example:
        >>> randomisation_test(np.array([[0.1], [0.2], [0.3]])).tolist()
        [0.25]
    """
    if n_flips < 1:
        raise ValueError(f"n_flips must be at least 1, got {n_flips}")
    sums, _ = _by_unit(differences, units)
    return np.array([_p_value(column, n_flips, seed) for column in sums.T], dtype=np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Raise p-values so that testing many times does not make chance look like an effect.

    Below 0.05 after this, the chance that even one of the effects is none is below 0.05.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.

    Example:
        >>> holm([0.01, 0.04, 0.02])
        [0.03, 0.04, 0.04]
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one figure over runs that differ in the seed alone.

    Args:
        values: The figure of every run, at least one.

    Raises:
        ValueError: If there is no value.

    Example:
        >>> over_seeds([0.25, 0.5, 0.75])
        Spread(mean=0.5, deviation=0.25, n=3)
    """
    if not values:
        raise ValueError("no value to take the mean of")
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else nan
    return Spread(float(np.mean(values)), deviation, len(values))


def _p_value(sums: Float64[np.ndarray, " U"], n_flips: int, seed: int) -> float:
    differing = sums[np.abs(sums) > _NOTHING]
    observed = abs(differing.sum()) - _NOTHING * len(differing)  # rounding must not break a tie
    if len(differing) < _EXACT_BELOW:
        patterns = np.arange(2 ** len(differing))[:, None] >> np.arange(len(differing))
        signs = 1.0 - 2.0 * (patterns & 1)
        return float((np.abs(signs @ differing) >= observed).mean())
    rng = np.random.default_rng(seed)
    hits = 0
    for size in _blocks(n_flips, len(differing)):
        signs = np.where(rng.random((size, len(differing))) < 0.5, -1.0, 1.0)
        hits += int((np.abs(signs @ differing) >= observed).sum())
    return (1 + hits) / (1 + n_flips)


def _by_unit(
    values: Float64[np.ndarray, "Q M"], units: Int64[np.ndarray, " Q"] | None
) -> tuple[Float64[np.ndarray, "U M"], Float64[np.ndarray, " U"]]:
    """Sum of the values, and number of queries, of every unit."""
    if units is None:
        return values, np.ones(len(values))
    distinct, unit = np.unique(units, return_inverse=True)
    sums = np.zeros((len(distinct), values.shape[1]))
    np.add.at(sums, unit, values)
    return sums, np.bincount(unit, minlength=len(distinct)).astype(np.float64)


def _blocks(total: int, numbers_each: int) -> Iterator[int]:
    """Sizes that add up to ``total``, so small that a block of arrays stays in memory."""
    step = max(1, _BLOCK // max(numbers_each, 1))
    yield from (min(step, total - start) for start in range(0, total, step))
