"""mAP over the size of the gallery (Fig. 5 of the paper): the more is searched, the harder it is.

``compute_gallery_curve`` evaluates, ``plot_gallery_curve`` draws; nothing is shown or saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from fdps.analysis.curves import finish, legend_name, line_style, new_figure
from fdps.analysis.published import AT_100, GALLERY_SIZES, ONE_STEP, TWO_STEP
from fdps.errors import UsageError
from fdps.evaluation import EvaluationReport, evaluate
from fdps.evaluation.statistics import bootstrap_intervals, query_values
from fdps.predictions import Predictions
from fdps.structures import SceneSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL_GAP = 2.1  # least distance of two labels at the right end, in points of mAP


def compute_gallery_curve(
    predictions: Predictions,
    scenes: SceneSet,
    *,
    sizes: Sequence[int] = GALLERY_SIZES,
    **options: Any,
) -> dict[int, EvaluationReport]:
    """Evaluate with galleries of several sizes.

    Args:
        predictions: Predictions for ``scenes``.
        scenes: The annotated scenes.
        sizes: Numbers of scenes per query. A size is left out where the set has not as many scenes
            beside the query's own, or brings lists and none of this size.
        options: Options of :func:`fdps.evaluation.evaluate`, without ``gallery``.

    Returns:
        Reports by size, rising. A gallery is larger than its size where more scenes than that show
        the person, because those always belong to it.

    Raises:
        PredictionsError: The predictions were made on other annotations.
    """
    reports = {}
    for size in sorted(size for size in set(sizes) if size < len(scenes)):
        try:
            reports[size] = evaluate(predictions, scenes, **(options | {"gallery": size}))
        except UsageError:
            continue  # the data set has lists, and none of this size
    return reports


Reports = EvaluationReport | Sequence[EvaluationReport]
"""One evaluation, or that of every seed of a system."""


def plot_gallery_curve(
    curves: Mapping[str, Mapping[int, Reports]], *, with_published: bool = False
) -> Figure:
    """Plot mAP over gallery size, with 95 % intervals over queries.

    Args:
        curves: Reports by gallery size, by name of the system; of several seeds the mean is drawn,
            and the interval is that of the mean.
        with_published: Whether to draw published curves behind; only right on CUHK-SYSU.
    """
    figure, axes = new_figure("Gallery size")
    if with_published:
        _plot_published(axes)
    has_data = False
    for i, (name, reports) in enumerate(curves.items()):
        points = [(n, values) for n, r in sorted(reports.items()) if len(values := _precisions(r))]
        if not points:
            continue
        has_data = True
        sizes = [n for n, _ in points]
        ends = [bootstrap_intervals(values)[0] for _, values in points]
        style = line_style(i)
        axes.plot(
            sizes,
            [100 * values.mean() for _, values in points],
            marker="o",
            label=legend_name(name),
            **style,
        )
        low, high = ([100 * getattr(end, side) for end in ends] for side in ("low", "high"))
        axes.fill_between(sizes, low, high, color=style["color"], alpha=0.15, lw=0)
    axes.set_xscale("log")
    ticks = sorted({n for reports in curves.values() for n in reports} | set(GALLERY_SIZES))
    shown = [n for n in ticks if n in GALLERY_SIZES] if with_published else _spaced(ticks)
    axes.set_xticks(shown, [f"{n:,}" for n in shown])
    axes.minorticks_off()
    axes.set(xlabel="scenes searched per query", ylabel="mAP (%)")
    if with_published:
        lowest = min(float(np.min(drawn.get_ydata())) for drawn in axes.get_lines())
        axes.set_ylim(max(0, lowest - 5), 101)
    elif has_data:
        _limit(axes, curves)
    return finish(figure, axes, has_data or with_published)


def _precisions(reports: Reports) -> Float64[np.ndarray, "Q 1"]:
    """Return the average precision of every query, its mean over seeds."""
    seeds = [reports] if isinstance(reports, EvaluationReport) else reports
    stacked = np.stack([query_values(report.search)[:, :1] for report in seeds])
    return np.asarray(stacked.mean(axis=0))


def _limit(axes: Axes, curves: Mapping[str, Mapping[int, Reports]]) -> None:
    sizes = [n for reports in curves.values() for n in reports]
    axes.set_xlim(min(sizes) * 0.85, max(sizes) * 1.18)
    axes.set_ylim(0, 101)


def _spaced(ticks: Sequence[int]) -> list[int]:
    """Leave out ticks whose labels would touch on a logarithmic axis."""
    kept: list[int] = []
    for tick in ticks:
        if not kept or tick >= 1.6 * kept[-1]:
            kept.append(tick)
    return kept


def _plot_published(axes: Axes) -> None:
    """Plot grey lines with their names at the right end, and the points of the FDPS paper."""
    ends = {}
    for family, style in ((ONE_STEP, "-"), (TWO_STEP, "--")):
        for name, values in family.items():
            axes.plot(GALLERY_SIZES, values, color="#a3abb5", lw=1.1, ls=style, zorder=1)
            ends[name] = values[-1]
    names = sorted(ends, key=ends.__getitem__)
    for name, height in zip(names, spread_labels([ends[n] for n in names]), strict=True):
        axes.annotate(
            name,
            xy=(GALLERY_SIZES[-1], ends[name]),
            xytext=(GALLERY_SIZES[-1] * 1.2, height),
            arrowprops={
                "arrowstyle": "-",
                "color": "#c9ced5",
                "lw": 0.7,
                "shrinkA": 1,
                "shrinkB": 1,
            },
            fontsize=8,
            color="#545d69",
            va="center",
        )
    for (name, value), marker in zip(AT_100.items(), "Ds", strict=True):
        (point,) = axes.plot([100], [value], marker, ms=7, mew=1.6, label=f"{name} (paper)")
        point.set(mfc="none", mec="#1c2026", ls="")
    axes.set_xlim(43, 15_000)


def spread_labels(heights: Sequence[float]) -> list[float]:
    """Move labels apart, each as little as the others allow.

    Args:
        heights: Heights where the labels belong, rising, in points of mAP.

    Returns:
        Heights where they go: as many, rising, at least about two points apart.

    Example:
        >>> spread_labels([50.0, 80.0])
        [50.0, 80.0]
    """
    moved = list(heights)
    for _ in range(500):
        for i in range(len(moved) - 1):
            missing = max(0.0, _LABEL_GAP - (moved[i + 1] - moved[i]))
            moved[i] -= missing / 2
            moved[i + 1] += missing / 2
    return moved
