"""Curves of a run: ``compute_*`` returns numbers, ``plot_*`` a matplotlib figure.

Nothing is shown or saved, and pyplot's global state is not touched. matplotlib is imported where a
figure is made, because loading it takes a second. Series differ in colour (a palette that
colour-blind readers can tell apart) and in line style.

Axes in shapes: N detections, K points of a curve, S and D pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int64

from fdps.evaluation.grouping import GroupedDetections, group_by_scene
from fdps.evaluation.matching import mutual_matches
from fdps.names import printable
from fdps.predictions import Predictions
from fdps.structures import UNLABELLED, SceneSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSSES = ("rpn_score", "rpn_box", "person", "box", "reid")
"""The losses of a run, as its log names them."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#7b4fa3", "#555555", "#b8860b")
_STYLES = ("-", "--", "-.", ":", (0, (6, 2, 1, 2, 1, 2)), (0, (1, 2)))
_STYLE: dict[Any, Any] = {
    "font.size": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.edgecolor": "#5b6470",
    "text.color": "#1c2026",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}


@dataclass(frozen=True, slots=True, eq=False)
class PairSimilarities:
    """Similarities of queries to what was found in other scenes.

    Args:
        same: Similarities to detections of the same person.
        different: Similarities to detections of other labelled people; those without identity are
            left out.
    """

    same: Float[np.ndarray, " S"]
    different: Float[np.ndarray, " D"]


def compute_similarities(
    predictions: Predictions, scenes: SceneSet, *, min_score: float = 0.5
) -> PairSimilarities:
    """Collect the similarity of every query to every identified detection of another scene.

    A detection has the identity of the person that it is matched with in the detection figures;
    without a labelled match it is left out.

    Args:
        predictions: Detections and queries.
        scenes: The truth of the same scenes.
        min_score: Least score in [0, 1]; detections below it are ignored.

    Raises:
        PredictionsError: The predictions were made on other annotations.
    """
    found = group_by_scene(predictions, scenes, min_score=min_score)
    ids = _identify(found, scenes)
    row_of = {scene.name: row for row, scene in enumerate(scenes.scenes)}
    same, different = [np.zeros(0)], [np.zeros(0)]
    for query, embedding in zip(scenes.queries, predictions.query_embeddings, strict=True):
        similarity = (found.embeddings @ embedding).astype(np.float64)
        counts = (ids != UNLABELLED) & (found.scenes != row_of[query.scene])
        same.append(similarity[counts & (ids == query.person_id)])
        different.append(similarity[counts & (ids != query.person_id)])
    return PairSimilarities(np.concatenate(same), np.concatenate(different))


def plot_precision_recall(
    curves: Mapping[str, tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]],
) -> Figure:
    """Plot precision over recall of the detector.

    Args:
        curves: Precision and recall, by name of the system.
    """
    figure, axes = new_figure("Detection")
    for i, (name, (precision, recall)) in enumerate(curves.items()):
        if len(recall):
            # Begins at recall 0, so that a detector with a single score has a line too.
            x, y = np.insert(recall, 0, 0.0), np.insert(precision, 0, precision[0])
            axes.plot(x, y, label=legend_name(name), **line_style(i))
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    return finish(figure, axes, any(len(p) for p, _ in curves.values()))


def plot_cmc(curves: Mapping[str, Float[np.ndarray, " K"]]) -> Figure:
    """Plot the cumulative match characteristic: queries answered within the first k hits.

    Args:
        curves: Top-1 to top-K as fractions, by name of the system.
    """
    figure, axes = new_figure("Search")
    for i, (name, cmc) in enumerate(curves.items()):
        axes.plot(
            np.arange(1, len(cmc) + 1),
            cmc,
            marker="o",
            ms=4,
            label=legend_name(name),
            **line_style(i),
        )
    axes.set(xlabel="rank k", ylabel="queries answered within k hits", ylim=(0, 1.02))
    axes.locator_params(axis="x", integer=True)
    return finish(figure, axes, any(len(cmc) for cmc in curves.values()))


def plot_training(
    records: Sequence[Mapping[str, int | float]],
    *,
    names: Sequence[str] = LOSSES,
    smooth: int = 5,
) -> Figure:
    """Plot losses over optimiser steps, from the lines of a run's ``log.jsonl``.

    Args:
        records: One mapping per line, with ``step`` and values by name.
        names: Names of the values to draw; one that no line has is left out.
        smooth: Number of lines in the centred running mean that is drawn, at least 1.
    """
    figure, axes = new_figure("Training")
    for i, name in enumerate(names):
        points = [(line["step"], line[name]) for line in records if name in line]
        if points:
            steps, values = np.array(points, dtype=np.float64).T
            axes.plot(steps, running_mean(values, smooth), label=legend_name(name), **line_style(i))
    axes.set(xlabel="step", ylabel="loss")
    if any(line.get(name, 0) > 0 for line in records for name in names):
        axes.set_yscale("log")  # shows a box loss of 0.01 and a re-ID loss of 10 in one picture
    return finish(figure, axes, bool(axes.get_lines()))


def plot_similarities(
    pairs: PairSimilarities,
    *,
    n_bins: int = 40,
    names: tuple[str, str] = ("same person", "other people"),
    limit: float | None = None,
) -> Figure:
    """Plot a histogram of similarities: the same person against others, each summing to one.

    Args:
        pairs: Similarities from :func:`compute_similarities`.
        n_bins: Number of bins over the range that occurs.
        names: Names of the two in the legend.
        limit: Similarity to draw a line at.
    """
    figure, axes = new_figure("Similarity")
    both = np.concatenate([pairs.same, pairs.different])
    if len(both):
        edges = np.linspace(both.min(), both.max() + 1e-9, n_bins + 1)
        series = [(names[0], pairs.same, 2), (names[1], pairs.different, 1)]
        for name, values, colour in series:
            share = np.histogram(values, edges)[0] / max(len(values), 1)
            label = f"{name} ({len(values):,})"
            axes.stairs(share, edges, fill=True, alpha=0.25, color=_COLOURS[colour])
            axes.stairs(share, edges, label=label, color=_COLOURS[colour], ls=_STYLES[colour - 1])
    if limit is not None:
        axes.axvline(limit, color=_COLOURS[4], ls=":", lw=2.2, label=f"limit {limit:.2f}")
    axes.set(xlabel="similarity (inner product)", ylabel="share of pairs")
    return finish(figure, axes, bool(len(both)))


def _identify(found: GroupedDetections, scenes: SceneSet) -> Int64[np.ndarray, " N"]:
    ids = np.full(len(found), UNLABELLED, dtype=np.int64)
    for row, scene in enumerate(scenes.scenes):
        matches = mutual_matches(found.boxes[found.of(row)], scene.boxes)
        ids[found.of(row)][matches >= 0] = scene.person_ids[matches[matches >= 0]]
    return ids


def running_mean(values: Float[np.ndarray, " N"], width: int) -> Float[np.ndarray, " N"]:
    """Return the centred mean over so many values; at the ends over those that exist."""
    kernel = np.ones(min(width, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")


def line_style(index: int) -> dict[str, Any]:
    """Return the colour and the style of the series of that number."""
    style = _STYLES[index % len(_STYLES)]
    return {"color": _COLOURS[index % len(_COLOURS)], "ls": style, "lw": 2.2}


def new_figure(
    title: str,
    *,
    size: tuple[float, float] = (6.4, 4.2),
    has_margins: bool = False,
) -> tuple[Figure, Axes]:
    """Make an empty figure.

    Args:
        title: Text above the axes.
        size: Width and height in inches.
        has_margins: Whether the caller sets the margins, which saves half the time, that of finding
            them.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(
            figsize=size, layout=None if has_margins else "constrained", facecolor="white"
        )
        axes = figure.add_subplot()
        axes.set_title(title)
    return figure, axes


def legend_name(name: str) -> str:
    """Write a system's name for a legend, where matplotlib would hide a leading underscore."""
    return ("\u200b" if name.startswith("_") else "") + printable(name)  # a space without width


def finish(figure: Figure, axes: Axes, has_data: bool, *, columns: int = 3) -> Figure:
    """Add the legend, in so many columns, or say that there is nothing to draw."""
    import matplotlib as mpl

    if has_data:
        # Below the axes no curve runs. A name with dollar signs is no formula.
        with mpl.rc_context({"text.parse_math": False}):
            figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=12)
    else:
        axes.text(0.5, 0.5, "no data", ha="center", va="center", transform=axes.transAxes)
    return figure
