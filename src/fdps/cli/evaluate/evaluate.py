"""``fdps evaluate``: predictions and annotations become figures."""

from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.chosen_data import PREDICTIONS_FILE, DataChoice
from fdps.cli.evaluate.files import Files, interval_figures, show_intervals
from fdps.cli.evaluate.options import Scoring
from fdps.cli.evaluate.table import show
from fdps.cli.option_groups import grouped
from fdps.cli.progress import working
from fdps.errors import MissingDataError, UsageError


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
    file = _predictions_file(run, predictions)
    with working(f"Scoring {file}", hidden=json_output):
        from fdps.analysis.scored import Evaluation
        from fdps.evaluation import evaluate_with
        from fdps.predictions import load_predictions

        found, scenes = load_predictions(file), choice.scenes(run)
        report, strict = evaluate_with(options, found, scenes), None
        if not json_output and options.protocol != "strict":
            strict = evaluate_with(replace(options, protocol="strict"), found, scenes)
        extras = interval_figures(report, bootstrap)
    files.write(Evaluation(report, found, scenes), run=run, draws=bootstrap)
    if json_output:
        print(json.dumps(report.json() | extras))
        return
    show(report, strict)
    show_intervals(extras)


def _predictions_file(run: Path | None, predictions: Path | None) -> Path:
    if predictions is not None:
        return predictions
    if run is None:
        raise UsageError("nothing to evaluate", hint="give a run folder or --predictions FILE")
    if not (run / PREDICTIONS_FILE).is_file():
        raise MissingDataError(
            f"{run} has no {PREDICTIONS_FILE}", hint=f"make it with: fdps predict {run}"
        )
    return run / PREDICTIONS_FILE
