"""The report of an evaluation: one or several systems on the same scenes, in one HTML file."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fdps.analysis.curves import (
    compute_similarities,
    plot_cmc,
    plot_precision_recall,
    plot_similarities,
    plot_training,
)
from fdps.analysis.page import Plot, Strip, Table, write_page
from fdps.analysis.strips import compute_hits, draw_strip
from fdps.evaluation import EvaluationReport, SearchResult
from fdps.predictions import Predictions
from fdps.structures import SceneSet

COLUMNS = ("recall", "AP", "mAP", "top-1", "top-5", "top-10")
"""The figures of a system, in the order in which tables print them."""


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """The results of one system, and how they were scored.

    Args:
        name: Name that tables and legends print.
        evaluation: Figures of the system.
        predictions: Predictions that were scored.
        is_given_boxes: Whether the system searches among annotated boxes instead of finding
            people; its detection figures say nothing and are not shown.
    """

    name: str
    evaluation: EvaluationReport
    predictions: Predictions
    is_given_boxes: bool = False


def write_report(
    path: Path,
    title: str,
    systems: Sequence[System],
    scenes: SceneSet,
    *,
    summary: str = "",
    training: Sequence[Mapping[str, int | float]] = (),
    notes: Mapping[str, str] | None = None,
    n_strips: int = 6,
) -> None:
    """Write the HTML report of systems that were scored on the same scenes.

    Args:
        path: The file; an older one is replaced whole or not at all.
        title: Title of the page.
        systems: Systems, at least one; strips and similarities are those of the first.
        scenes: The annotated scenes, with their picture files.
        summary: One or two sentences below the title.
        training: Lines of the log of the first system's run, for the curve of its losses.
        notes: Facts by name on how the numbers were made; versions are added.
        n_strips: Number of queries to draw, from the easiest to the hardest.

    Raises:
        PictureError: A scene to draw cannot be decoded.
        MissingDataError: The picture of a scene to draw is gone.
    """
    first = systems[0]
    rows = spread_queries(first.evaluation.search, n_strips)
    write_page(
        path,
        title,
        summary=summary,
        tables=[results_table(systems)],
        plots=_plots(systems, scenes, training),
        strips=[query_strip(first, row, scenes) for row in rows],
        strips_note=f"{len(rows)} of {len(first.evaluation.search)} queries to {first.name}, from "
        "the best average precision to the worst, in equal steps.",
        notes={**(notes or {}), "Versions": versions()},
    )


def results_table(systems: Sequence[System]) -> Table:
    """Make a table of headline figures in per cent, one row per system; a dash where undefined."""
    rows = []
    for system in systems:
        found = system.evaluation.json()
        fractions = [found["detection"][key] for key in ("recall", "ap")]
        fractions += [found["search"][key] for key in ("mAP", "top1", "top5", "top10")]
        cells = ["–" if value is None else f"{100 * value:.1f}" for value in fractions]
        if system.is_given_boxes:
            cells[:2] = ["given", "given"]
        rows.append((system.name, *cells))
    shown = systems[0].evaluation
    gap, threshold = shown.options.min_frame_gap, shown.options.score_threshold
    ignored = f" frames within ±{gap} of the query ignored," if gap else ""
    note = (
        f"Per cent. Recall and AP tell how well people are found, mAP and top-k how well one is "
        f"found again: {len(shown.search)} queries, {shown.gallery_size} gallery scenes each,"
        f"{ignored} protocol {shown.protocol}, detections from score {threshold:g}."
    )
    caption = f"{shown.data}, {shown.n_scenes} scenes"
    return Table(caption, ("system", *COLUMNS), tuple(rows), note, bold_row=0)


def spread_queries(result: SearchResult, n: int) -> list[int]:
    """Choose queries in equal steps from the best average precision to the worst.

    Args:
        result: Search result of scored queries.
        n: Number of rows to choose; fewer, if there are fewer.

    Returns:
        Rows of ``result``, falling in average precision.
    """
    order = np.argsort(-result.average_precisions, kind="stable")
    steps = np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(np.int64)
    return [int(row) for row in order[steps]]


def _plots(
    systems: Sequence[System], scenes: SceneSet, training: Sequence[Mapping[str, int | float]]
) -> list[Plot]:
    detection = {
        s.name: (s.evaluation.detection.curve_precision, s.evaluation.detection.curve_recall)
        for s in systems
        if not s.is_given_boxes
    }
    cmc = {s.name: s.evaluation.search.cmc() for s in systems if len(s.evaluation.search)}
    first = systems[0]
    threshold = first.evaluation.options.score_threshold
    pairs = compute_similarities(first.predictions, scenes, min_score=threshold)
    plots = [
        Plot(plot_cmc(cmc), "Share of the queries whose person is among the first k hits."),
        Plot(
            plot_similarities(pairs),
            f"How {first.name} tells people apart: the less the two overlap, the better.",
        ),
        Plot(
            plot_precision_recall(detection),
            "People found (recall) against how many of the detections are people (precision).",
        ),
    ]
    if training:
        plots.append(Plot(plot_training(training), f"Losses while {first.name} trained."))
    return plots


def query_strip(system: System, row: int, scenes: SceneSet, *, top: int = 10) -> Strip:
    """Draw one scored query and its best hits.

    Args:
        system: System whose hits are drawn.
        row: Row of the query in the search result of the system.
        scenes: The annotated scenes, with their picture files.
        top: Largest number of hits to draw.

    Raises:
        PictureError: A scene cannot be decoded.
        MissingDataError: The picture of a scene is gone.
    """
    result = system.evaluation.search
    query = scenes.queries[int(result.queries[row])]
    hits = compute_hits(result, row, system.predictions, top=top)
    heading = f"Person {query.person_id}: "
    if hits:
        n_right = sum(judged.is_right is True for judged in hits)
        heading += (
            f"{n_right} of {result.n_relevant[row]} right scenes among the first {len(hits)} hits, "
            f"average precision {result.average_precisions[row]:.2f}"
        )
    else:
        heading += "nobody was found in the gallery"
    pictures = {scene.name: scene.path for scene in scenes.scenes}
    return Strip(heading, draw_strip(query, hits, pictures))


def versions() -> str:
    """Return the versions of Python and of the packages that shape the figures."""
    packages = ("fdps", "torch", "torchvision", "numpy", "pillow")
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    )
