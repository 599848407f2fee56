"""The tables that ``fdps compare`` prints."""

from math import isnan
from typing import TYPE_CHECKING

from fdps.names import printable

if TYPE_CHECKING:
    from fdps.evaluation.comparison import Comparison, Difference, Figure

_SHOWN = (("recall", "recall"), ("ap", "AP"), ("mAP", "mAP"), ("top1", "top-1"))
_TESTED = (("mAP", "mAP"), ("top1", "top-1"))


def show(comparison: "Comparison", *, unit: str) -> None:
    """Print figures with their intervals, then the differences to the first system.

    Args:
        comparison: What to print.
        unit: What was drawn and exchanged: queries or people.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    drawn = "" if unit == "queries" else f" of {comparison.n_units} {unit}"
    data = escape(printable(comparison.data))
    table = Table(title=f"{data}, {comparison.n_queries} queries{drawn}, per cent")
    table.add_column("system")
    for _, head in _SHOWN:
        table.add_column(head, justify="right")
    for standing in comparison.standings:
        figures = [figure_text(standing.figures[name]) for name, _ in _SHOWN]
        table.add_row(escape(printable(standing.name)), *figures)
    console.print(table)
    if len(comparison.standings) > 1:
        console.print(_differences(comparison))
    console.print(
        f"In brackets 95 % intervals over {unit}; p from a paired randomisation test, corrected "
        "(Holm) for the number of systems. Below 0.05 a difference counts as real."
    )
    if any(standing.n_seeds == 1 for standing in comparison.standings):
        console.print(
            "One seed says nothing about another training: real here means on other "
            f"{unit} of this kind, with these weights."
        )


def figure_text(figure: "Figure") -> str:
    """A figure in per cent, its deviation over seeds, its interval in brackets below."""
    if isnan(figure.value):
        return "–"
    text = f"{100 * figure.value:.1f}"
    if not isnan(figure.deviation):
        text += f" ± {100 * figure.deviation:.1f}"
    if figure.interval is not None:
        text += f"\n[{100 * figure.interval.low:.1f}, {100 * figure.interval.high:.1f}]"
    return text.replace("[", "\\[")  # no markup


def verdict(difference: "Difference") -> str:
    """Say in words whether a difference is real."""
    if isnan(difference.value):
        return "no queries"
    if not difference.is_real:
        return "chance can explain it"
    return "better" if difference.value > 0 else "worse"


def _differences(comparison: "Comparison") -> object:
    from rich.markup import escape
    from rich.table import Table

    first, *others = comparison.standings
    table = Table(title=f"Difference to {escape(printable(first.name))}, points")
    for column in ("system", "figure", "difference", "95 %", "p", "verdict"):
        is_number = column in ("difference", "95 %", "p")
        table.add_column(column, justify="right" if is_number else "left")
    for standing in others:
        for name, head in _TESTED:
            found = standing.differences[name]
            table.add_row(escape(printable(standing.name)), head, *difference_cells(found))
    return table


def difference_cells(difference: "Difference") -> tuple[str, str, str, str]:
    """Difference and interval in points, p-value, verdict."""
    if isnan(difference.value):
        return "–", "–", "–", verdict(difference)
    low, high = 100 * difference.interval.low, 100 * difference.interval.high
    p = difference.p_corrected
    return (
        f"{100 * difference.value:+.1f}",
        f"{low:+.1f} to {high:+.1f}",
        "<0.001" if p < 0.001 else f"{p:.3f}",
        verdict(difference),
    )
