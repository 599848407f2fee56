"""What the parameters do that the paper does not give: σ, β, α and τ of the balanced loss."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fdps.analysis.curves import line_style, new_figure
from fdps.analysis.page import Plot
from fdps.evaluation.statistics import Spread, over_seeds
from fdps.reproduce.plan import PlannedRun
from fdps.reproduce.scores import Scores
from fdps.reproduce.section import Section
from fdps.reproduce.tables import Cell, Measured, ResultTable
from fdps.reproduce.variants import VARIANTS, Variant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Sensitivity: the parameters that the paper leaves open"

_BASE = VARIANTS["fdps_boim"]
_VALUES: dict[str, tuple[float, ...]] = {
    "sigma": (0.3, 0.5, 0.7, 0.9),
    "beta": (0.0, 0.1, 0.2, 0.4),
    "temperature": (1 / 30, 1 / 15, 0.15, 0.3),
}
_SCALES = (0.5, 1.0, 2.0)  # of w: α is -2 ln L plus their logarithm
_NAMES = {"sigma": "σ (Eq. 9)", "beta": "β (Eq. 9)", "scale": "factor of w, α + 2 ln L = ln factor"}
_NAMES["temperature"] = "τ (Eq. 6)"


def variants(n_persons: int) -> list[Variant]:
    """List FDPS under BOIM with one parameter changed at a time.

    Args:
        n_persons: Training identities, L of Eq. 10.
    """
    changed = [_changed(name, value, value) for name, values in _VALUES.items() for value in values]
    # Of w = Σ exp(v·v + α) the default of α makes a mean.
    mean = -2 * math.log(n_persons)
    return changed + [_changed("scale", scale, mean + math.log(scale)) for scale in _SCALES]


def make(scores: Scores, runs: Mapping[str, Sequence[PlannedRun]]) -> Section:
    """Make a table of all, and a figure for each parameter."""
    figures: dict[str, dict[float, list[float]]] = {}
    rows: list[tuple[Cell, ...]] = []
    for key, seeds in runs.items():
        name, value = _read(key)
        reports = [scores.report(run) for run in seeds if run.address not in scores.failed]
        if not reports:
            rows.append((_NAMES[name], value, *["failed"] * 2))
            continue
        figures.setdefault(name, {})[value] = [report.search.mean_ap for report in reports]
        top = over_seeds([report.search.top(1) for report in reports])
        mean = over_seeds(figures[name][value])
        rows.append((_NAMES[name], f"{value:.3g}", _cell(mean), _cell(top)))
    table = ResultTable(
        "sensitivity",
        f"FDPS under BOIM on {scores.bench.name}, one parameter changed at a time",
        ("parameter", "value", "mAP", "top-1"),
        tuple(rows),
        "Per cent, mean ± standard deviation over seeds. All other parameters are those of the "
        "recipe.",
    )
    plots = {
        f"sensitivity_{name}": Plot(plot(_NAMES[name], values), f"mAP over {_NAMES[name]}.")
        for name, values in figures.items()
    }
    return Section(TITLE, (table,), plots, {name: _plain(v) for name, v in figures.items()})


def plot(name: str, values: Mapping[float, Sequence[float]]) -> "Figure":
    """Plot mAP over a parameter: the mean over seeds, its deviation, and every seed.

    Args:
        name: What the abscissa is.
        values: mAP of every seed, by the value of the parameter.
    """
    figure, axes = new_figure(name)
    x = sorted(values)
    spreads = [over_seeds(values[value]) for value in x]
    mean = 100 * np.array([spread.mean for spread in spreads])
    deviation = 100 * np.nan_to_num([spread.deviation for spread in spreads])
    style = line_style(0)
    axes.errorbar(x, mean, yerr=deviation, marker="o", capsize=4, **style)
    for value in x:
        seeds = [100 * seed for seed in values[value]]
        axes.plot([value] * len(seeds), seeds, "x", color="#555555", ms=6)
    axes.set(xlabel=name, ylabel="mAP (%)")
    return figure


def _changed(name: str, value: float, setting: float) -> Variant:
    field = {"scale": "alpha"}.get(name, name)
    return Variant(
        f"{_BASE.key}_{name}_{value:.4g}",
        f"{_BASE.label}, {name} {value:.3g}",
        _BASE.settings,
        (*_BASE.switches, f"loss.{field}={setting!r}"),
    )


def _read(key: str) -> tuple[str, float]:
    name, _, value = key.removeprefix(f"{_BASE.key}_").rpartition("_")
    return name, float(value)


def _cell(spread: Spread) -> Measured:
    return Measured(100 * spread.mean, 100 * spread.deviation)


def _plain(values: Mapping[float, Sequence[float]]) -> dict[str, list[float]]:
    return {f"{value:.4g}": [*seeds] for value, seeds in values.items()}
