"""The details of a JSON report: intervals, breakdowns, wrong hits."""

from dataclasses import asdict
from math import isnan
from typing import Any

from fdps.evaluation.breakdowns.breakdown import break_down, wrong_hits
from fdps.evaluation.report import EvaluationReport
from fdps.evaluation.statistics import FIGURES, N_DRAWS, bootstrap_intervals, query_values
from fdps.structures import SceneSet


def intervals(
    report: EvaluationReport, *, n_draws: int = N_DRAWS, seed: int = 0
) -> dict[str, list[float] | None]:
    """Low and high end of the 95 % interval of every search figure; ``None`` without queries.

    Args:
        report: One evaluation.
        n_draws: Bootstrap draws, at least 1.
        seed: Seed of the draws.
    """
    found = bootstrap_intervals(query_values(report.search), n_draws=n_draws, seed=seed)
    return {
        name: None if isnan(interval.low) else [interval.low, interval.high]
        for name, interval in zip(FIGURES, found, strict=True)
    }


def details(
    report: EvaluationReport, scenes: SceneSet, *, n_draws: int = N_DRAWS
) -> dict[str, Any]:
    """Intervals, breakdowns and wrong hits in plain values.

    Args:
        report: The report of scoring predictions on ``scenes``.
        scenes: The annotations.
        n_draws: Bootstrap draws, at least 1.
    """
    parts = break_down(report.search, scenes, min_frame_gap=report.options.min_frame_gap)
    return {
        "intervals": intervals(report, n_draws=n_draws),
        "breakdown": [part.json() for part in parts],
        "wrong_hits": [asdict(row) for row in wrong_hits(report.search)],
    }
