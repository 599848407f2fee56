"""The output of ``fdps evaluate`` beside the headline: JSON, HTML, CSV, intervals."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.progress import working
from fdps.names import printable, typed

if TYPE_CHECKING:
    from fdps.analysis.scored import Evaluation
    from fdps.evaluation import EvaluationReport


def interval_figures(report: "EvaluationReport", draws: int) -> dict[str, Any]:
    """95 % intervals of the search figures under ``intervals``; nothing without draws."""
    from fdps.evaluation.breakdowns.details import intervals

    return {"intervals": intervals(report, n_draws=draws)} if draws else {}


def show_intervals(figures: dict[str, Any]) -> None:
    """Print intervals in one line, if there are any."""
    ends = {name: pair for name, pair in figures.get("intervals", {}).items() if pair}
    if ends:
        told = ", ".join(f"{name} {low:.3f} to {high:.3f}" for name, (low, high) in ends.items())
        print(f"95 % intervals over queries: {told}")


@dataclass(frozen=True)
class Files:
    """The files that ``fdps evaluate`` writes beside what it prints."""

    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write a JSON report too.")
    ] = None
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report in one HTML file too.")
    ] = None
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one row per query too.")
    ] = None

    def write(self, evaluation: "Evaluation", *, run: Path | None, draws: int) -> None:
        """Write the files that were asked for, and name them on stderr.

        Args:
            evaluation: What to write about.
            run: Run folder, whose name the HTML report uses.
            draws: Bootstrap samples of the intervals in the reports; 0 for the usual number.

        Raises:
            FdpsError: The same as :meth:`fdps.analysis.scored.Evaluation.html`.
        """
        from fdps.evaluation.statistics import N_DRAWS

        n_draws = draws or N_DRAWS
        with working("Writing reports"):
            if self.out is not None:
                from fdps.evaluation.breakdowns.details import details

                report = evaluation.report
                more = details(report, evaluation.scenes, n_draws=n_draws)
                _write(self.out, json.dumps(report.record() | more, indent=2) + "\n")
            if self.csv is not None:
                evaluation.csv(self.csv)
            if self.html is not None:
                name = printable(run.resolve().name) if run is not None else "this system"
                command = " ".join(["fdps", *map(typed, sys.argv[1:])])
                evaluation.html(self.html, name=name, notes={"Command": command}, n_draws=n_draws)
        for path in (self.out, self.csv, self.html):
            if path is not None:
                print(f"Wrote   {printable(path)}", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    from fdps.durable import write_file

    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.encode())
