"""What a model takes for a person, at each least score that ``--min-score`` could have.

    python benchmarks/detector_scores.py street-people --data prw --root DIR
    python benchmarks/detector_scores.py street-people --data coco --root DIR --nobody EMPTY

Prints a row for each score: people found and the share of detections that are people, by the
annotations of a data set, and with ``--nobody`` the detections in a picture of a folder that shows
nobody. What the annotations leave out counts as wrong, so precision is a lower bound.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from fdps.data import load_scenes
from fdps.embedders import load
from fdps.engine.predict import predict
from fdps.engine.run_log import environment
from fdps.errors import FdpsError
from fdps.evaluation.detection import DetectionResult, evaluate_detection
from fdps.evaluation.grouping import group_by_scene
from fdps.structures import SceneSet

SCORES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


def main() -> None:
    """Look at all pictures once, with the lowest score, and count at each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--data", default="prw")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--every", type=int, default=1, help="look at each so manyth picture")
    parser.add_argument("--nobody", type=Path, help="folder of pictures that show nobody")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    searcher = load(options.model, min_score=min(SCORES))
    scenes = load_scenes(options.data, options.root, options.split)
    scenes = SceneSet(scenes.name, scenes.scenes[:: options.every])
    found = group_by_scene(predict(searcher, scenes), scenes, min_score=min(SCORES))
    result = evaluate_detection(found, scenes)
    pictures = sorted(options.nobody.iterdir())[:: options.every] if options.nobody else []
    wrong = [score for path in pictures for score in searcher.detect(path).scores.tolist()]
    print(f"{len(scenes)} pictures with {result.n_people} people, {len(pictures)} with nobody\n")
    print("| least score | recall | precision | in a picture of nobody |\n|---|---|---|---|")
    for score in SCORES:
        recall, precision = at(result, score)
        empty = f"{np.greater_equal(wrong, score).sum() / len(pictures):.2f}" if pictures else ""
        print(f"| {score:g} | {recall:.3f} | {precision:.3f} | {empty} |")
    print(f"\n{json.dumps(environment())}")


def at(result: DetectionResult, score: float) -> tuple[float, float]:
    """Return recall and precision of the detections of at least this score."""
    reached = np.flatnonzero(result.curve_score >= score)
    if not len(reached):
        return 0.0, float("nan")
    return float(result.curve_recall[reached[-1]]), float(result.curve_precision[reached[-1]])


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
