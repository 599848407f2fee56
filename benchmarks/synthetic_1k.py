"""The bundled weights on the drawn bench, beside colours and an untrained network.

    fdps data synth synthetic-1k --preset synthetic-1k --workers 2
    python benchmarks/synthetic_1k.py synthetic-1k

Galleries of 100 scenes and of all test scenes. The colour histogram and the network with random
weights, which would find nobody, are given the annotated boxes, so theirs stands beside the bundled
weights with these boxes too. Prints Markdown, or JSON with ``--json``.
"""

import argparse
import json
from pathlib import Path

import torch

from fdps.analysis.colour_histogram import predict_by_colour
from fdps.data import load_scenes
from fdps.engine.predict import predict
from fdps.engine.run_log import environment
from fdps.evaluation import evaluate
from fdps.models import build_model
from fdps.models.weights import describe_weights
from fdps.predictions import Predictions
from fdps.searcher import PersonSearcher, load, weights_file

COLUMNS = ("recall", "AP", "mAP 100", "top-1 100", "mAP all", "top-1 all")


def main() -> None:
    """Predict with each system, evaluate both galleries, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of the drawn bench")
    parser.add_argument("--model", default="drawn-people", help="run folder, weights or a name")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    scenes = load_scenes("folder", options.root, "test")

    def row(predictions: Predictions) -> list[float]:
        few, everything = (evaluate(predictions, scenes, gallery=n) for n in (100, "all"))
        search = [(r.search.mean_ap, r.search.top(1)) for r in (few, everything)]
        return [everything.detection.recall, everything.detection.ap, *search[0], *search[1]]

    trained, random = load(options.model), untrained(options.model)
    rows = {
        options.model: row(predict(trained, scenes)),
        f"{options.model}, given boxes": row(predict(trained, scenes, ground_truth_boxes=True)),
        "random weights, given boxes": row(predict(random, scenes, ground_truth_boxes=True)),
        "colour histogram, given boxes": row(predict_by_colour(scenes)),
    }
    if options.json:
        print(json.dumps(environment() | {"columns": COLUMNS, "rows": rows}))
        return
    print(f"| system | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, figures in rows.items():
        print(f"| {name} | {' | '.join(f'{figure:.3f}' for figure in figures)} |")
    print(f"\n{json.dumps(environment())}")


def untrained(model: str) -> PersonSearcher:
    """The same network with random weights."""
    described = describe_weights(weights_file(model))
    torch.manual_seed(0)
    net = build_model(described.model)
    return PersonSearcher(net.eval(), "untrained")


if __name__ == "__main__":
    main()
