"""Draw a measurement: a bar for each model, made of its stages. Nothing is shown or saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdps.analysis.curves import legend_name, new_figure
from fdps.bench.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {
    "decode": "#b8860b",
    "picture": "#009e73",
    "trunk": "#0072b2",
    "detector": "#0072b2",
    "proposals": "#7b4fa3",
    "regions": "#d55e00",
    "describer": "#d55e00",
    "rest": "#8a929c",
}
"""What does the same in a model of two steps has the same colour."""
_BAR, _FRAME = 0.5, 1.6  # inches of height
_WIDTH = 8.4


def plot_stages(report: Report) -> Figure:
    """Draw how long every stage takes, with the pictures a second behind each bar.

    Args:
        report: What was measured.
    """
    import matplotlib as mpl

    height = _FRAME + _BAR * len(report.rows)
    threads = f"{report.threads} thread{'s' * (report.threads > 1)}"
    figure, axes = new_figure(f"Time of a picture, {threads}", size=(_WIDTH, height))
    seen: set[str] = set()
    for position, row in enumerate(report.rows.values()):
        left = 0.0
        for name, stage in row.stages.items():
            label = "" if name in seen else name
            width = 1000 * stage.seconds
            axes.barh(position, width, left=left, height=0.6, color=_COLOURS[name], label=label)
            seen.add(name)
            left += width
        axes.annotate(
            f"{row.per_second:.3g} pictures/s",
            (left, position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
        )
    longest = max(sum(s.seconds for s in row.stages.values()) for row in report.rows.values())
    axes.set_xlim(0, 1250 * longest)  # milliseconds, and room for the words behind the bars
    with mpl.rc_context({"text.parse_math": False}):  # a name with dollar signs is no formula
        axes.set_yticks(range(len(report.rows)), [legend_name(name) for name in report.rows])
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("median of every stage (ms)")
    figure.legend(loc="outside lower center", ncols=len(seen), frameon=False, fontsize=10)
    return figure
