"""Compare systems that answered the same queries: figures, intervals, differences to the first.

A difference is called real when chance would rarely make it: p below 0.05 in the randomisation
test, after Holm's correction for the number of systems compared.

Axes: Q queries, M figures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from fdps.errors import UsageError
from fdps.evaluation.report import EvaluationReport
from fdps.evaluation.statistics import (
    FIGURES,
    Interval,
    bootstrap_intervals,
    holm,
    over_seeds,
    query_values,
    randomisation_test,
)

SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One system, trained once or with several seeds.

    Args:
        name: The name that tables print.
        reports: One per seed, at least one; all of the same queries, scored by the same rules.
    """

    name: str
    reports: tuple[EvaluationReport, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one system.

    Args:
        value: The mean over seeds, a fraction; NaN if undefined.
        interval: 95 % over queries, of that mean; ``None`` for detection, which has no queries.
        deviation: Over seeds; NaN for one seed.
    """

    value: float
    interval: Interval | None
    deviation: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The distance of a system from the first one.

    Args:
        value: Its figure minus that of the first.
        interval: 95 % over queries.
        p_value: The p-value of the randomisation test, uncorrected.
        p_corrected: After Holm's correction for the number of systems compared.
    """

    value: float
    interval: Interval
    p_value: float
    p_corrected: float

    @property
    def is_real(self) -> bool:
        """Tell whether chance is an unlikely explanation."""
        return self.p_corrected < SIGNIFICANCE


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of a comparison.

    Args:
        name: Name of the system.
        n_seeds: Runs that its figures are the mean of.
        figures: ``recall``, ``ap`` and those of :data:`~fdps.evaluation.statistics.FIGURES`.
        differences: To the first system, by figure of the search; empty for the first itself.
    """

    name: str
    n_seeds: int
    figures: Mapping[str, Figure]
    differences: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Systems side by side.

    Args:
        data: Name of the scene set.
        n_queries: Queries that every system answered.
        n_units: What was drawn and exchanged: queries, or people.
        standings: One per system, in the order given.
    """

    data: str
    n_queries: int
    n_units: int
    standings: tuple[Standing, ...]

    def json(self) -> dict[str, Any]:
        """Return everything in plain values, with ``None`` where a figure is undefined."""
        systems = []
        for standing in self.standings:
            differences = {
                name: asdict(difference) | {"is_real": difference.is_real}
                for name, difference in standing.differences.items()
            }
            systems.append(asdict(standing) | {"differences": differences})
        plain: dict[str, Any] = _without_nan(
            {
                "data": self.data,
                "n_queries": self.n_queries,
                "n_units": self.n_units,
                "level": 0.95,
                "significance": SIGNIFICANCE,
                "systems": systems,
            }
        )
        return plain


def compare_systems(
    contenders: Sequence[Contender],
    *,
    units: Int64[np.ndarray, " Q"] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare every system with the first one, query by query.

    The value of a query is its mean over the seeds of a system, so a test between systems with
    several seeds is about their average.

    Args:
        contenders: At least one.
        units: Which queries belong together (for example the person id of each), see
            :mod:`fdps.evaluation.statistics`; every query for itself by default.
        seed: Seed of the draws and exchanges.

    Raises:
        UsageError: Nothing to compare, or the systems did not answer the same queries of the same
            data by the same rules; the message says what differs.
    """
    if not contenders:
        raise UsageError("nothing to compare", hint="give at least one run")
    check_comparable(contenders)
    values = [_mean_values(contender) for contender in contenders]
    shown = contenders[0].reports[0]
    return Comparison(
        data=shown.data,
        n_queries=len(shown.search),
        n_units=len(shown.search) if units is None else len(np.unique(units)),
        standings=tuple(
            Standing(contender.name, len(contender.reports), figures, differences)
            for contender, figures, differences in zip(
                contenders,
                [_figures(c, v, units, seed) for c, v in zip(contenders, values, strict=True)],
                _differences(values, units, seed),
                strict=True,
            )
        ),
    )


def check_comparable(contenders: Sequence[Contender]) -> None:
    """Refuse systems that were not asked the same questions.

    Raises:
        UsageError: Data, rules, queries or their positives differ; the message says which.
    """
    all_reports = [(c.name, report) for c in contenders for report in c.reports]
    (first_name, first), *others = all_reports
    for name, report in others:
        reason = _first_reason(first, report)
        if reason:
            raise UsageError(
                f"{first_name} and {name} cannot be compared: {reason}",
                hint="evaluate all of them on the same data with the same options",
            )


def _first_reason(first: EvaluationReport, other: EvaluationReport) -> str:
    if (first.data, first.n_scenes) != (other.data, other.n_scenes):
        return (
            f"one was scored on {first.data} with {first.n_scenes} scenes, the other on "
            f"{other.data} with {other.n_scenes}"
        )
    # Whether a similarity is weighed by the detector's score is a part of a system, not a rule.
    if first.options != replace(other.options, weight_by_score=first.options.weight_by_score):
        return f"one was scored with {first.options}, the other with {other.options}"
    ours, theirs = first.search, other.search
    if len(ours) != len(theirs):
        return f"one has {len(ours)} scored queries, the other {len(theirs)}"
    if not np.array_equal(ours.queries, theirs.queries):
        return "their scored queries are not the same"
    if not np.array_equal(ours.n_relevant, theirs.n_relevant):
        return "the galleries of their queries show the people in other numbers of scenes"
    return ""


def _mean_values(contender: Contender) -> Float64[np.ndarray, "Q M"]:
    stacked = np.stack([query_values(report.search) for report in contender.reports])
    return np.asarray(stacked.mean(axis=0))


def _figures(
    contender: Contender,
    values: Float64[np.ndarray, "Q M"],
    units: Int64[np.ndarray, " Q"] | None,
    seed: int,
) -> dict[str, Figure]:
    detection = [report.detection for report in contender.reports]
    figures = {}
    for name, per_seed in [
        ("recall", [found.recall for found in detection]),
        ("ap", [found.ap for found in detection]),
    ]:
        spread = over_seeds(per_seed)
        figures[name] = Figure(spread.mean, None, spread.deviation)
    intervals = bootstrap_intervals(values, units=units, seed=seed)
    columns = [query_values(report.search) for report in contender.reports]
    for k, name in enumerate(FIGURES):
        spread = over_seeds([_mean(column[:, k]) for column in columns])
        figures[name] = Figure(spread.mean, intervals[k], spread.deviation)
    return figures


def _differences(
    values: Sequence[Float64[np.ndarray, "Q M"]],
    units: Int64[np.ndarray, " Q"] | None,
    seed: int,
) -> list[dict[str, Difference]]:
    """Return one mapping per system; that of the first is empty."""
    deltas = [theirs - values[0] for theirs in values[1:]]
    p_values = [randomisation_test(delta, units=units, seed=seed) for delta in deltas]
    intervals = [bootstrap_intervals(delta, units=units, seed=seed) for delta in deltas]
    rows: list[dict[str, Difference]] = [{} for _ in values]
    for k, name in enumerate(FIGURES):
        corrected = holm([float(p[k]) for p in p_values])
        for i, delta in enumerate(deltas):
            rows[i + 1][name] = Difference(
                _mean(delta[:, k]), intervals[i][k], float(p_values[i][k]), corrected[i]
            )
    return rows


def _mean(values: Float64[np.ndarray, " Q"]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
