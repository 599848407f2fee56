"""Predictions and ground truth become numbers; no network, no GPU.

Public are the names in ``__all__``; the modules behind them are internal and may change.
"""

from fdps.evaluation.detection import DetectionResult
from fdps.evaluation.protocols import (
    PROTOCOLS,
    REFERENCE,
    STRICT,
    EvaluationOptions,
    RerankOptions,
    Rules,
)
from fdps.evaluation.ranking import average_precision
from fdps.evaluation.report import EvaluationReport, evaluate, evaluate_with
from fdps.evaluation.search import SearchResult

__all__ = [
    "PROTOCOLS",
    "REFERENCE",
    "STRICT",
    "DetectionResult",
    "EvaluationOptions",
    "EvaluationReport",
    "RerankOptions",
    "Rules",
    "SearchResult",
    "average_precision",
    "evaluate",
    "evaluate_with",
]
