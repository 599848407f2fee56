"""Score predictions against annotations, and the report that comes of it."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fdps.evaluation.detection import DetectionResult, evaluate_detection
from fdps.evaluation.grouping import group_by_scene
from fdps.evaluation.protocols import EvaluationOptions, RerankOptions, Rules
from fdps.evaluation.search import SearchResult, evaluate_search
from fdps.predictions import Predictions
from fdps.structures import SceneSet


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationReport:
    """Every figure of one evaluation; fractions are in [0, 1].

    Args:
        data: Name of the scene set.
        n_scenes: Its scenes.
        detection: How well people are found.
        search: How well they are found again.
        options: How it was scored.
        model_hash: Which weights made the predictions; empty if unknown.
    """

    data: str
    n_scenes: int
    detection: DetectionResult
    search: SearchResult
    options: EvaluationOptions
    model_hash: str = ""

    @property
    def protocol(self) -> str:
        """Name of the rules that were followed."""
        return self.options.protocol

    @property
    def gallery_size(self) -> int:
        """Gallery entries searched per query."""
        return self.search.gallery_size

    def json(self) -> dict[str, Any]:
        """The headline figures, in the keys of ``fdps evaluate --json``; ``None`` if undefined."""
        return {
            "detection": {"recall": _known(self.detection.recall), "ap": _known(self.detection.ap)},
            "search": {
                "mAP": _known(self.search.mean_ap),
                "top1": _known(self.search.top(1)),
                "top5": _known(self.search.top(5)),
                "top10": _known(self.search.top(10)),
                "n_queries": len(self.search),
            },
            "protocol": self.protocol,
            "gallery_size": self.gallery_size,
        }

    def record(self) -> dict[str, Any]:
        """The headline figures with all that is needed to understand them later."""
        return self.json() | {
            "data": self.data,
            "n_scenes": self.n_scenes,
            "n_people": self.detection.n_people,
            "n_detections": self.detection.n_detections,
            "labelled_recall": _known(self.detection.labelled_recall),
            "n_dropped": self.search.n_dropped,
            "cmc": [_known(value) for value in self.search.cmc().tolist()],
            "options": asdict(self.options),
            "rules": asdict(self.options.followed),
            "seconds": self.search.seconds,
            "rerank_seconds": self.search.rerank_seconds,
            "model_hash": self.model_hash,
        }


def evaluate(
    predictions: Predictions,
    scenes: SceneSet,
    *,
    protocol: str = "reference",
    gallery: int | Literal["all", "full"] = "all",
    seed: int = 0,
    min_frame_gap: int = 0,
    weight_by_score: bool = False,
    score_threshold: float = 0.5,
    cameras: str = "all",
    min_seconds_gap: float = 0.0,
    subset: str | None = None,
    query_expansion: int = 0,
    rerank: str = "none",
    rerank_options: RerankOptions | None = None,
    rules: Rules | None = None,
) -> EvaluationReport:
    """Score predictions against annotations.

    The keywords are the fields of :class:`EvaluationOptions`, described there.

    Raises:
        UsageError: An option is unknown, out of range, or asks for what the data set lacks.
        PredictionsError: The predictions were made on other annotations.
        AnnotationError: A query names a scene that is not in the set, or lists of queries
            contradict the set.
    """
    options = EvaluationOptions(
        protocol=protocol,
        gallery=gallery,
        seed=seed,
        min_frame_gap=min_frame_gap,
        weight_by_score=weight_by_score,
        score_threshold=score_threshold,
        cameras=cameras,
        min_seconds_gap=min_seconds_gap,
        subset=subset,
        query_expansion=query_expansion,
        rerank=rerank,
        rerank_options=rerank_options or RerankOptions(),
        rules=rules,
    )
    return evaluate_with(options, predictions, scenes)


def evaluate_with(
    options: EvaluationOptions, predictions: Predictions, scenes: SceneSet
) -> EvaluationReport:
    """:func:`evaluate`, with all options in one object."""
    options.check()
    found = group_by_scene(predictions, scenes, min_score=options.score_threshold)
    return EvaluationReport(
        data=scenes.name,
        n_scenes=len(scenes),
        detection=evaluate_detection(found, scenes),
        search=evaluate_search(found, predictions.query_embeddings, scenes, options),
        options=options,
        model_hash=predictions.model_hash,
    )


def _known(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
