"""Figures of a search in which every query has detections of its own in every picture.

The rankings are scored by the same functions as any other search; only where the similarities come
from differs.

Axes: K queries that were compared, M detections of all pairs.
"""

from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Int64

from fdps.errors import PredictionsError, UsageError
from fdps.evaluation.annotated import flatten
from fdps.evaluation.detection import evaluate_detection
from fdps.evaluation.galleries import Galleries, GalleryMaker
from fdps.evaluation.grouping import GroupedDetections, group_by_scene
from fdps.evaluation.pairwise.pairs_file import PairPredictions
from fdps.evaluation.protocols import EvaluationOptions
from fdps.evaluation.query_lists import choose_queries
from fdps.evaluation.report import EvaluationReport
from fdps.evaluation.search import SearchResult, join, score
from fdps.evaluation.table import lay_out
from fdps.structures import SceneSet

_AGAIN = "predict the pairs anew: fdps predict RUN --pairwise"


@dataclass(frozen=True, slots=True, eq=False)
class PairReport(EvaluationReport):
    """The report of a pair-wise evaluation; detection is that of the network without a query.

    Args:
        n_pairs: Pairs of a query and a picture that were compared.
        seconds_per_pair: What one of them took, with its share of what pairs have in common.
        seconds_per_picture: What a detection without a query took.
    """

    n_pairs: int = 0
    seconds_per_pair: float = 0.0
    seconds_per_picture: float = 0.0

    def json(self) -> dict[str, Any]:
        """The headline figures, in the keys of ``fdps evaluate --json``, and the cost."""
        # By name: super() does not work in a dataclass with slots.
        return EvaluationReport.json(self) | {
            "pairs": {
                "n_pairs": self.n_pairs,
                "seconds_per_pair": self.seconds_per_pair,
                "seconds_per_picture": self.seconds_per_picture,
            }
        }


def evaluate_pairs(
    pairs: PairPredictions, scenes: SceneSet, options: EvaluationOptions | None = None
) -> PairReport:
    """Score the pairs of a file against annotations.

    Of the queries that the options choose, those are scored that were compared.

    Args:
        pairs: What was found.
        scenes: The annotations.
        options: How to score; those of a plain evaluation by default.

    Raises:
        UsageError: An option is unknown, out of range, asks for what the data set lacks, or needs
            embeddings, which pairs have not.
        PredictionsError: The pairs were made on other annotations, or a query was not compared with
            a picture of its gallery.
        AnnotationError: A query names a scene that is not in the set, or lists of queries
            contradict the set.
    """
    options = options or EvaluationOptions()
    options.check()
    if options.rerank != "none" or options.query_expansion:
        raise UsageError(
            "pairs have similarities and no embeddings, which re-ranking and query expansion need",
            hint="leave out rerank and query_expansion",
        )
    plain = group_by_scene(pairs.plain(scenes), scenes, min_score=options.score_threshold)
    search = _search(pairs, scenes, options)
    return PairReport(
        data=scenes.name,
        n_scenes=len(scenes),
        detection=evaluate_detection(plain, scenes),
        search=search,
        options=options,
        model_hash=pairs.model_hash,
        n_pairs=pairs.n_pairs,
        seconds_per_pair=pairs.seconds_pairs / max(pairs.n_pairs, 1),
        seconds_per_picture=pairs.seconds_pictures / max(len(pairs.scenes), 1),
    )


def _search(pairs: PairPredictions, scenes: SceneSet, options: EvaluationOptions) -> SearchResult:
    began = perf_counter()
    chosen = choose_queries(scenes, options)
    maker = GalleryMaker(scenes, chosen.queries, flatten(scenes), options)
    grouped = _Grouped(pairs, scenes, options.score_threshold)
    place_of = {row: place for place, row in enumerate(pairs.queries.tolist())}
    blocks, rows = [], []
    for number, row in enumerate(chosen.rows.tolist()):
        if row not in place_of:
            if options.subset is not None:
                raise PredictionsError(
                    f"query {row} of {scenes.name} is in the list {options.subset!r}, and was not "
                    "compared with any picture",
                    hint=f"{_AGAIN} --subset {options.subset}",
                )
            continue
        # One by one: each has detections of its own. Its number decides which gallery is drawn.
        galleries = maker.block(number, number + 1)
        grouped.check(galleries, place_of[row], row)
        found, similarities = grouped.of(place_of[row])
        values = similarities[found.of_many(galleries.scenes)].astype(np.float64)
        if options.weight_by_score:
            values = values * found.scores[found.of_many(galleries.scenes)]
        table = lay_out(galleries, found, values)
        blocks.append(score(table, galleries, found, options.followed))
        rows.append(row)
    result = join(blocks, np.array(rows, dtype=np.int64))
    return replace(result, seconds=perf_counter() - began)


class _Grouped:
    """The detections of pairs, sorted by query and by the scenes of a data set."""

    def __init__(self, pairs: PairPredictions, scenes: SceneSet, min_score: float) -> None:
        self._pairs, self._scenes = pairs, scenes
        row_of = {scene.name: row for row, scene in enumerate(scenes.scenes)}
        self._to_set = np.array([row_of[name] for name in pairs.scenes], dtype=np.int64)
        kept = np.flatnonzero(pairs.scores >= min_score)
        scene, query = self._to_set[pairs.scene[kept]], pairs.query[kept]
        order = np.lexsort((scene, query))  # stable: within a pair the file's order stays
        self._rows: Int64[np.ndarray, " M"] = kept[order]
        self._scene = scene[order]
        places = np.arange(len(pairs.queries) + 1)
        self._starts = np.searchsorted(query[order], places)

    def of(self, place: int) -> tuple[GroupedDetections, np.ndarray]:
        """Return the detections of a query, and their similarities."""
        here = slice(self._starts[place], self._starts[place + 1])
        rows, scene = self._rows[here], self._scene[here]
        starts = np.searchsorted(scene, np.arange(len(self._scenes) + 1)).astype(np.int64)
        found = GroupedDetections(
            boxes=self._pairs.boxes[rows],
            scores=self._pairs.scores[rows],
            embeddings=np.zeros((len(rows), 0), dtype=np.float32),
            rows=rows,
            scenes=scene,
            starts=starts,
        )
        return found, self._pairs.similarities[rows]

    def check(self, galleries: Galleries, place: int, row: int) -> None:
        """Refuse a gallery with a picture that the query was not compared with."""
        was_compared = np.zeros(len(self._scenes), dtype=np.bool_)
        was_compared[self._to_set[self._pairs.compared[place]]] = True
        missing = galleries.scenes[~was_compared[galleries.scenes]]
        if missing.size:
            name = self._scenes.scenes[int(missing[0])].name
            raise PredictionsError(
                f"query {row} was not compared with {len(np.unique(missing))} pictures of its "
                f"gallery, for example {name!r}",
                hint=f"choose the gallery that was compared, or {_AGAIN}",
            )
