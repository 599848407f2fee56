"""Several systems on the same queries: what differs, and what chance explains."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fdps.errors import UsageError
from fdps.evaluation import EvaluationOptions, EvaluationReport
from fdps.evaluation.comparison import Contender, compare_systems
from fdps.evaluation.detection import DetectionResult
from fdps.evaluation.search import SearchResult

NONE = np.zeros(0)


def report(aps: np.ndarray, recall: float = 0.9, **changes: object) -> EvaluationReport:
    n = len(aps)
    empty = np.zeros((n, 20))
    search = SearchResult(
        queries=np.arange(n),
        average_precisions=np.asarray(aps, dtype=np.float64),
        first_matches=np.where(aps > 0.5, 1, 4).astype(np.int64),
        n_relevant=np.full(n, 3),
        ranked=empty.astype(np.int64),
        ranked_is_match=empty.astype(np.bool_),
        ranked_similarity=empty.astype(np.float32),
        n_dropped=0,
        gallery_size=10,
    )
    found = DetectionResult(recall, recall, recall, 10, 10, NONE, NONE, NONE)
    made = EvaluationReport("set", 11, found, search, EvaluationOptions())
    return replace(made, **changes)  # type: ignore[arg-type]


def contenders(*systems: np.ndarray) -> list[Contender]:
    return [Contender(f"s{i}", (report(aps),)) for i, aps in enumerate(systems)]


def test_a_shift_of_every_query_is_real_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.7, size=100)
    noisy = base + rng.normal(0, 0.1, size=100)
    first, better, same = compare_systems(contenders(base, base + 0.1, noisy)).standings
    assert first.differences == {}
    assert better.differences["mAP"].value == pytest.approx(0.1)
    assert better.differences["mAP"].is_real
    interval = better.differences["mAP"].interval
    assert (interval.low, interval.high) == pytest.approx((0.1, 0.1))
    assert not same.differences["mAP"].is_real
    assert same.differences["mAP"].interval.low < 0 < same.differences["mAP"].interval.high
    figure = first.figures["mAP"]
    assert figure.value == pytest.approx(base.mean())
    assert figure.interval is not None
    assert figure.interval.low < figure.value < figure.interval.high
    assert first.figures["top5"].value == 1


def test_the_more_systems_the_stricter_the_test() -> None:
    base = np.zeros(6)
    worse, other = np.full(6, 0.1), np.array([0.1, -0.1, 0.1, -0.1, 0.1, -0.1])
    alone = compare_systems(contenders(base, worse)).standings[1].differences["mAP"]
    assert alone.p_value == alone.p_corrected == 2 / 64
    assert alone.is_real
    among = compare_systems(contenders(base, worse, other)).standings[1].differences["mAP"]
    assert among.p_value == 2 / 64
    assert among.p_corrected == 4 / 64
    assert not among.is_real


def test_seeds_become_mean_and_deviation() -> None:
    aps = np.linspace(0, 0.8, 9)
    seeds = tuple(report(aps + shift, recall=0.8 + shift) for shift in (0.0, 0.1, 0.2))
    standing, other = compare_systems([Contender("three", seeds), *contenders(aps)]).standings
    assert standing.n_seeds == 3
    figure = standing.figures["mAP"]
    assert (figure.value, figure.deviation) == pytest.approx((0.5, 0.1))
    assert standing.figures["recall"].value == pytest.approx(0.9)
    assert standing.figures["recall"].interval is None
    assert other.differences["mAP"].value == pytest.approx(-0.1)


def test_queries_of_one_person_count_as_one() -> None:
    base, people = np.zeros(60), np.repeat([1, 2, 3], 20)
    compared = compare_systems(contenders(base, base + 0.1), units=people)
    assert (compared.n_queries, compared.n_units) == (60, 3)
    assert compared.standings[1].differences["mAP"].p_value == 0.25


def test_json_is_plain_and_has_no_nan() -> None:
    compared = compare_systems(contenders(np.array([0.2, 0.6]), np.array([0.3, 0.9])))
    plain = json.loads(json.dumps(compared.json(), allow_nan=False))
    assert plain["n_queries"] == 2
    first, second = plain["systems"]
    assert first["figures"]["mAP"]["value"] == pytest.approx(0.4)
    assert first["figures"]["mAP"]["deviation"] is None
    assert set(second["differences"]) == {"mAP", "top1", "top5", "top10"}
    assert second["differences"]["mAP"]["is_real"] is False
    assert set(second["differences"]["mAP"]["interval"]) == {"low", "high"}


def test_without_queries_everything_is_undefined_and_nothing_is_real() -> None:
    compared = compare_systems(contenders(NONE, NONE))
    assert compared.json()["systems"][0]["figures"]["mAP"]["value"] is None
    assert not compared.standings[1].differences["mAP"].is_real


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (report(np.ones(3), data="other"), "on set with 11 scenes, the other on other"),
        (report(np.ones(3), options=EvaluationOptions(min_frame_gap=9)), "min_frame_gap=9"),
        (report(np.ones(2)), "3 scored queries, the other 2"),
    ],
)
def test_other_data_rules_and_queries_are_refused(other: EvaluationReport, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        compare_systems([Contender("a", (report(np.ones(3)),)), Contender("b", (other,))])
    assert "a and b" in str(caught.value)


@pytest.mark.parametrize("name", ["queries", "n_relevant"])
def test_other_queries_of_the_same_number_are_refused(name: str) -> None:
    first = report(np.ones(3))
    other = replace(first, search=replace(first.search, **{name: np.array([3, 4, 5])}))
    with pytest.raises(UsageError, match="quer"):
        compare_systems([Contender("a", (first,)), Contender("b", (other,))])


def test_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_systems([])
