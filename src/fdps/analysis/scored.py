"""``fdps.evaluate``: figures that know their predictions and scenes, so they can write a report.

:func:`fdps.evaluation.evaluate` returns the figures alone and draws nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fdps.evaluation import DetectionResult, EvaluationReport, SearchResult
from fdps.evaluation import evaluate as evaluate_predictions
from fdps.evaluation.breakdowns.camera_pairs import camera_pairs
from fdps.evaluation.breakdowns.details import details
from fdps.evaluation.breakdowns.per_query import write_csv
from fdps.evaluation.statistics import N_DRAWS
from fdps.predictions import Predictions, load_predictions
from fdps.structures import SceneSet

_FILE = "predictions.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Figures of predictions on annotated scenes.

    Args:
        report: Report with every figure.
        predictions: Predictions that were scored.
        scenes: The annotated scenes.
    """

    report: EvaluationReport
    predictions: Predictions
    scenes: SceneSet

    @property
    def detection(self) -> DetectionResult:
        """Figures of how well people are found."""
        return self.report.detection

    @property
    def search(self) -> SearchResult:
        """Figures of how well they are found again."""
        return self.report.search

    def json(self) -> dict[str, Any]:
        """Return the headline figures, in the keys of ``fdps evaluate --json``."""
        return self.report.json()

    def record(self) -> dict[str, Any]:
        """Return the headline with all that explains it: options, intervals, breakdown."""
        return self.report.record() | details(self.report, self.scenes)

    def csv(self, path: Path | str) -> None:
        """Write one row per query."""
        write_csv(Path(path), self.search, self.scenes)

    def html(
        self,
        path: Path | str,
        *,
        name: str = "this system",
        notes: Mapping[str, str] | None = None,
        n_worst: int = 50,
        n_draws: int = N_DRAWS,
    ) -> None:
        """Write the report as one HTML file; evaluates further gallery sizes for its curve.

        Args:
            path: Path of the file.
            name: Name of the system.
            notes: Facts by name on how the numbers were made.
            n_worst: Number of worst queries to draw.
            n_draws: Number of bootstrap samples for the intervals.

        Raises:
            FdpsError: A picture to draw is gone or cannot be decoded.
        """
        from fdps.analysis.evaluation_report import write_evaluation_report
        from fdps.analysis.gallery_curve import compute_gallery_curve

        scored_with = self.report.options
        options = {field.name: getattr(scored_with, field.name) for field in fields(scored_with)}
        by_size = compute_gallery_curve(self.predictions, self.scenes, **options)
        if self.report.gallery_size:
            by_size[self.report.gallery_size] = self.report
        write_evaluation_report(
            Path(path),
            self.report,
            self.predictions,
            self.scenes,
            name=name,
            by_size=by_size,
            pairs=camera_pairs(self.predictions, self.scenes, **options),
            notes=notes,
            n_worst=n_worst,
            n_draws=n_draws,
        )


def evaluate(predictions: Predictions | Path | str, scenes: SceneSet, **options: Any) -> Evaluation:
    """Score predictions against annotations.

    Args:
        predictions: Predictions, their file, or a run folder that holds it.
        scenes: The annotated scenes, from :func:`fdps.load_scenes`.
        options: Fields of :class:`fdps.evaluation.EvaluationOptions`, described there.

    Returns:
        The figures; ``.json()``, ``.csv(path)`` and ``.html(path)`` pass them on.

    Raises:
        MissingDataError: There is no predictions file.
        UsageError: An option is out of range, or asks for what the data set lacks.
        PredictionsError: The predictions were made on other annotations.
        AnnotationError: A query names a scene that is not in the set.
    """
    if not isinstance(predictions, Predictions):
        path = Path(predictions)
        predictions = load_predictions(path / _FILE if path.is_dir() else path)
    report = evaluate_predictions(predictions, scenes, **options)
    return Evaluation(report, predictions, scenes)
