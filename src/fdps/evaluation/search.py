"""Search figures: mAP and top-k over the queries of a data set.

Queries are searched in blocks: one matrix product, one table of similarities, ranks by one sort of
its rows. Memory depends on the block, not on the number of queries.

Axes: Q queries scored, N detections of the set, R detections kept per query.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import nan
from time import perf_counter

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from threadpoolctl import threadpool_limits

from fdps.evaluation.annotated import flatten
from fdps.evaluation.galleries import Galleries, GalleryMaker
from fdps.evaluation.grouping import GroupedDetections
from fdps.evaluation.protocols import EvaluationOptions, Rules
from fdps.evaluation.query_lists import Chosen, choose_queries
from fdps.evaluation.ranking import average_precisions, best_columns, first_matches, rank_table
from fdps.evaluation.reranking.context import ContextMatcher
from fdps.evaluation.reranking.expansion import expanded_queries
from fdps.evaluation.reranking.reciprocal import reorder
from fdps.evaluation.table import (
    Table,
    find_candidates,
    mark,
    right_hits,
    table_of,
)
from fdps.structures import SceneSet

N_RANKED = 20
_CELLS = 2_000_000  # of the widest array of a block; a thread has about ten such arrays at once
_THREADS = min(4, os.cpu_count() or 1)  # each has a block in memory


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """Search figures, with what is needed to look at single queries.

    Args:
        queries: Row of each scored query in the scene set.
        average_precisions: The average precision of each query, in [0, 1].
        first_matches: Rank of the best match of each query from 1, 0 if none was found.
        n_relevant: Gallery entries that show the person.
        ranked: Best detections of each query, as rows of the predictions; -1 fills short lists.
        ranked_is_match: Whether each of those is the person.
        ranked_similarity: Similarity of each of those; 0 in the filling.
        n_dropped: Queries that no gallery scene could answer; they are not scored.
        gallery_size: Gallery entries of a query (the most, where queries differ), before the
            frame gap.
        seconds: What the search took.
        rerank_seconds: What query expansion and re-ranking took of it, summed over threads.
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
    seconds: float = 0.0
    rerank_seconds: float = 0.0

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
class Block:
    """Results of some queries, in the order of the queries."""

    n_entries: np.ndarray
    n_relevant: np.ndarray
    average_precisions: np.ndarray
    first_matches: np.ndarray
    ranked: np.ndarray
    is_match: np.ndarray
    similarity: np.ndarray


def evaluate_search(
    found: GroupedDetections,
    query_embeddings: Float32[np.ndarray, "M D"],
    scenes: SceneSet,
    options: EvaluationOptions,
) -> SearchResult:
    """Search for every query among the detections of its gallery.

    Raises:
        UsageError: The options ask for what the data set cannot give (a list, a camera, a time,
            a size).
        AnnotationError: A query names a scene that is not in the set, or a list of queries and
            the set contradict each other.
    """
    began = perf_counter()
    chosen = choose_queries(scenes, options)
    maker = GalleryMaker(scenes, chosen.queries, flatten(scenes), options)
    search = _Search(found, query_embeddings[chosen.rows], scenes, chosen, options)
    n = len(chosen.queries)
    step = max(1, min(1024, _CELLS // max(len(found), len(scenes), 1)))
    # NumPy leaves the interpreter to others while it sorts and multiplies. A matrix product that
    # started threads of its own in each of ours would make them wait for each other.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
        blocks = list(
            pool.map(
                lambda first: search.block(maker.block(first, min(first + step, n)), first),
                range(0, n, step),
            )
        )
    result = join(blocks, chosen.rows)
    return replace(result, seconds=perf_counter() - began, rerank_seconds=search.rerank_seconds)


class _Search:
    """Searches for blocks of queries."""

    def __init__(
        self,
        found: GroupedDetections,
        wanted: np.ndarray,
        scenes: SceneSet,
        chosen: Chosen,
        options: EvaluationOptions,
    ) -> None:
        self._found, self._wanted, self._chosen, self._options = found, wanted, chosen, options
        self._embeddings = found.embeddings.astype(np.float64)  # once, not per block
        self._weights = found.scores if options.weight_by_score else None
        row_of = {scene.name: row for row, scene in enumerate(scenes.scenes)}
        self._own = [row_of[query.scene] for query in chosen.queries]
        self._context = ContextMatcher(
            found,
            self._embeddings,
            self._weights,
            options.rerank_options,
            mean=options.rerank == "cbgm-mean",
        )
        self.rerank_seconds = 0.0

    def block(self, galleries: Galleries, first: int) -> Block:
        """Score the queries from ``first`` on."""
        wanted = self._wanted[first : first + len(galleries.n_relevant)]
        table = self._table(galleries, wanted)
        if self._options.query_expansion or self._options.rerank != "none":
            began = perf_counter()
            table = self._reordered(table, galleries, wanted, first)
            self.rerank_seconds += perf_counter() - began
        return score(table, galleries, self._found, self._options.followed)

    def _table(self, galleries: Galleries, wanted: np.ndarray) -> Table:
        return table_of(wanted, galleries, self._found, self._embeddings, self._weights)

    def _reordered(
        self, table: Table, galleries: Galleries, wanted: np.ndarray, first: int
    ) -> Table:
        if self._options.query_expansion:
            n_hits = self._options.query_expansion
            wanted = expanded_queries(wanted, table, self._embeddings, n_hits)
            table = self._table(galleries, wanted)
        if self._options.rerank == "k-reciprocal":
            similarity = reorder(table, wanted, self._embeddings, self._options.rerank_options)
            return replace(table, similarity=similarity)
        if self._options.rerank == "none":
            return table
        here = slice(first, first + len(wanted))
        similarity = self._context.reorder(
            table, self._chosen.queries[here], self._own[here], wanted
        )
        return replace(table, similarity=similarity)


def score(table: Table, galleries: Galleries, found: GroupedDetections, rules: Rules) -> Block:
    """Score the rankings of a block of queries.

    Args:
        table: Similarities.
        galleries: What was searched, and what is to be found there.
        found: The detections that the table is about.
        rules: What counts as first where similarities tie.
    """
    candidates = find_candidates(galleries, found, table)
    rows, columns = right_hits(table, candidates)
    values = table.similarity[rows, columns]
    is_match = mark(table, rows, columns)
    ranks = rank_table(table.similarity)
    ranked, is_right, similarity = _best(table, is_match, best_columns(ranks, N_RANKED), found)
    return Block(
        n_entries=galleries.n_entries,
        n_relevant=galleries.n_relevant,
        average_precisions=average_precisions(ranks, rows, values, galleries.n_relevant),
        first_matches=first_matches(
            ranks, is_match, rows, values, wrong_first=rules.tied_ranks == "wrong first"
        ),
        ranked=ranked,
        is_match=is_right,
        similarity=similarity,
    )


def _best(
    table: Table,
    is_match: np.ndarray,
    best: tuple[np.ndarray, np.ndarray, np.ndarray],
    found: GroupedDetections,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, places, columns = best
    shape = (len(table.similarity), N_RANKED)
    ranked = np.full(shape, -1, dtype=np.int64)
    is_right = np.zeros(shape, dtype=np.bool_)
    similarity = np.zeros(shape, dtype=np.float32)
    ranked[rows, places] = found.rows[table.detections(rows, columns)]
    is_right[rows, places] = is_match[rows, columns]
    similarity[rows, places] = table.similarity[rows, columns]
    return ranked, is_right, similarity


def join(blocks: list[Block], query_rows: np.ndarray) -> SearchResult:
    """Results of all queries that their gallery can answer."""
    nothing = np.zeros(0, dtype=np.int64)
    none_ranked = np.zeros((0, N_RANKED))
    n_relevant = np.concatenate([nothing, *(block.n_relevant for block in blocks)])
    n_entries = np.concatenate([nothing, *(block.n_entries for block in blocks)])
    scored = n_relevant > 0

    def joined(empty: np.ndarray, name: str) -> np.ndarray:
        return np.concatenate([empty, *(getattr(block, name) for block in blocks)])[scored]

    return SearchResult(
        queries=query_rows[scored],
        average_precisions=joined(nothing.astype(np.float64), "average_precisions"),
        first_matches=joined(nothing, "first_matches"),
        n_relevant=n_relevant[scored],
        ranked=joined(none_ranked.astype(np.int64), "ranked"),
        ranked_is_match=joined(none_ranked.astype(np.bool_), "is_match"),
        ranked_similarity=joined(none_ranked.astype(np.float32), "similarity"),
        n_dropped=int((~scored).sum()),
        gallery_size=int(n_entries[scored].max(initial=0)),
    )
