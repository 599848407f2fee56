"""Learn at how few proposals a network may look before it finds people worse.

Most of a picture's time goes into proposals that show nobody. How sure the proposal network has to
be, and how much proposals may overlap, is learnt here: of the limits in a small grid, those that
leave the fewest regions and cost no more than a given part of mAP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from fdps.engine.validation import search_figures
from fdps.errors import UsageError
from fdps.pictures import read_picture
from fdps.searcher import PersonSearcher
from fdps.structures import RegionLimits, SceneSet

MIN_SCORES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9)
MAX_IOUS = (0.7, 0.6, 0.5, 0.4)
LARGEST_LOSS = 0.001
_COUNTED = 100  # pictures whose proposals are counted, spread over all of them
_DIFFERENT = 0.85  # of two limits with nearly as many regions, one is tried


@dataclass(frozen=True, slots=True)
class Trial:
    """What a network finds under some limits.

    Args:
        limits: Which proposals were looked at.
        n_regions: How many of them, mean over pictures.
        figures: Those of :func:`~fdps.engine.validation.search_figures`.
    """

    limits: RegionLimits
    n_regions: float
    figures: dict[str, float]


def learn_regions(
    searcher: PersonSearcher,
    scenes: SceneSet,
    *,
    largest_loss: float = LARGEST_LOSS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Trial]:
    """Find the limits that leave the fewest regions at little loss.

    Args:
        searcher: A network; its limits are those that others are compared with, and stay.
        scenes: A split with queries; to be fair, neither trained nor tested on.
        largest_loss: Of mAP, as a fraction.
        progress: Called with the number of trials done and the most that there may be.

    Returns:
        The trial without further limits, then those that lose too much, with ever more regions,
        and last the one to take, which is the first again if nothing can be saved.

    Raises:
        UsageError: The scenes have no queries.
    """
    if not scenes.queries:
        raise UsageError(
            f"{scenes.name} has no queries, so what regions are worth cannot be measured on it",
            hint="name a split in which people are searched for: --split",
        )
    before = searcher.regions
    grid = [RegionLimits(*pair) for pair in product(MIN_SCORES, MAX_IOUS)]
    stricter = [
        limits
        for limits in grid
        if limits.min_score >= before.min_score and limits.max_iou <= before.max_iou
    ]
    n_plain, *counts = mean_regions(searcher, scenes, [before, *stricter])
    candidates = _spread(stricter, counts, n_plain)
    trials = [Trial(before, n_plain, search_figures(searcher, scenes))]
    least = trials[0].figures["mAP"] - largest_loss
    try:
        for n_done, (searcher.regions, n_regions) in enumerate(candidates, start=1):
            if progress is not None:
                progress(n_done, len(candidates) + 1)
            figures = search_figures(searcher, scenes)
            trials.append(Trial(searcher.regions, n_regions, figures))
            if figures["mAP"] >= least:
                return trials
    finally:
        searcher.regions = before
    return [*trials, trials[0]]


def mean_regions(
    searcher: PersonSearcher, scenes: SceneSet, limits: Sequence[RegionLimits]
) -> list[float]:
    """Count the regions of a picture under each of several limits, mean over pictures."""
    step = max(len(scenes) // _COUNTED, 1)
    counts = [
        searcher.n_regions(read_picture(scene.path), limits) for scene in scenes.scenes[::step]
    ]
    return [float(mean) for mean in np.mean(counts, axis=0)]


def _spread(
    limits: list[RegionLimits], counts: list[float], most: float
) -> list[tuple[RegionLimits, float]]:
    """Sort limits by how many regions they leave, and drop those that save nearly nothing."""
    kept: list[tuple[RegionLimits, float]] = []
    for one, count in sorted(zip(limits, counts, strict=True), key=lambda pair: -pair[1]):
        if count <= _DIFFERENT * (kept[-1][1] if kept else most):
            kept.append((one, count))
    return kept[::-1]
