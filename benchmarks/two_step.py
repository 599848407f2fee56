"""Measure the two-step baseline: a YOLOX detector, then a re-ID network on every crop.

Run it from the checkout; the models are any files of the layouts that fdps.runtime.two_step names:

    python benchmarks/two_step.py --detector yolox_nano.onnx --reid person_reid_retail_0248.onnx \
        --data prw --root DIR

It writes a predictions file per describer, so that ``fdps evaluate --predictions`` can score them
again, and prints one row per evaluation.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from onnx_parameters import n_parameters
from rich.console import Console
from rich.table import Table

from fdps.analysis.colour_histogram import colour_histograms
from fdps.data import load_scenes
from fdps.engine.predict import predict
from fdps.errors import FdpsError
from fdps.evaluation import EvaluationReport, evaluate
from fdps.predictions import Predictions, save_predictions
from fdps.runtime.two_step import TwoStep, load_two_step
from fdps.structures import Boxes, Picture, SceneSet


class Colours:
    """A describer that knows colours alone: what a re-ID network has to be better than."""

    model_hash = "colours"
    dim = 384

    def embed(self, image: Picture, boxes: Boxes) -> np.ndarray:
        """Unit rows, one per box."""
        return colour_histograms(image, boxes)


def main() -> None:
    """Parse the command line, measure, print."""
    options = parse()
    scenes = load_scenes(options.data, options.root, options.split)
    two_step = load_two_step(
        options.detector, options.reid, min_score=options.min_score, threads=options.threads
    )
    systems = {"two_step": two_step}
    if options.histogram:
        systems["histogram"] = TwoStep(two_step.detector, Colours())
    rows = []
    for name, system in systems.items():
        predictions, seconds = measure(system, scenes)
        save_predictions(predictions, options.out / f"{name}.safetensors")
        for gap in (0, *options.min_frame_gap):
            report = evaluate(
                predictions, scenes, score_threshold=options.min_score, min_frame_gap=gap
            )
            rows.append(figures(name, seconds, report))
    summary = {
        "data": scenes.name,
        "detector_parameters": n_parameters(options.detector),
        "reid_parameters": n_parameters(options.reid),
        "threads": options.threads,
        "rows": rows,
    }
    if options.json:
        print(json.dumps(summary))
    else:
        show(summary)


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", type=Path, required=True, help="YOLOX as ONNX")
    parser.add_argument("--reid", type=Path, required=True, help="re-ID network as ONNX")
    parser.add_argument("--data", required=True, help="kind of data set, for example prw")
    parser.add_argument("--root", type=Path, required=True, help="where it lies")
    parser.add_argument("--split", default="test")
    parser.add_argument("--min-score", type=float, default=0.3, help="of detector and evaluation")
    parser.add_argument("--min-frame-gap", type=int, nargs="*", default=[], metavar="FRAMES")
    parser.add_argument("--histogram", action="store_true", help="colour histograms as well")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/two_step"), help="folder")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser.parse_args()


def measure(system: TwoStep, scenes: SceneSet) -> tuple[Predictions, float]:
    """Predictions and the seconds per picture, decoding and query embedding included."""
    start = time.perf_counter()
    predictions = predict(system, scenes)
    return predictions, (time.perf_counter() - start) / len(scenes)


def figures(name: str, seconds: float, report: EvaluationReport) -> dict[str, object]:
    """Return one row of the table."""
    found = report.json()
    return {
        "system": name,
        "min_frame_gap": report.options.min_frame_gap,
        **found["detection"],
        **found["search"],
        "seconds_per_image": seconds,
    }


def show(summary: dict[str, object]) -> None:
    """Print the table."""
    table = Table(title=f"two-step baseline on {summary['data']}, {summary['threads']} thread(s)")
    for column in summary["rows"][0]:
        table.add_column(column, justify="left" if column == "system" else "right")
    for row in summary["rows"]:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    console = Console(width=120)
    console.print(table)
    console.print(
        f"parameters: detector {summary['detector_parameters']:,}, "
        f"re-ID {summary['reid_parameters']:,}"
    )


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
