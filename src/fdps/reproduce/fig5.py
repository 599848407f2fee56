"""Fig. 5: mAP over the size of the gallery."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fdps.analysis.gallery_curve import plot_gallery_curve
from fdps.analysis.published import GALLERY_SIZES, SOURCE, has_published_curves
from fdps.errors import UsageError
from fdps.evaluation import EvaluationReport
from fdps.reproduce.plan import PlannedRun
from fdps.reproduce.scores import Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = dict[int, tuple[EvaluationReport, ...]]

_SHARES = (16, 8, 4, 2)  # parts of a small set that are searched, where the paper's sizes are few


def gallery_sizes(n_scenes: int) -> list[int]:
    """Choose gallery sizes: those of the paper, and in a small set parts of it.

    Example:
        >>> gallery_sizes(6000), gallery_sizes(160)
        ([50, 100, 500, 1000, 2000, 4000], [10, 20, 40, 50, 80, 100, 159])
    """
    sizes = {size for size in GALLERY_SIZES if size < n_scenes}
    if len(sizes) < 3:
        sizes |= {n_scenes // part for part in _SHARES} | {n_scenes - 1}
    return sorted(size for size in sizes if size > 0)


def compute_curves(
    scores: Scores, runs: Mapping[str, Sequence[PlannedRun]], sizes: Sequence[int]
) -> dict[str, Curve]:
    """Score systems with galleries of several sizes.

    Args:
        scores: Scores runs.
        runs: The seeds of each system, by key.
        sizes: Gallery sizes; one for which the data set brings no lists is left out.

    Returns:
        By label of the system.
    """
    curves: dict[str, Curve] = {}
    for seeds in runs.values():
        finished = [run for run in seeds if run.address not in scores.failed]
        for size in sizes if finished else ():
            try:
                reports = tuple(scores.report(run, size) for run in finished)
            except UsageError:
                continue  # the data set has lists, and none of this size
            curves.setdefault(finished[0].variant.label, {})[size] = reports
    return curves


def plot(curves: Mapping[str, Curve], data: str) -> "tuple[Figure, str]":
    """Plot our curves, on CUHK-SYSU with the published ones behind; return the caption as well."""
    known = has_published_curves(data)
    text = "mAP over the scenes that are searched per query, with 95 % intervals over queries."
    return plot_gallery_curve(curves, with_published=known), f"{text} {SOURCE if known else ''}"


def plot_published() -> "tuple[Figure, str]":
    """Plot the published curves alone, which are those of CUHK-SYSU."""
    return plot_gallery_curve({}, with_published=True), f"On CUHK-SYSU. {SOURCE}"
