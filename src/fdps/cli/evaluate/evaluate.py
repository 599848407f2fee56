"""``fdps evaluate``: predictions and annotations become figures."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.chosen_data import PAIRS_FILE, PREDICTIONS_FILE, DataChoice
from fdps.cli.evaluate.files import Files, interval_figures, show_intervals
from fdps.cli.evaluate.options import Scoring
from fdps.cli.evaluate.table import show
from fdps.cli.option_groups import grouped
from fdps.cli.progress import working
from fdps.errors import MissingDataError, UsageError

if TYPE_CHECKING:
    from fdps.evaluation import EvaluationOptions, EvaluationReport
    from fdps.predictions import Predictions
    from fdps.structures import SceneSet


@grouped
def evaluate(
    choice: DataChoice,
    scoring: Scoring,
    files: Files,
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Run folder with predictions.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Predictions file, of any system.")
    ] = None,
    pairwise: Annotated[
        bool,
        typer.Option("--pairwise", help="Measure the pairs of fdps predict --pairwise."),
    ] = False,
    bootstrap: Annotated[
        int, typer.Option(metavar="N", min=0, help="Draws for 95 % intervals; 0: no intervals.")
    ] = 0,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
) -> None:
    """Measure predictions: detection recall and AP, search mAP and top-k."""
    import json
    from dataclasses import replace

    options = scoring.checked()
    file = _file(run, predictions, PAIRS_FILE if pairwise else PREDICTIONS_FILE)
    if pairwise and files.html is not None:
        raise UsageError(
            "--html draws what embeddings tell, and pairs have none",
            hint="--out and --csv write the figures of pairs",
        )
    with working(f"Scoring {file}", hidden=json_output):
        from fdps.analysis.scored import Evaluation

        found, scenes, measure = _measured(file, choice, run, pairwise=pairwise)
        report, strict = measure(options), None
        if not json_output and options.protocol != "strict":
            strict = measure(replace(options, protocol="strict"))
        extras = interval_figures(report, bootstrap)
    files.write(Evaluation(report, found, scenes), run=run, draws=bootstrap)
    if json_output:
        print(json.dumps(report.json() | extras))
        return
    show(report, strict)
    show_intervals(extras)


def _measured(
    file: Path, choice: DataChoice, run: Path | None, *, pairwise: bool
) -> tuple["Predictions", "SceneSet", Callable[["EvaluationOptions"], "EvaluationReport"]]:
    """Read a file and its annotations; return both, and what scores them by given options."""
    from fdps.evaluation import evaluate_with
    from fdps.evaluation.pairwise.pairs import evaluate_pairs
    from fdps.evaluation.pairwise.pairs_file import load_pairs
    from fdps.predictions import load_predictions

    if pairwise:
        pairs, scenes = load_pairs(file), choice.scenes(run)
        return pairs.plain(scenes), scenes, lambda options: evaluate_pairs(pairs, scenes, options)
    found, scenes = load_predictions(file), choice.scenes(run)
    return found, scenes, lambda options: evaluate_with(options, found, scenes)


def _file(run: Path | None, given: Path | None, name: str) -> Path:
    if given is not None:
        return given
    if run is None:
        raise UsageError("nothing to evaluate", hint="give a run folder or --predictions FILE")
    if not (run / name).is_file():
        option = " --pairwise" if name == PAIRS_FILE else ""
        raise MissingDataError(
            f"{run} has no {name}", hint=f"make it with: fdps predict {run}{option}"
        )
    return run / name
