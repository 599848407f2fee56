"""CBGM: re-rank hits by the people around them (context bipartite graph matching).

People walk together. If a gallery scene shows the companions of the queried person as well, the
hit in it is more likely right. For the scenes of a query's best hits, the people of the query scene
and the people of the gallery scene are matched so that the sum of similarities is greatest; the
detection that is matched to the query then gets another similarity.

Source: Li and Miao, "Sequential end-to-end network for efficient person search", AAAI 2021, as the
public code computes it, which takes the *greatest* similarity of the matching; the public code of
PSTR (Cao et al., CVPR 2022) averages that with the similarity of the detection itself.

Axes: B queries of a block, N detections of the set, D embedding dimension, K people of the query
scene, M people of a gallery scene.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64

from fdps.boxes import iou
from fdps.evaluation.grouping import GroupedDetections
from fdps.evaluation.protocols import RerankOptions
from fdps.evaluation.ranking import best_columns, rank_table
from fdps.evaluation.table import Table
from fdps.structures import Query

SAME_PERSON_IOU = 0.5
"""Detections that overlap the query more than this are the query, as its detector would decide."""


def context_match(weights: Float[np.ndarray, "K M"]) -> tuple[int, float] | None:
    """Match two groups of people so that the sum of weights is greatest.

    As many pairs are made as the smaller group has people, even at a negative weight.

    Args:
        weights: Similarities; the first row is the query.

    Returns:
        The column that is matched to the query and the greatest weight of the matching, or
        ``None`` where the query stays alone.

    Example:
        >>> context_match(np.array([[0.6, 0.5], [0.9, 0.1]]))
        (1, 0.9)
    """
    from scipy.optimize import linear_sum_assignment  # slow to load, and few evaluations need it

    people, matched = linear_sum_assignment(weights, maximize=True)
    if len(people) == 0 or people[0] != 0:  # rows come sorted
        return None
    return int(matched[0]), float(weights[people, matched].max())


class ContextMatcher:
    """Re-ranks by context.

    The public code runs the detector again on every query scene, with the query's box put in first.
    A predictions file cannot do that: here the people of the query scene are its ordinary
    detections, best score first, without those that overlap the query (:data:`SAME_PERSON_IOU`).

    Args:
        found: The detections of the set, those of the query scenes among them.
        embeddings: Embeddings of the detections, in float64.
        weights: Detector score of each detection where similarities are weighted by it; the
            people of the query scene are not weighted, as in the public code.
        options: Sizes.
        mean: Average the greatest weight with the similarity of the detection.
    """

    def __init__(
        self,
        found: GroupedDetections,
        embeddings: Float64[np.ndarray, "N D"],
        weights: Float32[np.ndarray, " N"] | None,
        options: RerankOptions,
        *,
        mean: bool,
    ) -> None:
        self._found, self._embeddings, self._weights = found, embeddings, weights
        self._options, self._mean = options, mean

    def reorder(
        self,
        table: Table,
        queries: Sequence[Query],
        own: Sequence[int],
        wanted: Float[np.ndarray, "B D"],
    ) -> Float32[np.ndarray, "B W"]:
        """Similarities with those of the matched detections replaced.

        Args:
            table: Similarities of a block.
            queries: The queries of the block.
            own: Scene row of each query.
            wanted: Embedding of each query.
        """
        similarity = table.similarity.copy()
        rows, _, columns = best_columns(rank_table(table.similarity), self._options.hits)
        detections = table.detections(rows, columns)
        scenes = self._found.scenes[detections]
        starts = columns - (detections - self._found.starts[scenes])
        graphs = np.unique(np.stack([rows, starts, scenes], axis=1), axis=0)
        people: dict[int, np.ndarray] = {}
        for row, start, scene in graphs.tolist():
            if row not in people:
                people[row] = self._people(queries[row], own[row], wanted[row])
            match = context_match(self._graph(people[row], scene))
            if match is not None:
                column, weight = start + match[0], match[1]
                if self._mean:
                    weight = (weight + float(table.similarity[row, column])) / 2
                similarity[row, column] = weight
        return similarity

    def _people(self, query: Query, scene: int, wanted: np.ndarray) -> np.ndarray:
        """Embeddings of the query and of the people around it, best score first."""
        here = self._found.of(scene)
        apart = iou(self._found.boxes[here], query.box[None])[:, 0] <= SAME_PERSON_IOU
        others = np.flatnonzero(apart)
        others = others[np.argsort(-self._found.scores[here][others], kind="stable")]
        around = self._embeddings[here][others[: self._options.people - 1]]
        return np.concatenate([wanted[None].astype(np.float64), around])

    def _graph(self, people: np.ndarray, scene: int) -> np.ndarray:
        there = self._found.of(scene)
        product = people @ self._embeddings[there].T
        return np.asarray(product if self._weights is None else product * self._weights[there])
