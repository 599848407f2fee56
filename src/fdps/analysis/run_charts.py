"""Which values of a run are drawn in which chart, and what a page calls them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fdps.analysis.line_plots import Line, LineChart, draw_chart
from fdps.analysis.run_records import Record

LOSSES = ("rpn_score", "rpn_box", "person", "box", "reid")
REID_TERMS = ("oim", "negative", "w", "n_hard", "positive_similarity", "negative_similarity")
GRADIENTS = ("grad_trunk", "grad_rpn", "grad_heads", "grad_all")
VALIDATION = ("recall", "ap", "mAP", "top1")

FRACTIONS = (*VALIDATION, "data_share")
"""Values in [0, 1] that are shown in percent."""

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


class _Plan(NamedTuple):
    """A chart: which values, and how they are drawn (see :class:`LineChart`)."""

    title: str
    names: tuple[str, ...]
    note: str = ""
    is_log: bool = False
    is_from_zero: bool = False
    is_noisy: bool = False
    cut: str = ""  # from the names in the legend, where the title says it


_BEFORE = (
    _Plan("Detection losses", LOSSES[:-1], is_log=True, is_noisy=True),
    _Plan("Re-ID loss", ("reid", "oim", "negative"), is_from_zero=True, is_noisy=True),
    _Plan("Similarity", REID_TERMS[-2:], is_noisy=True, cut=" similarity"),
)
_VALIDATED = (
    _Plan("Search on validation", ("mAP", "top1"), "%"),
    _Plan("Detection on validation", ("recall", "ap"), "%"),
)
_AFTER = (
    _Plan("Weight w of OIM", ("w",), is_noisy=True),
    _Plan("Hard negatives", ("n_hard",), "per labelled person", is_from_zero=True, is_noisy=True),
    _Plan(
        "Gradient norms",
        GRADIENTS,
        "before clipping",
        is_log=True,
        is_noisy=True,
        cut="gradient of ",
    ),
    _Plan("Learning rate", ("lr",), is_from_zero=True),
    _Plan("Speed", ("images_per_s",), "images per second", is_from_zero=True, is_noisy=True),
    _Plan("Waiting for pictures", ("data_share",), "%", is_from_zero=True, is_noisy=True),
    _Plan("Memory", ("memory_gib",), "GiB", is_from_zero=True),
)


def draw_charts(steps: Sequence[Record], epochs: Sequence[Record]) -> list[str]:
    """Draw every chart that has a value, all over the same axis of epochs.

    Args:
        steps: Lines of the log.
        epochs: Lines of the epochs, for the figures of validation.

    Returns:
        HTML figures.
    """
    x_end = float(max((line.get("epoch", 0) for line in (*steps[-1:], *epochs)), default=0))
    charts = [_chart(plan, steps) for plan in _BEFORE]
    charts += [_chart(plan, epochs) for plan in _VALIDATED]
    charts += [_chart(plan, steps) for plan in _AFTER]
    return [draw_chart(chart, x_name="epoch", x_end=x_end) for chart in charts if chart.lines]


def label(name: str) -> str:
    """What a page calls a value of the log."""
    return _LABELS.get(name, name)


def _chart(plan: _Plan, records: Sequence[Record]) -> LineChart:
    lines = []
    for name in plan.names:
        placed = [line for line in records if name in line and "epoch" in line]
        if placed:
            x = np.array([line["epoch"] for line in placed], dtype=np.float64)
            y = np.array([line[name] for line in placed], dtype=np.float64)
            scale = 100 if name in FRACTIONS else 1
            lines.append(Line(label(name).replace(plan.cut, ""), x, scale * y))
    return LineChart(
        plan.title, tuple(lines), plan.note, plan.is_log, plan.is_from_zero, plan.is_noisy
    )
