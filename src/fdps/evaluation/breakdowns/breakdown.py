"""Figures of the search by height, camera and gap, and a look at its wrong hits.

Every breakdown splits the scored queries into bins; bins without a query are left out.

Axes: Q queries scored, N hits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from fdps.evaluation.query_lists import in_list
from fdps.evaluation.search import SearchResult
from fdps.structures import Query, SceneSet

HEIGHTS = (50, 100, 150, 200, 300, 400)
"""Edges of the bins of person height, in pixels of the picture."""
GAPS = (25, 100, 250, 1_000, 5_000)
"""Edges of the bins of the gap to the nearest scene with the person, in frame numbers."""
POSITIVES = (2, 3, 6, 11, 21, 51)
"""Edges of the bins of the number of gallery entries with the person."""
SIMILARITIES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Edges of the bins of the similarity of the first hit."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The queries of one kind.

    Args:
        label: Which they are.
        n_queries: How many, at least 1.
        mean_ap: Their mAP.
        top1: Share of them whose first hit is right.
    """

    label: str
    n_queries: int
    mean_ap: float
    top1: float


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All queries, split by one property.

    Args:
        by: The property.
        bins: Every query that the property is known of is in one of them.
        note: How the property was measured.
    """

    by: str
    bins: tuple[Bin, ...]
    note: str = ""

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class WrongHits:
    """The share of hits that are somebody else.

    Args:
        label: Which hits.
        n_hits: How many there are, at least 1.
        wrong: Share of them that show somebody else.
    """

    label: str
    n_hits: int
    wrong: float


def break_down(
    result: SearchResult,
    scenes: SceneSet,
    *,
    min_frame_gap: int = 0,
) -> tuple[Breakdown, ...]:
    """Split the scored queries by everything that the data set tells.

    Args:
        result: The result of scoring predictions on ``scenes``.
        scenes: The annotations. A list of queries by the name of ``occlusion`` tells which show an
            occluded person; scenes themselves have no such label.
        min_frame_gap: That of the evaluation: nearer scenes of the query's camera do not count.

    Returns:
        By height and number of positives always; by occlusion, camera and gap where known. A
        breakdown with a single bin would repeat the headline and is left out.
    """
    queries = [scenes.queries[row] for row in result.queries]
    gaps = _Gaps(scenes, queries, min_frame_gap)
    parts = [_by_height(result, queries), _by_positives(result)]
    is_occluded = in_list(scenes, "occlusion")
    if is_occluded is not None:
        kind = is_occluded[result.queries].astype(np.int64)
        parts.append(_split("occlusion", result, kind, ["not occluded", "occluded"]))
    if gaps.has_cameras:
        parts += [_by_camera(result, gaps), _by_positive_cameras(result, gaps)]
    if gaps.has_frames:
        parts.append(_by_gap(result, gaps))
    return tuple(part for part in parts if len(part.bins) > 1)


def wrong_hits(result: SearchResult) -> tuple[WrongHits, ...]:
    """Count how often the hits that a user would look at show somebody else.

    The first hit, the first five and ten (of which most people have fewer right ones: that is part
    of what a user sees), and the first hit by its similarity: a threshold does not make it sure.

    Returns:
        Shares of hits, not of queries; empty without hits.
    """
    is_hit, is_wrong = result.ranked >= 0, ~result.ranked_is_match
    rows = []
    for label, n in (("the first hit", 1), ("the first 5 hits", 5), ("the first 10 hits", 10)):
        shown = is_hit[:, :n]
        rows.append(_share(label, is_wrong[:, :n][shown]))
    first = is_hit[:, 0] if is_hit.shape[1] else np.zeros(len(result), dtype=np.bool_)
    similarity, wrong = result.ranked_similarity[first, :1].ravel(), is_wrong[first, :1].ravel()
    bins = np.searchsorted(SIMILARITIES, similarity, side="right")
    for k, label in enumerate(_labels([f"{edge:g}" for edge in SIMILARITIES])):
        rows.append(_share(f"the first hit, similarity {label}", wrong[bins == k]))
    return tuple(row for row in rows if row.n_hits)


class _Gaps:
    """Cameras of the scored queries, and how far the nearest scene with the person is."""

    def __init__(self, scenes: SceneSet, queries: Sequence[Query], min_frame_gap: int) -> None:
        self.has_cameras = all(scene.camera is not None for scene in scenes.scenes)
        self.has_frames = self.has_cameras and all(s.frame is not None for s in scenes.scenes)
        row_of = {scene.name: row for row, scene in enumerate(scenes.scenes)}
        self._names = np.array([str(scene.camera) for scene in scenes.scenes], dtype=np.str_)
        self._frames = np.array(
            [0 if scene.frame is None else scene.frame for scene in scenes.scenes], dtype=np.int64
        )
        scenes_of: dict[int, list[int]] = {query.person_id: [] for query in queries}
        for row, scene in enumerate(scenes.scenes):
            for person_id in set(scene.person_ids.tolist()) & scenes_of.keys():
                scenes_of[person_id].append(row)
        self.cameras: list[str] = []
        self.n_same = np.zeros(len(queries), dtype=np.int64)
        self.n_other = np.zeros(len(queries), dtype=np.int64)
        self.nearest = np.full(len(queries), -1, dtype=np.int64)
        for index, query in enumerate(queries):
            own = row_of[query.scene]
            rows = _positives(query, own, scenes_of[query.person_id], row_of)
            self._measure(index, own, rows, min_frame_gap if self.has_frames else 0)

    def _measure(self, index: int, own: int, rows: np.ndarray, min_frame_gap: int) -> None:
        apart = np.abs(self._frames[rows] - self._frames[own])
        same = self._names[rows] == self._names[own]
        counts = same & (apart > min_frame_gap) if min_frame_gap else same
        self.cameras.append(str(self._names[own]))
        self.n_same[index], self.n_other[index] = counts.sum(), (~same).sum()
        if counts.any():
            self.nearest[index] = apart[counts].min()


def _positives(query: Query, own: int, rows: list[int], row_of: dict[str, int]) -> np.ndarray:
    if query.gallery is None:
        return np.array([row for row in rows if row != own], dtype=np.int64)
    listed = {row_of[name] for name in query.gallery if name in row_of}
    return np.array([row for row in rows if row in listed], dtype=np.int64)


def _by_height(result: SearchResult, queries: Sequence[Query]) -> Breakdown:
    heights = np.array([float(query.box[3] - query.box[1]) for query in queries])
    bins = np.searchsorted(HEIGHTS, heights, side="right")
    labels = _labels([f"{edge} px" for edge in HEIGHTS])
    return _split("person height", result, bins, labels, "Of the annotated box of the query.")


def _by_positives(result: SearchResult) -> Breakdown:
    edges = np.array([1, *POSITIVES])
    bins = np.searchsorted(edges, result.n_relevant, side="right") - 1
    labels = [
        f"{low}" if high == low + 1 else f"{low} to {high - 1}"
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ] + [f"{edges[-1]} and more"]
    note = "Gallery entries that show the person; the more, the easier the first one."
    return _split("number of positives", result, bins, labels, note)


def _by_camera(result: SearchResult, gaps: _Gaps) -> Breakdown:
    names = sorted(set(gaps.cameras))
    bins = np.array([names.index(camera) for camera in gaps.cameras], dtype=np.int64)
    return _split("camera of the query", result, bins, names)


def _by_positive_cameras(result: SearchResult, gaps: _Gaps) -> Breakdown:
    bins = np.where(gaps.n_other == 0, 0, np.where(gaps.n_same == 0, 2, 1))
    labels = ["the query's camera alone", "this and other cameras", "other cameras alone"]
    note = "Within one camera place, light and often pose help; across cameras they do not."
    return _split("cameras that show the person", result, bins, labels, note)


def _by_gap(result: SearchResult, gaps: _Gaps) -> Breakdown:
    bins = np.searchsorted(GAPS, gaps.nearest, side="left") + 1  # an edge belongs to the lower bin
    bins[gaps.nearest < 0] = 0
    labels = ["not in this camera", f"up to {GAPS[0]:,}"]
    labels += [f"{a + 1:,} to {b:,}" for a, b in pairwise(GAPS)]
    labels += [f"above {GAPS[-1]:,}"]
    note = "Frame numbers from the query to the nearest scene of its camera with the person."
    return _split("gap to the nearest positive", result, bins, labels, note)


def _split(
    by: str,
    result: SearchResult,
    bins: Int64[np.ndarray, " Q"],
    labels: Sequence[str],
    note: str = "",
) -> Breakdown:
    """Figures of every bin that holds a query; ``bins`` has rows of ``labels``."""
    is_first = result.first_matches == 1
    parts = []
    for k, label in enumerate(labels):
        here = bins == k
        if here.any():
            mean_ap = float(result.average_precisions[here].mean())
            parts.append(Bin(label, int(here.sum()), mean_ap, float(is_first[here].mean())))
    return Breakdown(by, tuple(parts), note)


def _labels(edges: Sequence[str]) -> list[str]:
    """Names of the bins between edges; an edge belongs to the bin above it."""
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"below {edges[0]}", *between, f"from {edges[-1]}"]


def _share(label: str, is_wrong: Bool[np.ndarray, " N"]) -> WrongHits:
    return WrongHits(label, is_wrong.size, float(is_wrong.mean()) if is_wrong.size else 0.0)
