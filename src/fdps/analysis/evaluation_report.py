"""The report of one evaluation in one HTML file: figures, curves, breakdown, worst queries."""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path

import numpy as np

from fdps.analysis.curves import (
    compute_similarities,
    plot_cmc,
    plot_precision_recall,
    plot_similarities,
)
from fdps.analysis.gallery_curve import plot_gallery_curve
from fdps.analysis.page import Plot, Table, write_page
from fdps.analysis.published import SOURCE, has_published_curves
from fdps.analysis.report import System, query_strip, versions
from fdps.evaluation import EvaluationReport, SearchResult
from fdps.evaluation.breakdowns.breakdown import Breakdown, WrongHits, break_down, wrong_hits
from fdps.evaluation.breakdowns.camera_pairs import CameraPair
from fdps.evaluation.statistics import FIGURES, N_DRAWS, bootstrap_intervals, query_values
from fdps.predictions import Predictions
from fdps.structures import SceneSet

N_WORST = 50
_STRIP_HITS = 5  # hits in one row: fifty strips of ten would make a file of many megabytes
_HEADS = {"mAP": "mAP", "top1": "top-1", "top5": "top-5", "top10": "top-10"}


def write_evaluation_report(
    path: Path,
    report: EvaluationReport,
    predictions: Predictions,
    scenes: SceneSet,
    *,
    name: str = "this system",
    by_size: Mapping[int, EvaluationReport] | None = None,
    pairs: Sequence[CameraPair] = (),
    notes: Mapping[str, str] | None = None,
    n_worst: int = N_WORST,
    n_draws: int = N_DRAWS,
) -> None:
    """Write the HTML report of one evaluation.

    Args:
        path: The file; an older one is replaced whole or not at all.
        report: Result of scoring ``predictions`` on ``scenes``.
        predictions: Predictions that were scored.
        scenes: The annotated scenes, with their picture files.
        name: Name of the system.
        by_size: Reports by gallery size, from
            :func:`~fdps.analysis.gallery_curve.compute_gallery_curve`.
        pairs: Camera pairs from :func:`~fdps.evaluation.breakdowns.camera_pairs.camera_pairs`.
        notes: Facts by name on how the numbers were made; model, rules and versions are added.
        n_worst: Number of worst queries to draw.
        n_draws: Number of bootstrap samples for the intervals.

    Raises:
        PictureError: A scene to draw cannot be decoded.
        MissingDataError: The picture of a scene to draw is gone.
    """
    system, result = System(name, report, predictions), report.search
    gap = report.options.min_frame_gap
    parts = break_down(result, scenes, min_frame_gap=gap)
    wrong, rows = wrong_hits(result), worst_queries(result, n_worst)
    write_page(
        path,
        f"Person search on {report.data}",
        summary=_summary(report, name),
        tables=[figures_table(report, n_draws), *([wrong_hits_table(wrong)] if wrong else [])],
        plots=_plots(system, scenes, by_size or {}),
        breakdowns=[*(_breakdown_table(part) for part in parts), *_pair_tables(pairs)],
        strips=[query_strip(system, row, scenes, top=_STRIP_HITS) for row in rows],
        strips_heading="Worst queries",
        strips_note=f"The {len(rows)} worst of {len(result)} queries by average precision.",
        notes={
            "Model": report.model_hash or "unknown",
            "Rules": _rules(report),
            **(notes or {}),
            "Versions": versions(),
        },
    )


def worst_queries(result: SearchResult, n: int) -> list[int]:
    """Return rows of the ``n`` queries with the lowest average precision, worst first.

    Where precisions tie, the query with more positives to miss comes first, then list order.

    Args:
        result: Search result of scored queries.
        n: Number of rows to choose; fewer, if there are fewer.
    """
    order = np.lexsort((-result.n_relevant, result.average_precisions))
    return [int(row) for row in order[:n]]


def figures_table(report: EvaluationReport, n_draws: int = N_DRAWS) -> Table:
    """Make a table of headline figures in per cent, with intervals over queries for the search."""
    detection, values = report.detection, query_values(report.search)
    rows = [
        ("recall of people", _per_cent(detection.recall), ""),
        ("recall of people with identity", _per_cent(detection.labelled_recall), ""),
        ("average precision of detection", _per_cent(detection.ap), ""),
    ]
    figures = report.json()["search"]
    for name, interval in zip(FIGURES, bootstrap_intervals(values, n_draws=n_draws), strict=True):
        low, high = _per_cent(interval.low), _per_cent(interval.high)
        value = figures[name]
        rows.append(
            (
                f"search {_HEADS[name]}",
                "–" if value is None else _per_cent(value),
                f"{low} to {high}" if low != "–" else "–",
            )
        )
    note = (
        "Per cent. Recall and average precision tell how well people are found, mAP and top-k how "
        "well one is found again. The interval tells how far the figure might move with other "
        f"queries of this kind; {len(report.search)} queries, drawn anew {n_draws:,} times."
    )
    columns = ("figure", "value", "95 % interval")
    return Table(f"{report.data}, {report.n_scenes} scenes", columns, tuple(rows), note)


def wrong_hits_table(rows: Sequence[WrongHits]) -> Table:
    """Make a table of how often a hit is somebody else, in per cent."""
    note = (
        "Wrong: the hit shows somebody else, or nobody. Most people have fewer right scenes than "
        "hits are shown, so even a perfect system shows wrong ones further down. A high "
        "similarity makes a hit likelier, never sure."
    )
    cells = tuple((row.label, f"{row.n_hits:,}", _per_cent(row.wrong)) for row in rows)
    return Table("How often a hit is wrong", ("hits", "number", "wrong %"), cells, note)


def _summary(report: EvaluationReport, name: str) -> str:
    """Say what was compared; the figures themselves say how much of it was found."""
    n_detections, n_queries = report.detection.n_detections, len(report.search)
    searched = (
        f"Each of {n_queries:,} queries looks for a person in a gallery of "
        f"{report.gallery_size:,} scenes."
    )
    return (
        f"In {report.n_scenes:,} scenes {report.detection.n_people:,} people are annotated; {name} "
        f"made {n_detections:,} detection{'' if n_detections == 1 else 's'} there. "
        f"{searched if n_queries else 'There are no queries.'}"
    )


def _rules(report: EvaluationReport) -> str:
    options = report.options
    rules = [f"protocol {options.protocol}", f"detections from score {options.score_threshold:g}"]
    if options.min_frame_gap:
        rules.append(
            f"frames within {options.min_frame_gap} of the query ignored, "
            f"{report.search.n_dropped} queries dropped"
        )
    if options.weight_by_score:
        rules.append("similarity multiplied by the detector score")
    return ", ".join(rules)


def _plots(system: System, scenes: SceneSet, by_size: Mapping[int, EvaluationReport]) -> list[Plot]:
    report, name = system.evaluation, system.name
    threshold = report.options.score_threshold
    pairs = compute_similarities(system.predictions, scenes, min_score=threshold)
    curve = (report.detection.curve_precision, report.detection.curve_recall)
    plots = [
        Plot(
            plot_precision_recall({name: curve}),
            "People found (recall) against how many of the detections are people (precision).",
        ),
        Plot(
            plot_cmc({name: report.search.cmc()} if len(report.search) else {}),
            "Share of the queries whose person is among the first k hits.",
        ),
        Plot(
            plot_similarities(pairs),
            "Similarity of queries to the same and to other people: the less the two overlap, "
            "the better.",
        ),
    ]
    if by_size:
        known = has_published_curves(report.data)
        caption = "mAP over the number of scenes searched, shaded the 95 % interval over queries."
        plots.append(
            Plot(
                plot_gallery_curve({name: by_size}, with_published=known),
                f"{caption} {SOURCE}" if known else caption,
            )
        )
    return plots


def _breakdown_table(part: Breakdown) -> Table:
    rows = tuple(
        (b.label, f"{b.n_queries:,}", _per_cent(b.mean_ap), _per_cent(b.top1)) for b in part.bins
    )
    return Table(f"By {part.by}", (part.by, "queries", "mAP", "top-1"), rows, part.note)


def _pair_tables(pairs: Sequence[CameraPair]) -> list[Table]:
    """Make one table: cameras of the queries down, cameras searched across."""
    if not pairs:
        return []
    origins = sorted({pair.query for pair in pairs})
    searched = sorted({pair.gallery for pair in pairs})
    cells = {
        (pair.query, pair.gallery): f"{_per_cent(pair.mean_ap)} ({pair.n_queries:,})"
        for pair in pairs
    }
    rows = tuple((o, *(cells.get((o, camera), "–") for camera in searched)) for o in origins)
    note = (
        "mAP when the scenes of one camera alone are searched, in brackets the queries whose "
        "person it shows. Down the camera of the query, across the camera searched."
    )
    columns = ("query \\ searched", *searched)
    return [Table("By pair of cameras", columns, rows, note)]


def _per_cent(fraction: float) -> str:
    return "–" if isnan(fraction) else f"{100 * fraction:.1f}"
