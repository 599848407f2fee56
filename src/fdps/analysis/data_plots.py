"""Histograms of a data set: how crowded its scenes are, how large people, how often seen.

matplotlib is imported where a figure is made, because loading it takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fdps.analysis.page import Plot, Table, write_page
from fdps.data.statistics import (
    Spread,
    Statistics,
    boxes_per_identity,
    boxes_per_image,
    count,
    heights,
)
from fdps.durable import written_whole
from fdps.structures import SceneSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#7b4fa3")
_N_BINS = 30
_HISTOGRAMS = {
    "boxes_per_image": (boxes_per_image, "people per picture", "pictures"),
    "heights": (heights, "height of a person, pixels", "people"),
    "boxes_per_identity": (boxes_per_identity, "pictures per identity", "identities"),
}


def plot_histograms(splits: Mapping[str, SceneSet]) -> dict[str, Figure]:
    """Draw a histogram of each kind with all splits in it.

    Args:
        splits: Scene set of each split.
    """
    # Counting needs none of what curves are computed with.
    from fdps.analysis.curves import finish, legend_name, new_figure

    figures = {}
    for name, (values_of, unit, what) in _HISTOGRAMS.items():
        values = {split: values_of(scenes) for split, scenes in splits.items()}
        figure, axes = new_figure(f"{what} by {unit}".capitalize())
        highest = max((float(v.max()) for v in values.values() if v.size), default=1.0)
        bins = np.linspace(0.0, max(highest, 1.0), _N_BINS + 1)
        for (split, drawn), colour in zip(
            values.items(), _COLOURS * (1 + len(values) // 4), strict=False
        ):
            axes.hist(drawn, bins=bins.tolist(), histtype="step", linewidth=2, color=colour)
            label = legend_name(f"{split} ({drawn.size:,})")
            axes.plot([], [], color=colour, linewidth=2, label=label)
        axes.set_xlabel(unit)
        axes.set_ylabel(what)
        figures[name] = finish(figure, axes, bool(values))
    return figures


def write_data_page(folder: Path, name: str, splits: Mapping[str, SceneSet]) -> list[Path]:
    """Write a PNG for each histogram and one HTML page with all of them.

    Args:
        folder: Folder to write to, made if it is missing.
        name: Name of the data set.
        splits: Scene set of each split.

    Returns:
        The files, the page first.
    """
    figures = plot_histograms(splits)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "statistics.html"]
    for kind, figure in figures.items():
        files.append(folder / f"{kind}.png")
        with written_whole(files[-1]) as aside:
            figure.savefig(aside, format="png", dpi=120, metadata={"Software": None})
    counted = {split: count(scenes) for split, scenes in splits.items()}
    write_page(
        files[0],
        f"{name}: what is in it",
        summary=", ".join(f"{split}: {s.images:,} pictures" for split, s in counted.items()),
        tables=(statistics_table(counted),),
        plots=tuple(
            Plot(figure, f"{_HISTOGRAMS[kind][2]} by {_HISTOGRAMS[kind][1]}")
            for kind, figure in figures.items()
        ),
    )
    return files


def statistics_table(
    counted: Mapping[str, Statistics], published: Mapping[str, Mapping[str, int]] | None = None
) -> Table:
    """Make a table of the counts: a row for each count, a column for each split.

    Args:
        counted: Counts of each split.
        published: Published counts of the known data set, by split; such a split gets a second
            column.
    """
    known = published or {}
    columns = [""]
    for split in counted:
        columns += [split, "published"] if known.get(split) else [split]
    rows = []
    for label, field in _ROWS.items():
        cells = [label]
        for split, statistics in counted.items():
            value = getattr(statistics, field)
            cells.append(_spread(value) if isinstance(value, Spread) else f"{value:,}")
            if known.get(split):
                stated = known[split].get(field)
                cells.append("" if stated is None else f"{stated:,}")
        rows.append(tuple(cells))
    return Table(
        "Counts",
        tuple(columns),
        tuple(rows),
        note="Ranges: smallest – median – largest, and the mean. Heights in pixels.",
    )


_ROWS = {
    "images": "images",
    "boxes": "boxes",
    "identities": "identities",
    "labelled boxes": "labelled",
    "unlabelled boxes": "unlabelled",
    "queries": "queries",
    "cameras": "cameras",
    "boxes per image": "boxes_per_image",
    "heights": "heights",
    "boxes per identity": "boxes_per_identity",
}


def _spread(spread: Spread) -> str:
    return f"{spread.low:.0f} – {spread.median:.0f} – {spread.high:.0f}, {spread.mean:.1f}"
