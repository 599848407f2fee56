"""Measure how much of a data set colour alone solves: a network has to beat this.

    python benchmarks/colour_histogram.py folder scenes
    python benchmarks/colour_histogram.py prw ../shared/data/prw_c6 --min-frame-gap 250
    python benchmarks/colour_histogram.py folder scenes --out colour.safetensors

The detections are the annotated boxes, so only the search figures tell something. With ``--out``
the predictions stay, for ``fdps evaluate --predictions FILE``. Prints one JSON object.
"""

import argparse
import json
import time
from pathlib import Path

from fdps.analysis.colour_histogram import predict_by_colour
from fdps.data import KINDS, load_scenes
from fdps.evaluation import evaluate
from fdps.predictions import save_predictions


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS, help="kind of data set")
    parser.add_argument("root", type=Path, help="its folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--min-frame-gap", type=int, default=0, help="ignore frames so near")
    parser.add_argument("--out", type=Path, help="predictions file to write")
    return parser.parse_args()


def main() -> None:
    """Predict, evaluate, print."""
    args = parse()
    scenes = load_scenes(args.kind, args.root, args.split)
    start = time.perf_counter()
    predictions = predict_by_colour(scenes)
    seconds = time.perf_counter() - start
    if args.out is not None:
        save_predictions(predictions, args.out)
    report = evaluate(predictions, scenes, min_frame_gap=args.min_frame_gap)
    per_scene = {"seconds_per_scene": round(seconds / len(scenes), 4)}
    print(json.dumps({"data": scenes.name} | report.json() | per_scene, indent=2))


if __name__ == "__main__":
    main()
