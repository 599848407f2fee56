"""Write a table as Markdown, as CSV and as LaTeX.

Markdown and LaTeX have one decimal, as papers do. CSV has every digit, in per cent, with a column
for each deviation.
"""

import csv
import io
from math import isnan
from pathlib import Path

from fdps.analysis.page import Table
from fdps.durable import write_file
from fdps.names import printable
from fdps.reproduce.tables import Cell, Measured, PValue, ResultTable

_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "<": r"$<$",
    ">": r"$>$",
}


def write_table(table: ResultTable, folder: Path) -> list[Path]:
    """Write ``NAME.md``, ``NAME.csv`` and ``NAME.tex`` into a folder, and return the files."""
    files = []
    for suffix, text in (
        ("md", as_markdown(table)),
        ("csv", as_csv(table)),
        ("tex", as_latex(table)),
    ):
        files.append(folder / f"{table.name}.{suffix}")
        write_file(files[-1], text.encode())
    return files


def as_markdown(table: ResultTable) -> str:
    """Write a table with its caption above and its note below."""
    lines = [
        f"**{_marked(table.caption)}**",
        "",
        _line(table.heads),
        f"|---|{'---:|' * (len(table.heads) - 1)}",
        *(_line([printed(cell) for cell in row]) for row in table.rows),
        "",
        _marked(table.note),
        "",
    ]
    return "\n".join(lines)


def as_csv(table: ResultTable) -> str:
    """Write numbers in full; what is not known is empty."""
    with_deviation = [
        any(isinstance(row[column], Measured) for row in table.rows)
        for column in range(len(table.heads))
    ]
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    heads = zip(table.heads, with_deviation, strict=True)
    rows.writerow(
        [name for head, both in heads for name in [head, f"{head} deviation"][: 1 + both]]
    )
    for row in table.rows:
        cells = zip(row, with_deviation, strict=True)
        rows.writerow([value for cell, both in cells for value in _values(cell)[: 1 + both]])
    return written.getvalue()


def as_latex(table: ResultTable) -> str:
    """Write a ``table`` environment that needs no package."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.caption)}. {escaped(table.note)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.heads) - 1)}}}",
        r"\hline",
        " & ".join(escaped(head) for head in table.heads) + r" \\",
        r"\hline",
        *(" & ".join(escaped(printed(cell)) for cell in row) + r" \\" for row in table.rows),
        r"\hline",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def as_page_table(table: ResultTable) -> Table:
    """Turn it into a table of an HTML page."""
    rows = tuple(tuple(printed(cell) for cell in row) for row in table.rows)
    return Table(table.caption, table.heads, rows, table.note)


def printed(cell: Cell) -> str:
    """Write a cell as tables print it.

    Example:
        >>> printed(Measured(45.123, 0.345)), printed(45.1), printed(PValue(0.0001))
        ('45.1 ± 0.3', '45.1', '<0.001')
    """
    if isinstance(cell, Measured):
        spread = "" if isnan(cell.deviation) else f" ± {cell.deviation:.1f}"
        return f"{cell.mean:.1f}{spread}"
    if isinstance(cell, PValue):
        if isnan(cell.value):
            return "–"
        return "<0.001" if cell.value < 0.001 else f"{cell.value:.3f}"
    return f"{cell:.1f}" if isinstance(cell, float) else cell


def escaped(text: str) -> str:
    r"""Escape a text for LaTeX.

    Example:
        >>> print(escaped("L_neg & w ± 1 %"))
        L\_neg \& w $\pm$ 1 \%
    """
    return "".join(_LATEX.get(letter, letter) for letter in printable(text))


def _values(cell: Cell) -> tuple[object, object]:
    """Return what CSV has for a cell: a value, and a deviation where there is one."""
    if isinstance(cell, Measured):
        return repr(cell.mean), "" if isnan(cell.deviation) else repr(cell.deviation)
    if isinstance(cell, PValue):
        return "" if isnan(cell.value) else repr(cell.value), ""
    return "" if cell == "–" else cell, ""


def _line(cells: "tuple[str, ...] | list[str]") -> str:
    return f"| {' | '.join(_marked(cell) for cell in cells)} |"


def _marked(text: str) -> str:
    """Escape what Markdown would take for markup."""
    escape = {letter: f"\\{letter}" for letter in "|*_`<"}
    return "".join(escape.get(letter, letter) for letter in printable(text))
