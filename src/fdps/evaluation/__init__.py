"""Predictions and ground truth become numbers; no network, no GPU."""

from fdps.evaluation.detection import DetectionResult
from fdps.evaluation.protocols import EvaluationOptions
from fdps.evaluation.ranking import average_precision
from fdps.evaluation.report import EvaluationReport, evaluate
from fdps.evaluation.search import SearchResult

__all__ = [
    "DetectionResult",
    "EvaluationOptions",
    "EvaluationReport",
    "SearchResult",
    "average_precision",
    "evaluate",
]
