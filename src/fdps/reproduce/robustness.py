"""How search suffers from bad pictures: every corruption at every severity."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fdps.analysis.curves import finish, legend_name, line_style, new_figure
from fdps.analysis.page import Plot
from fdps.data.corruptions import CORRUPTIONS, SEVERITIES
from fdps.evaluation import evaluate
from fdps.evaluation.statistics import Spread, over_seeds
from fdps.predictions import load_predictions
from fdps.reproduce.corrupted import file_of
from fdps.reproduce.corrupted import files as files
from fdps.reproduce.plan import PlannedRun
from fdps.reproduce.scores import Scores
from fdps.reproduce.section import Section
from fdps.reproduce.tables import Cell, Measured, ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Robustness: 18 corruptions at 5 severities"
VARIANTS = ("fdps", "fdps_boim")


def make(scores: Scores, runs: Mapping[str, Sequence[PlannedRun]]) -> Section:
    """Score every corruption: a table for each system, and one curve of means for each."""
    tables, means = [], {}
    for key, seeds in runs.items():
        finished = [run for run in seeds if run.address not in scores.failed]
        if finished:
            figures = _figures(scores, finished)
            tables.append(_table(key, finished, figures, scores))
            means[finished[0].variant.label] = _means(figures, finished, scores)
    plot = Plot(
        plot_means(means),
        "Mean over 18 corruptions of queries and gallery alike; severity 0 are the pictures as "
        "they are.",
    )
    facts = {name: [spread.mean for spread in values] for name, values in means.items()}
    return Section(TITLE, tuple(tables), {"robustness": plot}, facts)


def plot_means(means: Mapping[str, Sequence[Spread]]) -> "Figure":
    """Plot mAP over severity, the mean over corruptions; each with its deviation over seeds."""
    figure, axes = new_figure("Corrupted pictures")
    for number, (name, values) in enumerate(means.items()):
        severity, mean = np.arange(len(values)), 100 * np.array([v.mean for v in values])
        deviation = 100 * np.nan_to_num([v.deviation for v in values])
        style = line_style(number)
        axes.plot(severity, mean, marker="o", label=legend_name(name), **style)
        low, high = mean - deviation, mean + deviation
        axes.fill_between(severity, low, high, color=style["color"], alpha=0.15, lw=0)
    axes.set(xlabel="severity", ylabel="mAP (%), mean over corruptions")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True)
    return finish(figure, axes, bool(means), columns=2)


Figures = dict[tuple[str, int], list[float]]
"""mAP of every seed, by corruption and severity."""


def _figures(scores: Scores, runs: Sequence[PlannedRun]) -> Figures:
    figures: Figures = {}
    for run in runs:
        for name in CORRUPTIONS:
            for severity in SEVERITIES:
                report = evaluate(
                    load_predictions(run.folder / file_of(name, severity)),
                    scores.scenes,
                    gallery=scores.bench.gallery,
                    weight_by_score=run.variant.weight_by_score,
                )
                figures.setdefault((name, severity), []).append(report.search.mean_ap)
    return figures


def _means(figures: Figures, runs: Sequence[PlannedRun], scores: Scores) -> list[Spread]:
    clean = [scores.report(run).search.mean_ap for run in runs]
    spreads = [over_seeds(clean)]
    for severity in SEVERITIES:
        each = np.mean([figures[name, severity] for name in CORRUPTIONS], axis=0)
        spreads.append(over_seeds([float(value) for value in each]))
    return spreads


def _table(key: str, runs: Sequence[PlannedRun], figures: Figures, scores: Scores) -> ResultTable:
    label = runs[0].variant.label
    clean = over_seeds([scores.report(run).search.mean_ap for run in runs])
    rows: list[tuple[Cell, ...]] = [("none", _cell(clean), *["–"] * len(SEVERITIES))]
    for name in CORRUPTIONS:
        each = [over_seeds(figures[name, severity]) for severity in SEVERITIES]
        mean = np.mean([figures[name, severity] for severity in SEVERITIES], axis=0)
        spread = over_seeds([float(value) for value in mean])
        rows.append((name.replace("_", " "), _cell(spread), *map(_cell, each)))
    return ResultTable(
        f"robustness_{key}",
        f"{label} on corrupted pictures of {scores.bench.name}",
        ("corruption", "mean", *(f"severity {severity}" for severity in SEVERITIES)),
        tuple(rows),
        f"mAP in per cent, mean ± standard deviation over {len(runs)} seeds; queries and gallery "
        "are corrupted alike.",
    )


def _cell(spread: Spread) -> Measured:
    return Measured(100 * spread.mean, 100 * spread.deviation)
