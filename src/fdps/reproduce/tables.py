"""The tables of the paper with our figures beside the paper's.

A cell is a text, a number as the paper prints it, a mean over seeds with its deviation, or a
p-value; :mod:`fdps.reproduce.table_files` writes them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from fdps.evaluation.comparison import Comparison, Standing
from fdps.reproduce import paper
from fdps.reproduce.bench import Bench
from fdps.reproduce.variants import Variant

FIGURES = {"recall": "recall", "ap": "AP", "mAP": "mAP", "top1": "top-1"}
"""The figures of a comparison that tables show, and what the paper calls them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure in per cent: the mean over seeds, and its deviation; NaN for one seed."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class PValue:
    """The p-value of a difference to the base, corrected for the number of systems."""

    value: float


Cell = str | float | Measured | PValue


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table to write.

    Args:
        name: Name of its files.
        caption: What the rows are.
        heads: Heads of the columns.
        rows: As many cells as heads each; the first is a text.
        note: How the numbers were made.
    """

    name: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str


def make_table(
    name: str,
    caption: str,
    variants: Sequence[Variant],
    comparison: Comparison,
    keys: Sequence[str],
    bench: Bench,
) -> ResultTable:
    """Make Table 1 or 2: four figures of ours, then the paper's, then p-values.

    Args:
        name: ``table1`` or ``table2``.
        caption: What the rows are.
        variants: The rows, in their order.
        comparison: Of those that have finished.
        keys: Keys of the variants in the order of the comparison.
        bench: The data.
    """
    reported = paper.TABLE_1 if name == "table1" else paper.TABLE_2
    where = "CUHK-SYSU" if name == "table1" else "PRW"
    figures = [*FIGURES.values()]
    heads = ("method", *figures, *(f"paper {figure}" for figure in figures), *_P_HEADS)
    return ResultTable(
        name,
        caption,
        heads,
        _rows(variants, comparison, keys, lambda key: [*reported[key]]),
        _note(comparison, bench, f"The paper's figures are of {where}."),
    )


def make_table_3(
    variants: Sequence[Variant], comparison: Comparison, keys: Sequence[str], bench: Bench
) -> ResultTable:
    """Make Table 3: every system, with the figures that the paper compares."""

    def published(key: str) -> list[Cell]:
        row = paper.TABLE_3.get(key)
        return ["–"] * 4 if row is None else [*row.cuhk_sysu, *row.prw]

    heads = (
        "method",
        *FIGURES.values(),
        *(f"paper {figure}, {where}" for where in ("CUHK-SYSU", "PRW") for figure in _SEARCH),
        *_P_HEADS,
    )
    rows = _rows(variants, comparison, keys, published)
    caption = f"Every system on {bench.name}, and the figures that the paper compares"
    return ResultTable("table3", caption, heads, rows, _note(comparison, bench, ""))


_SEARCH = ("mAP", "top-1")
_P_HEADS = ("p of mAP", "p of top-1")


def _rows(
    variants: Sequence[Variant],
    comparison: Comparison,
    keys: Sequence[str],
    reported: Callable[[str], Sequence[Cell]],
) -> tuple[tuple[Cell, ...], ...]:
    found = dict(zip(keys, comparison.standings, strict=True))
    return tuple(
        (v.label, *_measured(found, v.key), *reported(v.key), *_p_values(found.get(v.key)))
        for v in variants
    )


def _measured(found: Mapping[str, Standing], key: str) -> list[Cell]:
    if key not in found:
        return ["failed"] * len(FIGURES)
    figures = [found[key].figures[name] for name in FIGURES]
    return [
        "–" if isnan(figure.value) else Measured(100 * figure.value, 100 * figure.deviation)
        for figure in figures
    ]


def _p_values(standing: Standing | None) -> list[Cell]:
    if standing is None:
        return ["–"] * len(_P_HEADS)
    if not standing.differences:
        return ["base"] * len(_P_HEADS)
    return [PValue(standing.differences[name].p_corrected) for name in ("mAP", "top1")]


def _note(comparison: Comparison, bench: Bench, more: str) -> str:
    seeds = sorted({standing.n_seeds for standing in comparison.standings})
    counted = " or ".join(str(n) for n in seeds)
    size = "all other scenes" if bench.gallery == "all" else f"{bench.gallery} scenes"
    text = (
        f"Per cent on {comparison.data}: mean ± standard deviation over {counted} seed"
        f"{'' if seeds == [1] else 's'}, {comparison.n_queries} queries, galleries of {size}. p: "
        f"paired randomisation test over queries against {comparison.standings[0].name}, of the "
        "mean over seeds, corrected by Holm."
    )
    return f"{text} {more}".strip()
