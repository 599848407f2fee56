"""Score finished runs on one test split, with and without near-duplicate frames, as one table.

    python benchmarks/runs_table.py runs/train/fdps runs/train/fdps_boim --min-frame-gap 250

Every run predicts the split of its own recipe, unless its predictions are of the same weights and
scenes already; they stay in the run folder. Seconds per picture, from file to embeddings, are
medians over a few pictures that the networks look at in turns, so that a shared machine slows them
all alike. Prints Markdown, or JSON with ``--json``.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import torch

from fdps.config import load_recipe
from fdps.data import load_scenes
from fdps.engine.predict import predict
from fdps.engine.run_log import environment
from fdps.errors import FdpsError
from fdps.evaluation import evaluate
from fdps.models.weights import load_weights
from fdps.predictions import Predictions, data_hash, load_predictions, save_predictions
from fdps.searcher import PersonSearcher, load
from fdps.structures import SceneSet

COLUMNS = ("recall", "ap", "mAP", "top1", "gap mAP", "gap top1", "parameters", "s/picture")
MIN_SCORE = 0.05  # kept in the file, so that any threshold above can be evaluated


def main() -> None:
    """Predict, evaluate, print."""
    options = parse()
    torch.set_num_threads(options.threads)
    rows = {run.name: measure(run, options) for run in options.runs}
    for name, seconds in time_in_turns(options.runs, options.time_pictures).items():
        rows[name][COLUMNS[-1]] = seconds
    if options.json:
        print(json.dumps(environment() | {"rows": rows}))
        return
    print(f"| system | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, row in rows.items():
        cells = (f"{v:.3f}" if isinstance(v, float) else f"{v:,}" for v in row.values())
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n{json.dumps(environment())}")


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders with weights")
    parser.add_argument("--min-frame-gap", type=int, default=250, help="for the second figures")
    parser.add_argument("--score-threshold", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--time-pictures", type=int, default=20, help="pictures to time")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser.parse_args()


def measure(run: Path, options: argparse.Namespace) -> dict[str, float | int]:
    """Return one row of the table."""
    scenes = test_scenes(run)
    searcher = PersonSearcher(*load_weights(run / "weights.safetensors"), min_score=MIN_SCORE)
    predictions = predictions_of(run, searcher, scenes)
    plain, gap = (
        evaluate(
            predictions, scenes, score_threshold=options.score_threshold, min_frame_gap=frames
        ).json()
        for frames in (0, options.min_frame_gap)
    )
    values = (
        *(plain["detection"][name] for name in ("recall", "ap")),
        *(plain["search"][name] for name in ("mAP", "top1")),
        *(gap["search"][name] for name in ("mAP", "top1")),
        sum(p.numel() for p in load_weights(run / "weights.safetensors")[0].parameters()),
    )
    return dict(zip(COLUMNS, values, strict=False))


def predictions_of(run: Path, searcher: PersonSearcher, scenes: SceneSet) -> Predictions:
    """Predictions of a run, from its folder if they are there."""
    file = run / "predictions.safetensors"
    if file.is_file():
        kept = load_predictions(file)
        if (kept.model_hash, kept.data_hash) == (searcher.model_hash, data_hash(scenes)):
            return kept
    predictions = predict(searcher, scenes)
    save_predictions(predictions, file)
    return predictions


def time_in_turns(runs: list[Path], n_pictures: int) -> dict[str, float]:
    """Median seconds per picture of each run, measured on the same pictures one after the other."""
    searchers = {run.name: load(run) for run in runs}
    paths = [scene.path for scene in test_scenes(runs[0]).scenes[: n_pictures + 1]]
    seconds: dict[str, list[float]] = {name: [] for name in searchers}
    for path in paths:
        for name, searcher in searchers.items():
            start = time.perf_counter()
            searcher.detect(path)
            seconds[name].append(time.perf_counter() - start)
    return {name: median(values[1:]) for name, values in seconds.items()}  # the first one warms up


def test_scenes(run: Path) -> SceneSet:
    """Test split that the recipe of a run names."""
    source = load_recipe(run / "recipe.toml").data.test
    if source is None:
        sys.exit(f"error: the recipe in {run} names no test data")
    return load_scenes(source.kind, Path(source.root), source.split)


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
