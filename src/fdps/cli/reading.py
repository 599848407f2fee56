"""Explain the hits of a search: levels, wrong candidates to expect, and the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdps.cli.models.calibrate import mark
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.cli.search.options import Ranking
    from fdps.search import Filters, Index
    from fdps.search.results.calibration import Calibration
    from fdps.structures import Hit


def remember_calibration(index: "Index", model: Path | None) -> None:
    """Let an archive keep the calibration beside its model, if it has none."""
    from fdps.embedders.info import calibration_of

    if index.calibration is None:
        calibration, _ = calibration_of(index, str(model or index.info.model))
        if calibration is not None:
            index.calibrate(calibration)


@dataclass(frozen=True, slots=True)
class Reading:
    """How the hits of one search are to be read.

    Args:
        n_people: In the archive.
        model: As the user names it.
        calibration: Tells the levels of the hits; ``None`` if there is none, or it does not apply.
        why: Why there is no calibration, if there might be one.
        no_levels: Why the calibration of the model does not apply to these hits.
        no_verdict: Why it cannot be told whether the person is in the archive.
        nobody: Why there is no hit, where the search left people out.
    """

    n_people: int
    model: str
    calibration: "Calibration | None" = None
    why: str = ""
    no_levels: str = ""
    no_verdict: str = ""
    nobody: str = ""

    @classmethod
    def of(
        cls,
        index: "Index",
        model: str,
        hits: "Sequence[Hit]",
        *,
        n_like: int,
        n_unlike: int,
        ranking: "Ranking",
        filters: "Filters",
    ) -> "Reading":
        """Judge a search by what it asked for.

        Args:
            index: The archive.
            model: As the user names it, else as the archive does.
            hits: What was found.
            n_like: Pictures of the person.
            n_unlike: Pictures of others.
            ranking: Which hits were wanted.
            filters: Whom the search looked at.
        """
        from fdps.embedders.info import calibration_of
        from fdps.search.results.claims import why_no_levels, why_no_verdict

        calibration, why = calibration_of(index, model)
        no_levels = why_no_levels(n_like, n_unlike, ranking.rerank)
        return cls(
            n_people=len(index),
            model=model,
            calibration=None if no_levels else calibration,
            why=why,
            no_levels=no_levels,
            no_verdict=why_no_verdict(filters, ranking.least, is_in_a_row=ranking.appearances),
            nobody="" if hits else _why_nobody(index, filters, ranking),
        )

    def figures(self, hits: "Sequence[Hit]") -> dict[str, Any]:
        """Give the thresholds in an archive of this size and the verdict, for JSON.

        Where there is no verdict, ``why`` says the reason; where there is no hit, ``nobody`` does.
        """
        nobody = {"nobody": self.nobody} if self.nobody else {}
        calibration = self.calibration
        if calibration is None:
            why = self.no_levels or self.why or "the model is not calibrated"
            return {"calibration": None, "verdict": None, "why": why, **nobody}
        return {
            "calibration": {
                "data": calibration.data,
                "model_hash": calibration.model_hash,
                "thresholds": {
                    "strong": mark(calibration, calibration.strong, self.n_people),
                    "worth_a_look": mark(calibration, calibration.worth_a_look, self.n_people),
                },
            },
            "verdict": None
            if self.no_verdict
            else calibration.verdict(hit.similarity for hit in hits),
            **({"why": self.no_verdict} if self.no_verdict else {}),
            **nobody,
        }

    def lines(self, hits: "Sequence[Hit]") -> list[str]:
        """Say it to people."""
        from fdps.search.results.claims import expectation

        if self.no_levels:
            return [f"Reading No levels and no verdict: {self.no_levels}."]
        calibration = self.calibration
        if calibration is None:
            reason = self.why or "Not calibrated: how many of these are wrong is not known"
            return [
                f"Reading {reason}. To learn it:",
                f"        fdps models calibrate {self.model or 'MODEL'} --data KIND --root DIR",
            ]
        about = "at most about" if self.no_verdict else "about"  # a filter leaves fewer people
        lines = [f"Reading {expectation(calibration, self.n_people, about=about)}"]
        if self.no_verdict:
            lines.append(f"        No verdict on whether the person is here: {self.no_verdict}.")
        elif calibration.verdict(hit.similarity for hit in hits) == "probably_not_present":
            share = calibration.found_at(calibration.worth_a_look)
            lines.append(
                '        Probably not here: nobody reaches "worth a look". Of people who were, '
                f"{share:.0%} did ({calibration.data or 'calibration data'})."
            )
        return lines


def _why_nobody(index: "Index", filters: "Filters", ranking: "Ranking") -> str:
    """Say which option left nobody, and of how many people; empty if none did."""
    from fdps.search.results.claims import emptied_by

    if not len(index):
        return "it is empty"
    emptied = emptied_by(index.store, filters)
    if emptied is None:
        least = ranking.min_similarity
        return "" if least is None else f"nobody reaches --min-similarity {least:g}"
    values = emptied.value if isinstance(emptied.value, tuple) else (emptied.value,)
    shown = (f"{v:g}" if isinstance(v, float) else printable(v) for v in values)
    given = " ".join(f"{_option(emptied.name)} {value}" for value in shown)
    before = " and ".join(map(_option, emptied.before))
    whom = f" whom {before} leave{'s' * (len(emptied.before) == 1)}" if before else ""
    people = "1 person" if emptied.n_before == 1 else f"{emptied.n_before:,} people"
    return f"{given} leaves nobody of the {people}{whom}"


def _option(name: str) -> str:
    """How the command line calls a field of the filters."""
    return "--camera" if name == "cameras" else f"--{name.replace('_', '-')}"
