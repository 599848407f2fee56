"""``fdps predict``: weights and scenes become a predictions file."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.chosen_data import PAIRS_FILE, PREDICTIONS_FILE, DataChoice
from fdps.cli.option_groups import grouped
from fdps.cli.progress import progress_bar as progress_bar
from fdps.cli.progress import working
from fdps.cli.train.pairs import PairChoice
from fdps.errors import UsageError
from fdps.names import printable


@grouped
def predict(
    model: Annotated[
        Path, typer.Argument(metavar="RUN|WEIGHTS", help="Run folder, weights or card.")
    ],
    choice: DataChoice,
    pairs: PairChoice,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Predictions file. [default: predictions.safetensors in the run, or "
            "pairs.safetensors]",
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(help="Leave out detections of a lower score. [default: the recipe's]"),
    ] = None,
    ground_truth_boxes: Annotated[
        bool,
        typer.Option(
            "--ground-truth-boxes", help="Embed the annotated people instead of detecting."
        ),
    ] = False,
    oracle_reid: Annotated[
        bool,
        typer.Option(
            "--oracle-reid", help="Tell detections apart by their annotations, without an error."
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="Device to run on: cpu, cuda, cuda:1, mps or auto.")
    ] = "cpu",
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Find and embed everybody in a data set, for evaluation."""
    import json
    import time

    with working("Loading the model", hidden=quiet):
        from fdps.devices import check_device
        from fdps.embedders import load
        from fdps.engine.oracle import with_oracle
        from fdps.engine.predict import predict as predict_scenes
        from fdps.predictions import save_predictions

        searcher = load(model, min_score=min_score, device=check_device(device))
        is_pairwise = pairs.checked(searcher, model)
        scenes = choice.scenes(model)
    if is_pairwise:
        if ground_truth_boxes or oracle_reid:
            named = "--ground-truth-boxes embeds" if ground_truth_boxes else "--oracle-reid embeds"
            raise UsageError(f"{named} people, and pairs have no embeddings")
        file = out or (model if model.is_dir() else model.parent) / PAIRS_FILE
        figures = pairs.run(searcher, scenes, file, min_score=min_score, quiet=quiet)
        if json_output:
            print(json.dumps(figures))
        else:
            pairs.show(figures, model, choice)
        return
    start = time.perf_counter()
    with progress_bar(f"Predict {scenes.name}", hidden=quiet) as progress:
        predictions = predict_scenes(
            searcher, scenes, progress, ground_truth_boxes=ground_truth_boxes
        )
    if oracle_reid:
        predictions = with_oracle(predictions, scenes)
    seconds = (time.perf_counter() - start) / max(len(scenes), 1)
    file = out or (model if model.is_dir() else model.parent) / PREDICTIONS_FILE
    save_predictions(predictions, file)
    if json_output:
        figures = {
            "predictions": str(file),
            "n_scenes": len(scenes),
            "n_detections": len(predictions.boxes),
            "n_queries": len(scenes.queries),
            "seconds_per_image": seconds,
            "model_hash": predictions.model_hash,
        }
        print(json.dumps(figures))
        return
    print(f"Found   {len(predictions.boxes)} people in {len(scenes)} scenes, {seconds:.3f} s each")
    print(f"Wrote   {printable(file)}")
    print(f"Next    {printable(_next_step(model, file, choice))}")


def _next_step(model: Path, file: Path, choice: DataChoice) -> str:
    """The command that scores this file on the same data."""
    words = ["fdps", "evaluate", *([str(model)] if model.is_dir() else [])]
    if not model.is_dir() or file != model / PREDICTIONS_FILE:
        words += ["--predictions", str(file)]
    return shlex.join([*words, *choice.words()])
