"""How well people are found again: mAP and top-k over the queries of a data set.

Axes: Q queries scored, N detections, G detections in one gallery, R detections kept per query.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from fdps.evaluation.grouping import Found
from fdps.evaluation.protocols import (
    EvaluationOptions,
    Gallery,
    Sightings,
    draw_galleries,
    find_sightings,
)
from fdps.evaluation.ranking import average_precision, best_entries, first_match
from fdps.structures import SceneSet

N_RANKED = 20
_BLOCK = 64  # queries whose similarities are in memory together


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """Search figures, with what is needed to look at single queries.

    Args:
        queries: Row of each scored query in the scene set.
        average_precisions: Of each query, in [0, 1].
        first_matches: Rank of the best match of each query from 1, 0 if none was found.
        n_relevant: Gallery entries that show the person.
        ranked: Best detections of each query, as rows of the predictions; -1 fills short lists.
        ranked_is_match: Whether each of those is the person.
        ranked_similarity: Similarity of each of those; 0 in the filling.
        n_dropped: Queries that no gallery scene could answer; they are not scored.
        gallery_size: Gallery entries of a query (the most, where queries differ), before the
            frame gap.
    """

    queries: Int64[np.ndarray, " Q"]
    average_precisions: Float64[np.ndarray, " Q"]
    first_matches: Int64[np.ndarray, " Q"]
    n_relevant: Int64[np.ndarray, " Q"]
    ranked: Int64[np.ndarray, "Q R"]
    ranked_is_match: Bool[np.ndarray, "Q R"]
    ranked_similarity: Float32[np.ndarray, "Q R"]
    n_dropped: int
    gallery_size: int

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def mean_ap(self) -> float:
        """Mean average precision; NaN without queries."""
        return float(self.average_precisions.mean()) if len(self) else nan

    def top(self, k: int) -> float:
        """Share of the queries with a match among the ``k`` best; NaN without queries."""
        hits = (self.first_matches > 0) & (self.first_matches <= k)
        return float(hits.mean()) if len(self) else nan

    def cmc(self, n: int = N_RANKED) -> Float64[np.ndarray, " n"]:
        """Cumulative match characteristic: top-1 to top-n."""
        return np.array([self.top(k) for k in range(1, n + 1)], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    """Result of one query."""

    average_precision: float
    first_match: int
    detections: np.ndarray
    is_match: np.ndarray
    similarity: np.ndarray


def evaluate_search(
    found: Found,
    query_embeddings: Float32[np.ndarray, "M D"],
    scenes: SceneSet,
    options: EvaluationOptions,
) -> SearchResult:
    """Search for every query among the detections of its gallery.

    Raises:
        UsageError: The options ask for what the data set cannot give (frame numbers, a size).
        AnnotationError: A query names a scene that is not in the set.
    """
    sightings = find_sightings(found, scenes)
    galleries = list(draw_galleries(scenes, sightings, options))
    scored = [gallery for gallery in galleries if gallery.n_relevant]
    weights = found.scores if options.weight_by_score else None
    embeddings = found.embeddings.astype(np.float64)  # once, not per block
    rankings: list[_Ranking] = []
    for start in range(0, len(scored), _BLOCK):
        block = scored[start : start + _BLOCK]
        wanted = query_embeddings[[gallery.query for gallery in block]]
        similarity = similarities(wanted, embeddings, weights)
        for row, gallery in zip(similarity, block, strict=True):
            person = sightings[scenes.queries[gallery.query].person_id]
            rankings.append(_rank(row, gallery, person, found))
    return _collect(
        scored,
        rankings,
        found.rows,
        n_dropped=len(galleries) - len(scored),
        gallery_size=max((gallery.n_entries for gallery in scored), default=0),
    )


def similarities(
    queries: Float[np.ndarray, "Q D"],
    embeddings: Float[np.ndarray, "N D"],
    weights: Float32[np.ndarray, " N"] | None = None,
) -> Float32[np.ndarray, "Q N"]:
    """Inner products, optionally times a weight per column.

    They are computed in float64 and rounded: a matrix product may round equal rows differently,
    and two equal embeddings must tie on every machine.
    """
    product = np.asarray(queries, np.float64) @ np.asarray(embeddings, np.float64).T
    return np.asarray(product if weights is None else product * weights, dtype=np.float32)


def _rank(similarity: np.ndarray, gallery: Gallery, person: Sightings, found: Found) -> _Ranking:
    """Score one query. ``similarity`` is over all detections of the set."""
    columns = found.of_many(gallery.scenes)
    is_person = np.zeros(len(similarity), dtype=np.bool_)
    is_person[_hits(similarity, gallery, person)] = True
    values, is_match = similarity[columns], is_person[columns]
    best = best_entries(values, N_RANKED)
    return _Ranking(
        average_precision(values, is_match, gallery.n_relevant),
        first_match(values, is_match),
        columns[best],
        is_match[best],
        values[best],
    )


def _hits(similarity: np.ndarray, gallery: Gallery, person: Sightings) -> np.ndarray:
    """Of the detections that overlap the person, the most similar one of each gallery scene."""
    searched = np.isin(person.detection_scenes, gallery.scenes)
    detections, scenes = person.detections[searched], person.detection_scenes[searched]
    order = np.lexsort((detections, similarity[detections], scenes))
    is_last_of_scene = np.append(np.diff(scenes[order]) != 0, True)[: len(order)]
    return np.asarray(detections[order][is_last_of_scene])


def _collect(
    scored: list[Gallery],
    rankings: list[_Ranking],
    rows: np.ndarray,
    *,
    n_dropped: int,
    gallery_size: int,
) -> SearchResult:
    ranked = np.full((len(scored), N_RANKED), -1, dtype=np.int64)
    is_match = np.zeros(ranked.shape, dtype=np.bool_)
    similarity = np.zeros(ranked.shape, dtype=np.float32)
    for row, ranking in enumerate(rankings):
        n = len(ranking.detections)
        ranked[row, :n] = rows[ranking.detections]
        is_match[row, :n] = ranking.is_match
        similarity[row, :n] = ranking.similarity
    return SearchResult(
        queries=np.array([gallery.query for gallery in scored], dtype=np.int64),
        average_precisions=np.array([r.average_precision for r in rankings], dtype=np.float64),
        first_matches=np.array([r.first_match for r in rankings], dtype=np.int64),
        n_relevant=np.array([gallery.n_relevant for gallery in scored], dtype=np.int64),
        ranked=ranked,
        ranked_is_match=is_match,
        ranked_similarity=similarity,
        n_dropped=n_dropped,
        gallery_size=gallery_size,
    )
