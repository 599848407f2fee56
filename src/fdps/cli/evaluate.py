"""``fdps evaluate``: predictions and annotations become figures."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from fdps.cli.chosen_data import DATA_HELP, ROOT_HELP, SPLIT_HELP, chosen_scenes
from fdps.cli.evaluation_table import show
from fdps.cli.predict import PREDICTIONS_FILE
from fdps.errors import MissingDataError, UsageError


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Run folder with predictions.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Predictions file, of any system.")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="KIND", help=DATA_HELP)] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help=ROOT_HELP)] = None,
    split: Annotated[str | None, typer.Option(help=SPLIT_HELP)] = None,
    protocol: Annotated[str, typer.Option(help="Rules to follow.")] = "reference",
    gallery: Annotated[
        str, typer.Option(metavar="all|N", help="Scenes searched per query.")
    ] = "all",
    seed: Annotated[int, typer.Option(help="Of galleries that are drawn.")] = 0,
    min_frame_gap: Annotated[
        int, typer.Option(metavar="N", help="Ignore frames so near to the query, same camera.")
    ] = 0,
    weight_by_score: Annotated[
        bool, typer.Option("--weight-by-score", help="Multiply similarity by detector score.")
    ] = False,
    score_threshold: Annotated[float, typer.Option(help="Detections below do not count.")] = 0.5,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write a JSON report too.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
) -> None:
    """Measure predictions: detection recall and AP, search mAP and top-k."""
    import json

    from fdps.evaluation import evaluate as evaluate_predictions
    from fdps.predictions import load_predictions

    size = _gallery_size(gallery)
    found = load_predictions(_predictions_file(run, predictions))
    report = evaluate_predictions(
        found,
        chosen_scenes(run, data, root, split),
        protocol=protocol,
        gallery=size,
        seed=seed,
        min_frame_gap=min_frame_gap,
        weight_by_score=weight_by_score,
        score_threshold=score_threshold,
    )
    if out is not None:
        _write(out, json.dumps(report.record(), indent=2) + "\n")
        print(f"Wrote   {out}", file=sys.stderr)
    if json_output:
        print(json.dumps(report.json()))
    else:
        show(report)


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


def _gallery_size(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--gallery must be 'all' or a number of scenes, got {text!r}") from None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
