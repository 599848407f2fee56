"""Lay out tables, figures, ranked strips and notes as one HTML file.

The file carries its pictures and its style inside; it has no script, loads nothing, and can be
mailed or archived as it is. Every text is escaped.
"""

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from fdps.durable import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESPONSIBLE_USE = (
    "Hits are people of similar appearance, mostly similar clothing: candidates for a human to "
    "check, never proof of an identity. Search only pictures that you are allowed to search."
)

N_OPEN_STRIPS = 10
"""Strips that are seen at once; more would bury what follows."""


_COLUMNS_OF_HALF_A_PAGE = 5


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of figures.

    Args:
        caption: What the rows are.
        columns: Heads of the columns; the first column names the rows.
        rows: Cells as they shall be printed, one tuple per row, as many as columns.
        note: Printed below, for example what a column means.
        is_first_bold: Whether the first row is what the page is about.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    is_first_bold: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """A matplotlib figure and what it says in words."""

    figure: "Figure"
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """A ranked strip, its heading, and its text alternative."""

    image: Image.Image
    heading: str
    description: str


def write_page(
    path: Path,
    title: str,
    *,
    summary: str = "",
    tables: Sequence[Table] = (),
    plots: Sequence[Plot] = (),
    breakdowns: Sequence[Table] = (),
    strips: Sequence[Strip] = (),
    strips_heading: str = "Ranked strips",
    strips_note: str = "",
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write one self-contained HTML file; an older one is replaced whole or not at all.

    Args:
        path: The file; missing folders are made.
        title: Of the page.
        summary: One or two sentences below the title.
        tables: First section.
        plots: Second section.
        breakdowns: Third section, tables side by side where there is room.
        strips: Fourth section; those after the first ten are folded away.
        strips_heading: Of that section.
        strips_note: Which strips these are, printed above them.
        notes: How the numbers were made: command, versions, seed, seconds … by name.
    """
    sections = [
        _section("results", "Results", [_table(table) for table in tables]),
        _section("curves", "Curves", _grid([_plot(plot) for plot in plots])),
        _section("breakdown", "Breakdown", _grid([_cell(table) for table in breakdowns])),
        _section("strips", strips_heading, _strips(strips, strips_note)),
        _section("made", "How these numbers were made", _notes(notes or {})),
    ]
    page = _PAGE.format(
        title=escape(title),
        style=files("fdps.analysis").joinpath("page.css").read_text(encoding="utf-8"),
        summary=escape(summary),
        sections="\n".join(section for section in sections if section),
        responsible_use=escape(RESPONSIBLE_USE),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, page.encode())


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="summary">{summary}</p>
<p class="notice"><strong>Responsible use.</strong> {responsible_use}</p>
</header>
<main>
{sections}
</main>
</body>
</html>
"""


def _section(name: str, heading: str, parts: Sequence[str]) -> str:
    if not parts:
        return ""
    body = "\n".join(parts)
    return f'<section id="{name}">\n<h2>{escape(heading)}</h2>\n{body}\n</section>'


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    kind = ' class="lead"' if table.is_first_bold else ""
    note = f'\n<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.caption)}">\n'
        f"<table{kind}>\n<caption>{escape(table.caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>{note}"
    )


def _cell(table: Table) -> str:
    width = " wide" if len(table.columns) > _COLUMNS_OF_HALF_A_PAGE else ""
    return f'<div class="cell{width}">\n{_table(table)}\n</div>'


def _grid(parts: Sequence[str]) -> list[str]:
    return ['<div class="grid">\n' + "\n".join(parts) + "\n</div>"] if parts else []


def _plot(plot: Plot) -> str:
    drawn = io.BytesIO()
    plot.figure.savefig(drawn, format="svg", metadata={"Date": None})
    caption = escape(plot.caption)
    return (
        f'<figure>\n<img src="{_data_uri(drawn.getvalue(), "svg+xml")}" alt="{caption}">\n'
        f"<figcaption>{caption}</figcaption>\n</figure>"
    )


def _strips(strips: Sequence[Strip], note: str) -> list[str]:
    if not strips:
        return []
    legend = (
        f"<p>{escape(note)} Left the person looked for, then the best hits, each enlarged and in "
        'its scene, with rank and similarity. <span class="right">✓ green</span>: the same '
        'person. <span class="wrong">✗ red</span>: somebody else.</p>'
    )
    parts = [_strip(strip) for strip in strips]
    shown, folded = parts[:N_OPEN_STRIPS], parts[N_OPEN_STRIPS:]
    if not folded:
        return [legend, *shown]
    more = "\n".join(folded)
    return [legend, *shown, f"<details>\n<summary>{len(folded)} more</summary>\n{more}\n</details>"]


def _strip(strip: Strip) -> str:
    drawn = io.BytesIO()
    strip.image.save(drawn, format="JPEG", quality=85)
    heading, width, height = escape(strip.heading), *strip.image.size
    return (
        f"<article>\n<h3>{heading}</h3>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{heading}">\n'
        f'<img class="strip" src="{_data_uri(drawn.getvalue(), "jpeg")}" width="{width}" '
        f'height="{height}" alt="{escape(strip.description)}">\n</div>\n</article>'
    )


def _notes(notes: Mapping[str, str]) -> list[str]:
    if not notes:
        return []
    rows = "\n".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in notes.items()
    )
    return [f"<dl>\n{rows}\n</dl>"]


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"
