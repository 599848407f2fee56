"""Draw curves of a training run as SVG; choose which share a figure, and their names on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float64

from fdps.analysis.curves import LOSSES, line_style, new_figure, running_mean
from fdps.analysis.rendering import inline_svg
from fdps.analysis.run_records import Record

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

REID_TERMS = ("oim", "negative", "w", "n_hard", "positive_similarity", "negative_similarity")
GRADIENTS = ("grad_trunk", "grad_rpn", "grad_heads", "grad_all")
VALIDATION = ("recall", "ap", "mAP", "top1")

FRACTIONS = (*VALIDATION, "data_share")
"""Values in [0, 1] that are shown in percent."""

MAX_POINTS = 400
"""Most points of a curve; more could not be told apart in a figure of this width."""

_SIZE = (5.2, 3.5)  # inches
_FEW = 20  # most points of a curve that each get a marker
_SMOOTHED_SHARE = 0.05  # share of a noisy curve that its running mean is wide
_LEAST_LOG_RATIO = (
    8  # least ratio of the values of a curve at which a log axis shows more than it hides
)

_LABELS = {
    "ap": "AP",
    "top1": "top-1",
    "n_hard": "hard negatives",
    "positive_similarity": "positive similarity",
    "negative_similarity": "negative similarity",
    "lr": "learning rate",
    "grad_trunk": "gradient of trunk",
    "grad_rpn": "gradient of rpn",
    "grad_heads": "gradient of heads",
    "grad_all": "gradient",
    "images_per_s": "images/s",
    "data_share": "waiting for pictures, %",
    "memory_gib": "memory, GiB",
    "seconds": "time so far",
}


class Chart(NamedTuple):
    """A figure of the run page.

    Args:
        svg: The figure as an SVG element.
        description: Its content in words, with the newest value of each curve.
    """

    svg: Markup
    description: str


class _Plan(NamedTuple):
    title: str
    names: tuple[str, ...]
    unit: str
    is_log: bool = False  # the values span about a decade
    is_from_zero: bool = False
    is_noisy: bool = False  # a running mean is drawn, and the values faintly behind it
    is_validation: bool = False
    cut: str = ""  # left out of the names in the legend, where the title says it


_PLANS = (
    _Plan("Detection losses", LOSSES[:-1], "loss", is_log=True, is_noisy=True),
    _Plan(
        "Re-ID loss", ("reid", "oim", "hoim", "negative"), "loss", is_from_zero=True, is_noisy=True
    ),
    _Plan("Similarity", REID_TERMS[-2:], "similarity", is_noisy=True, cut=" similarity"),
    _Plan("Search on validation", ("mAP", "top1"), "%", is_validation=True),
    _Plan("Detection on validation", ("recall", "ap"), "%", is_validation=True),
    _Plan("Weight w of OIM", ("w",), "weight", is_noisy=True),
    _Plan("Hard negatives", ("n_hard",), "per labelled person", is_from_zero=True, is_noisy=True),
    _Plan(
        "Gradient norms",
        GRADIENTS,
        "norm before clipping",
        is_log=True,
        is_noisy=True,
        cut="gradient of ",
    ),
    _Plan("Learning rate", ("lr",), "learning rate", is_from_zero=True),
    _Plan("Speed", ("images_per_s",), "images per second", is_from_zero=True, is_noisy=True),
    _Plan("Waiting for pictures", ("data_share",), "%", is_from_zero=True, is_noisy=True),
    _Plan("Memory", ("memory_gib",), "GiB", is_from_zero=True),
)


def draw_charts(steps: Sequence[Record], epochs: Sequence[Record]) -> list[Chart]:
    """Draw every figure that has a value, all over the same axis of epochs.

    Args:
        steps: Lines of the log.
        epochs: Lines of the epochs, for the figures of validation.
    """
    x_end = float(max((line.get("epoch", 0) for line in (*steps[-1:], *epochs)), default=0)) or 1.0
    own = _Plan("Further losses", further_losses(steps), "loss", is_log=True, is_noisy=True)
    plans = (_PLANS[0], own, *_PLANS[1:])
    charts = (_draw(plan, epochs if plan.is_validation else steps, x_end) for plan in plans)
    return [chart for chart in charts if chart is not None]


def further_losses(records: Sequence[Record]) -> tuple[str, ...]:
    """Name what a system learns beside the losses that all of them have, as far as it was logged.

    A log does not say what is a loss: everything counts that is known to be nothing else.
    """
    known = {"step", "epoch", "people", "seconds", "is_best"}.union(
        *(plan.names for plan in _PLANS)
    )
    named = dict.fromkeys(name for line in records for name in line)
    return tuple(name for name in named if name not in known and not name.startswith("grad_"))


def label(name: str) -> str:
    """Return the name of a value of the log on a page."""
    return _LABELS.get(name, name)


def _draw(plan: _Plan, records: Sequence[Record], x_end: float) -> Chart | None:
    curves = {}
    for name in plan.names:
        points = [(line["epoch"], line[name]) for line in records if {name, "epoch"} <= line.keys()]
        if points:
            x, y = np.array(points, dtype=np.float64).T
            curves[label(name).replace(plan.cut, "")] = x, y * (100 if name in FRACTIONS else 1)
    if not curves:
        return None
    from matplotlib.ticker import LogLocator

    figure, axes = new_figure(plan.title, size=_SIZE, has_margins=True)
    has_legend = len(curves) > 1  # a single curve is named by the title
    figure.subplots_adjust(left=0.2, right=0.97, top=0.87, bottom=0.29 if has_legend else 0.17)
    for number, (name, (x, y)) in enumerate(curves.items()):
        _plot(axes, x, y, name, number, is_noisy=plan.is_noisy)
    axes.set(xlabel="epoch", ylabel=plan.unit, xlim=(0, 1.01 * x_end))
    values = np.concatenate([y for _, y in curves.values()])
    if plan.is_log and _spans_a_decade(values):
        axes.set_yscale("log", subs=(), nonpositive="mask")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.yaxis.set_major_formatter("{x:g}")
    elif plan.is_from_zero and values.min() >= 0:
        axes.set_ylim(bottom=0)
    if has_legend:
        figure.legend(loc="lower center", ncols=4, frameon=False, fontsize=12, columnspacing=1.2)
    told = [
        f"{name}: newest {y[-1]:.3g}, between {y.min():.3g} and {y.max():.3g}."
        for name, (_, y) in curves.items()
    ]
    description = f"{plan.title} ({plan.unit}) over epochs. {' '.join(told)}"
    return Chart(inline_svg(figure), description)


def _plot(
    axes: Axes,
    x: Float64[np.ndarray, " N"],
    y: Float64[np.ndarray, " N"],
    name: str,
    number: int,
    *,
    is_noisy: bool,
) -> None:
    """Draw one curve; neighbouring points of a long one are replaced by their mean."""
    if len(x) > MAX_POINTS:
        x, y = (np.array([p.mean() for p in np.array_split(v, MAX_POINTS)]) for v in (x, y))
    style = line_style(number)
    width = int(_SMOOTHED_SHARE * len(y)) | 1  # an odd width, so that the mean is centred
    if is_noisy and width > 1:
        axes.plot(x, y, color=style["color"], lw=1, alpha=0.3)
        y = running_mean(y, width)
    axes.plot(x, y, label=name, marker="o" if len(x) <= _FEW else None, ms=4, **style)


def _spans_a_decade(values: Float64[np.ndarray, " N"]) -> bool:
    positive = values[values > 0]
    return bool(len(positive) and positive.max() >= _LEAST_LOG_RATIO * positive.min())
