"""Intervals and tests against closed forms and against counting every case."""

import itertools
from math import comb, isnan, nan

import numpy as np
import pytest
from scipy import stats

from fdps.evaluation.search import SearchResult
from fdps.evaluation.statistics import (
    Interval,
    bootstrap_intervals,
    holm,
    over_seeds,
    query_values,
    randomisation_test,
)


def result(aps: list[float], ranks: list[int]) -> SearchResult:
    n = len(aps)
    none = np.zeros((n, 20))
    return SearchResult(
        queries=np.arange(n),
        average_precisions=np.array(aps, dtype=np.float64),
        first_matches=np.array(ranks, dtype=np.int64),
        n_relevant=np.ones(n, dtype=np.int64),
        ranked=none.astype(np.int64),
        ranked_is_match=none.astype(np.bool_),
        ranked_similarity=none.astype(np.float32),
        n_dropped=0,
        gallery_size=1,
    )


def test_means_of_the_columns_are_the_figures() -> None:
    scored = result([0.5, 0.25, 0.0, 1.0], [2, 7, 0, 1])
    means = query_values(scored).mean(axis=0).tolist()
    assert means == [scored.mean_ap, scored.top(1), scored.top(5), scored.top(10)]
    assert means == [0.4375, 0.25, 0.5, 0.75]


def test_interval_of_hits_is_that_of_the_binomial() -> None:
    # The bootstrap mean of n zeros and ones is binomial(n, p) / n: its quantiles are known.
    hits = np.repeat([1.0, 0.0], [60, 140])[:, None]
    (interval,) = bootstrap_intervals(hits, n_draws=10_000)
    low, high = stats.binom.ppf([0.025, 0.975], 200, 0.3) / 200
    assert interval.low == pytest.approx(low, abs=1.01 / 200)
    assert interval.high == pytest.approx(high, abs=1.01 / 200)


def test_interval_is_near_the_normal_one_and_narrows_with_the_level() -> None:
    values = np.random.default_rng(0).normal(0.4, 0.3, size=(400, 1))
    (interval,) = bootstrap_intervals(values, n_draws=5_000)
    error = values.std() / 20
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    (half,) = bootstrap_intervals(values, level=0.5, n_draws=5_000)
    assert half.high - half.low == pytest.approx(2 * 0.6745 * error, rel=0.05)


def test_every_draw_of_a_small_set_is_counted() -> None:
    values = np.array([0.0, 0.3, 0.9])
    means = np.sort([np.mean(draw) for draw in itertools.product(values, repeat=3)])
    (interval,) = bootstrap_intervals(values[:, None], level=0.6, n_draws=20_000)
    assert interval.low == pytest.approx(np.quantile(means, 0.2, method="inverted_cdf"))
    assert interval.high == pytest.approx(np.quantile(means, 0.8, method="inverted_cdf"))


def test_columns_do_not_mix_and_the_seed_decides() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((50, 3))
    together = bootstrap_intervals(values, seed=4)
    for k in range(3):
        (alone,) = bootstrap_intervals(values[:, [k]], seed=4)
        assert (alone.low, alone.high) == pytest.approx((together[k].low, together[k].high))
    assert together == bootstrap_intervals(values, seed=4) != bootstrap_intervals(values, seed=5)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).random((30, 2))
    whole = bootstrap_intervals(values), randomisation_test(values - 0.45).tolist()
    monkeypatch.setattr("fdps.evaluation.statistics._BLOCK", 100)
    assert (bootstrap_intervals(values), randomisation_test(values - 0.45).tolist()) == whole


def test_people_with_many_queries_widen_the_interval() -> None:
    people = np.repeat(np.arange(20), 10)
    values = (people % 2).astype(np.float64)[:, None]  # all ten queries of a person agree
    (loose,) = bootstrap_intervals(values, n_draws=5_000)
    (honest,) = bootstrap_intervals(values, units=people, n_draws=5_000)
    assert honest.high - honest.low == pytest.approx((loose.high - loose.low) * 10**0.5, rel=0.1)


def test_units_of_different_size_keep_the_mean_over_queries() -> None:
    values, people = np.array([[1.0], [1.0], [1.0], [0.0]]), np.array([7, 7, 7, 9])
    # Four draws of two people: 7+7 gives 1, 9+9 gives 0, mixed 3/4 and never 1/2.
    (interval,) = bootstrap_intervals(values, units=people, level=0.4, n_draws=10_000)
    assert interval == Interval(0.75, 0.75)


@pytest.mark.parametrize(("n", "expected"), [(0, nan), (1, 0.7)])
def test_interval_of_nothing_and_of_one_query(n: int, expected: float) -> None:
    (interval,) = bootstrap_intervals(np.full((n, 1), 0.7))
    assert interval.low == interval.high == expected or (n == 0 and isnan(interval.low))


@pytest.mark.parametrize("wrong", [{"level": 0.0}, {"level": 1.0}, {"n_draws": 0}])
def test_impossible_intervals_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        bootstrap_intervals(np.ones((2, 1)), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
def test_few_queries_are_tested_by_counting_every_exchange(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-3, 4, size=9) / 10
    observed = abs(differences.sum())
    totals = [abs(np.dot(signs, differences)) for signs in itertools.product([1, -1], repeat=9)]
    expected = np.mean([total >= observed - 1e-9 for total in totals])
    assert randomisation_test(differences[:, None])[0] == pytest.approx(expected)


def test_test_of_hits_is_that_of_mcnemar() -> None:
    # 30 queries that only the first system answers, 14 that only the second does, 100 others.
    differences = np.repeat([1.0, -1.0, 0.0], [30, 14, 100])[:, None]
    exact = stats.binomtest(14, 44, 0.5).pvalue
    assert randomisation_test(differences, n_flips=20_000, seed=1)[0] == pytest.approx(
        exact, rel=0.15
    )
    few = np.repeat([1.0, -1.0, 0.0], [7, 2, 40])[:, None]
    two_sided = 2 * sum(comb(9, k) for k in range(3)) / 2**9
    assert randomisation_test(few)[0] == pytest.approx(two_sided)


def test_p_values_of_equal_systems_are_uniform() -> None:
    rng = np.random.default_rng(3)
    p = [randomisation_test(rng.normal(size=(40, 1)), n_flips=499)[0] for _ in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_nothing_differs_or_everything_does() -> None:
    assert randomisation_test(np.zeros((5, 2))).tolist() == [1, 1]
    assert randomisation_test(np.zeros((0, 1))).tolist() == [1]
    assert randomisation_test(np.ones((50, 1)), n_flips=999)[0] == pytest.approx(1 / 1000)
    assert randomisation_test(np.ones((3, 1)))[0] == 0.25  # no fewer than 2 of 8 patterns


def test_queries_of_one_person_are_exchanged_together() -> None:
    people = np.repeat([1, 2, 3], 20)
    differences = np.full((60, 1), 0.1)
    assert randomisation_test(differences)[0] < 0.001
    assert randomisation_test(differences, units=people)[0] == 0.25
    with pytest.raises(ValueError, match="at least 1, got 0"):
        randomisation_test(differences, n_flips=0)


def test_many_tests_are_corrected_by_hand_computed_values() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


def test_seeds_have_a_mean_and_a_deviation() -> None:
    spread = over_seeds([0.40, 0.44, 0.42])
    assert (spread.mean, spread.deviation, spread.n) == pytest.approx((0.42, 0.02, 3))
    assert isnan(over_seeds([0.4]).deviation)
    with pytest.raises(ValueError, match="no value"):
        over_seeds([])
