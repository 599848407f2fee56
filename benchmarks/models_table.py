"""Compare models of any kind on one data set, and their time on pictures of five people.

    python benchmarks/models_table.py street-people two_step.toml --data prw --root DIR \
        --min-frame-gap 250 --timed PETS

A model is a run folder, weights, a card, or a name. Detections count from the score that a model
keeps by default, or from ``--min-score MODEL=SCORE``. ``--timed`` names a folder with ``vtest.mp4``
and ``people.csv``, as ``pets_tracks.py`` reads it: seconds from a file to embeddings are medians
over pictures with exactly ``--people`` annotated people, at which the models look in turns, so that
a shared machine slows them all alike. Prints Markdown, or JSON with ``--json``.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import torch
from calibration_check import pets

import fdps
from fdps.data import load_scenes
from fdps.embedders import load
from fdps.engine.predict import predict
from fdps.engine.run_log import environment
from fdps.errors import FdpsError
from fdps.structures import SceneSet

SEARCH = ("mAP", "top1")


def main() -> None:
    """Predict, evaluate, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", default="prw")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--min-frame-gap", type=int, default=0, help="for the second figures")
    parser.add_argument("--min-score", action="append", default=[], metavar="MODEL=SCORE")
    parser.add_argument("--timed", type=Path, metavar="PETS")
    parser.add_argument("--people", type=int, default=5, help="in the pictures that are timed")
    parser.add_argument("--time-pictures", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    least = dict(each.rsplit("=", 1) for each in options.min_score)
    scores = {model: float(least[model]) if model in least else None for model in options.models}
    scenes = load_scenes(options.data, options.root, options.split)
    rows = {
        model: measure(model, scenes, scores[model], options.min_frame_gap)
        for model in options.models
    }
    if options.timed:
        timed = pets(options.timed, every=5)
        for model, seconds in time_in_turns(scores, timed, options).items():
            rows[model][f"s/picture of {options.people}"] = seconds
    if options.json:
        print(json.dumps(environment() | {"rows": rows}))
        return
    columns = list(next(iter(rows.values())))
    print(f"| model | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for model, row in rows.items():
        print(f"| {Path(model).stem} | {' | '.join(f'{value:.3f}' for value in row.values())} |")
    print(f"\n{json.dumps(environment())}")


def measure(
    model: str, scenes: SceneSet, min_score: float | None, min_frame_gap: int
) -> dict[str, float]:
    """Return one row of the table, without times."""
    predictions = predict(load(model, min_score=min_score), scenes)
    found = fdps.evaluate(predictions, scenes, score_threshold=0.0).json()
    row = {name: found["detection"][name] for name in ("recall", "ap")}
    row |= {name: found["search"][name] for name in SEARCH}
    if min_frame_gap:
        apart = fdps.evaluate(
            predictions, scenes, score_threshold=0.0, min_frame_gap=min_frame_gap
        ).json()
        row |= {f"gap {name}": apart["search"][name] for name in SEARCH}
    return row


def time_in_turns(
    scores: dict[str, float | None], scenes: SceneSet, options: argparse.Namespace
) -> dict[str, float]:
    """Return the median seconds of each model on pictures with so many people."""
    paths = [scene.path for scene in scenes.scenes if len(scene.boxes) == options.people]
    if not paths:
        sys.exit(f"error: no picture of {scenes.name} shows exactly {options.people} people")
    searchers = {model: load(model, min_score=score) for model, score in scores.items()}
    seconds: dict[str, list[float]] = {model: [] for model in scores}
    for path in paths[: options.time_pictures + 1]:
        for model, searcher in searchers.items():
            start = time.perf_counter()
            searcher.detect(path)
            seconds[model].append(time.perf_counter() - start)
    return {model: median(values[1:]) for model, values in seconds.items()}  # the first warms up


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
