"""Write what was reproduced: a file for every table and figure, and one page of all."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdps.analysis.page import Plot
from fdps.analysis.rendering import render, svg_file
from fdps.durable import write_file
from fdps.reproduce.section import Section
from fdps.reproduce.table_files import as_page_table, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, FIGURES_FILE = "index.html", "figures.json"
_DPI = 160


def write_sections(
    sections: Mapping[str, Section],
    folder: Path,
    *,
    title: str,
    summary: str,
    notes: Mapping[str, str],
    problems: Sequence[str] = (),
) -> Path:
    """Write the files of all sections, and the page that gathers them.

    Args:
        sections: By name of the target.
        folder: Folder to write to, made if it is missing.
        title: Title of the page.
        summary: One or two sentences below it.
        notes: How the numbers were made, by name.
        problems: What could not be made, and why.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections.values():
        for table in section.tables:
            write_table(table, folder)
        for name, plot in section.plots.items():
            write_figure(plot.figure, folder, name)
    facts = {name: dict(section.facts) for name, section in sections.items()}
    facts["made"] = dict(notes)
    write_file(folder / FIGURES_FILE, json.dumps(facts, indent=1).encode() + b"\n")
    page = render(
        "reproduction.html",
        title=title,
        summary=summary,
        sections={name: _on_page(section) for name, section in sections.items()},
        notes=notes,
        problems=problems,
    )
    write_file(folder / PAGE, page.encode())
    return folder / PAGE


def write_figure(figure: "Figure", folder: Path, name: str) -> None:
    """Write a figure as ``NAME.svg`` and ``NAME.png``; equal figures give equal bytes."""
    write_file(folder / f"{name}.svg", svg_file(figure))
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI, metadata={"Software": None})
    write_file(folder / f"{name}.png", drawn.getvalue())


def _on_page(section: Section) -> dict[str, Any]:
    plots: list[Plot] = [*section.plots.values()]
    tables = [as_page_table(table) for table in section.tables]
    return {"title": section.title, "tables": tables, "plots": plots}
