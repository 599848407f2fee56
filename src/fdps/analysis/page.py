"""Write tables, figures, ranked strips and notes as one HTML file.

The file carries its pictures and its style inside; it has no script, loads nothing, and can be
mailed or archived as it is. Every text is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from fdps.analysis.rendering import render
from fdps.durable import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESPONSIBLE_USE = (
    "Hits are people of similar appearance, mostly similar clothing: candidates for a human to "
    "check, never proof of an identity. Search only pictures that you are allowed to search."
)

N_OPEN_STRIPS = 10
"""Number of strips that are seen at once; more would bury what follows."""

Kind = Literal["query", "right", "wrong", "unknown"]
"""The relation of a person in a strip to the query."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures.

    Args:
        caption: Text that says what the rows are.
        columns: Heads of the columns; the first column names the rows.
        rows: Cells as they are printed, one tuple per row, as many as columns.
        note: Text below the table, for example what a column means.
        bold_row: Number of the row that the page is about, if there is one.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    bold_row: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """A matplotlib figure and its content in words."""

    figure: "Figure"
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A person in a strip.

    Args:
        image: The person, enlarged and in the scene.
        label: Text below the picture.
        description: The text alternative of the picture.
        kind: Relation to the query, which decides the colour of the frame and the mark at the
            label.
    """

    image: Image.Image
    label: str
    description: str
    kind: Kind = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """A heading, the person looked for, and the hits; they wrap where a window is narrow."""

    heading: str
    tiles: Sequence[Tile]


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
        title: The title of the page.
        summary: One or two sentences below the title.
        tables: Tables of the first section.
        plots: Plots of the second section.
        breakdowns: Tables of the third section, side by side where there is room.
        strips: Strips of the fourth section; those after the first ten are folded away.
        strips_heading: The heading of that section.
        strips_note: Text above the strips that says which ones they are.
        notes: Facts by name on how the numbers were made: command, versions, seed, seconds …
    """
    page = render(
        "report.html",
        title=title,
        summary=summary,
        responsible_use=RESPONSIBLE_USE,
        tables=tables,
        plots=plots,
        breakdowns=breakdowns,
        strips=strips,
        strips_heading=strips_heading,
        strips_note=strips_note,
        n_open_strips=N_OPEN_STRIPS,
        notes=notes or {},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, page.encode())
