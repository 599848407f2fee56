"""Explain the hits of a search: levels, wrong candidates to expect, and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdps.cli.models.calibrate import mark
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.cli.search.options import Ranking
    from fdps.query import QueryPerson
    from fdps.search import ArchivedPerson, Filters, Index
    from fdps.search.results.calibration import Calibration, Level
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
        n_like: Pictures of the person.
        calibration: Tells what the similarities are worth; ``None`` if there is none.
        why: Why there is no calibration, if there might be one.
        levels: Level of each hit, by item; empty without a calibration.
        go_by: What the levels go by, where the order of the hits goes by something else.
        no_verdict: Why it cannot be told whether the person is in the archive.
        nobody: Why there is no hit, where the search left people out.
    """

    n_people: int
    model: str
    n_like: int = 1
    calibration: "Calibration | None" = None
    why: str = ""
    levels: "Mapping[int, Level]" = field(default_factory=dict)
    go_by: str = ""
    no_verdict: str = ""
    nobody: str = ""

    @classmethod
    def of(
        cls,
        index: "Index",
        model: str,
        hits: "Sequence[Hit]",
        *,
        like: "Sequence[QueryPerson | ArchivedPerson]",
        n_unlike: int,
        ranking: "Ranking",
        filters: "Filters",
    ) -> "Reading":
        """Judge a search by what it asked for.

        Args:
            index: The archive.
            model: As the user names it, else as the archive does.
            hits: What was found.
            like: Pictures of the person.
            n_unlike: Number of pictures of others.
            ranking: Which hits were wanted.
            filters: Whom the search looked at.
        """
        from fdps.embedders.info import calibration_of
        from fdps.search.results.claims import levels_go_by, levels_of, why_no_verdict

        calibration, why = calibration_of(index, model)
        pictures = [person.embedding for person in like]
        return cls(
            n_people=len(index),
            model=model,
            n_like=len(like),
            calibration=calibration,
            why=why,
            levels=levels_of(hits, calibration, index.store, pictures, n_unlike=n_unlike),
            go_by=levels_go_by(len(like), n_unlike, ranking.rerank),
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
            why = self.why or "the model is not calibrated"
            return {"calibration": None, "verdict": None, "why": why, **nobody}
        no_verdict = self.go_by or self.no_verdict
        n_compared = self.n_people * self.n_like
        return {
            "calibration": {
                "data": calibration.data,
                "model_hash": calibration.model_hash,
                "thresholds": {
                    "strong": mark(calibration, calibration.strong, n_compared),
                    "worth_a_look": mark(calibration, calibration.worth_a_look, n_compared),
                },
            },
            "verdict": None if no_verdict else calibration.verdict(h.similarity for h in hits),
            **({"why": no_verdict} if no_verdict else {}),
            **nobody,
        }

    def lines(self, hits: "Sequence[Hit]") -> list[str]:
        """Say it to people."""
        from fdps.search.results.claims import sentences

        if self.calibration is None:
            reason = self.why or "Not calibrated: how many of these are wrong is not known"
            return [
                f"Reading {reason}. To learn it:",
                f"        fdps models calibrate {self.model or 'MODEL'} --data KIND --root DIR",
            ]
        said = sentences(
            self.calibration,
            hits,
            self.n_people,
            n_like=self.n_like,
            go_by=self.go_by,
            no_verdict=self.no_verdict,
        )
        return [f"{'Reading' if not n else '       '} {line}" for n, line in enumerate(said)]


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
