"""Finished runs become figures, and figures of several systems a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fdps.errors import FdpsError
from fdps.evaluation import EvaluationReport, evaluate
from fdps.evaluation.comparison import Comparison, Contender, compare_systems
from fdps.predictions import load_predictions
from fdps.reproduce.bench import Bench
from fdps.reproduce.one_run import PREDICTIONS
from fdps.reproduce.plan import PlannedRun
from fdps.reproduce.variants import Variant
from fdps.structures import SceneSet


@dataclass
class Scores:
    """Scores runs, each once.

    Args:
        bench: The data.
        scenes: Its test scenes.
        failed: Why runs have no predictions, by address.
    """

    bench: Bench
    scenes: SceneSet
    failed: Mapping[str, FdpsError] = field(default_factory=dict)
    _known: dict[tuple[str, object], EvaluationReport] = field(default_factory=dict)

    def report(
        self, run: PlannedRun, gallery: int | Literal["all"] | None = None
    ) -> EvaluationReport:
        """Score one run.

        Args:
            run: A finished run.
            gallery: Gallery size; by default that of the tables.

        Raises:
            UsageError: The data set brings lists, and none of this size.
        """
        size = self.bench.gallery if gallery is None else gallery
        key = (run.address, size)
        if key not in self._known:
            self._known[key] = evaluate(
                load_predictions(run.folder / PREDICTIONS),
                self.scenes,
                gallery=size,
                weight_by_score=run.variant.weight_by_score,
            )
        return self._known[key]

    def contender(self, variant: Variant, runs: Sequence[PlannedRun]) -> Contender | None:
        """Score the seeds of a variant; ``None`` if none of its runs has finished."""
        reports = [self.report(run) for run in runs if run.address not in self.failed]
        return Contender(variant.label, tuple(reports)) if reports else None

    def comparison(
        self, variants: Sequence[Variant], runs: Mapping[str, Sequence[PlannedRun]], base: str
    ) -> tuple[Comparison, dict[str, Contender]]:
        """Compare variants with one of them, which comes first in the comparison.

        Args:
            variants: The rows of a table.
            runs: The seeds of each, by key.
            base: Key of the variant that the others are compared with; if it has failed, the first
                one that has not.

        Returns:
            The comparison, and its contenders by key, in its order.
        """
        found = {
            variant.key: contender
            for variant in sorted(variants, key=lambda variant: variant.key != base)
            if (contender := self.contender(variant, runs[variant.key]))
        }
        return compare_systems([*found.values()]), found
