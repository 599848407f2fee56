"""Score a two-step card, heads on its re-ID network, and what bounds them.

    python benchmarks/two_step_heads.py --card CARD --root PRW --out runs/heads

``CARD`` is a detector and a re-ID network (docs/guides/models.md), ``PRW`` a data set in the layout
of PRW, such as one camera of it. On the features of the card's re-ID network a linear layer learns
from annotated boxes, from detected ones, and from both in half as many epochs, with several seeds
(``configs/prw_c6/two_step_head.toml``). Upper bounds are the same network on annotated boxes, and
the same detector before a re-ID network that is never wrong.

Prints a line for everything as it is scored, then a Markdown table: means and deviations over
seeds, and 95 % intervals over queries where nothing is trained. What is made is kept in ``--out``
and not made again.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fdps.config import load_recipe
from fdps.data import load_scenes
from fdps.data.identities import concatenate
from fdps.embedders import load
from fdps.engine.oracle import with_oracle
from fdps.engine.predict import predict
from fdps.engine.run_log import environment
from fdps.engine.train import train
from fdps.errors import FdpsError
from fdps.evaluation import evaluate
from fdps.evaluation.breakdowns.details import intervals as bounds
from fdps.predictions import Predictions, load_predictions, save_predictions
from fdps.structures import SceneSet

RECIPE = Path(__file__).parents[1] / "configs" / "prw_c6" / "two_step_head.toml"
MIN_SCORE, MIN_FRAME_GAP = 0.3, 250
HEADS = {"annotated": 20, "detected": 20, "both": 10}
"""Boxes that a head learns from, and epochs: both are twice as many."""


def main() -> None:
    """Train, predict, score and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, metavar="PRW")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    test = load_scenes("prw", options.root, "test")
    rows = dict(untrained(options.card, test, options.out))
    for boxes, epochs in HEADS.items():
        runs = [head(boxes, epochs, seed, options) for seed in range(1, options.seeds + 1)]
        files = [kept(run / "predictions.safetensors", predicted(run, test)) for run in runs]
        rows[f"a head, {boxes}"] = [scored(file, test, intervals=False) for file in files]
        print(json.dumps({"row": f"a head, {boxes}", "seeds": rows[f"a head, {boxes}"]}))
    columns = ("recall", "ap", "mAP", "top1", "gap mAP", "gap top1")
    print(f"\n| model | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, seeds in rows.items():
        print(f"| {name} | {' | '.join(cell(seeds, column) for column in columns)} |")
    print(f"\n{json.dumps(environment())}")


def untrained(
    card: Path, test: SceneSet, out: Path
) -> list[tuple[str, list[dict[str, list[float]]]]]:
    """Score the card as it is, and the two upper bounds."""
    found = kept(out / "card.safetensors", lambda: predict(load(card), test))
    given = kept(
        out / "annotated_boxes.safetensors",
        lambda: predict(load(card), test, ground_truth_boxes=True),
    )
    perfect = kept(out / "oracle.safetensors", lambda: with_oracle(load_predictions(found), test))
    named = {"the card": found, "annotated boxes": given, "a perfect re-ID network": perfect}
    rows = []
    for name, file in named.items():
        rows.append((name, [scored(file, test, intervals=True)]))
        print(json.dumps({"row": name} | rows[-1][1][0]), flush=True)
    return rows


def head(boxes: str, epochs: int, seed: int, options: argparse.Namespace) -> Path:
    """Train a head, go on with it, or find that it is finished."""
    run: Path = options.out / f"{boxes}-{seed}"
    settings = [
        f"model.detector={options.card}",
        f"model.backbone=card:{options.card}",
        f"model.boxes={boxes}",
        f"train.epochs={epochs}",
        f"train.seed={seed}",
    ]
    if not (run / "weights.safetensors").exists():
        scenes = concatenate([load_scenes("prw", options.root, "train")], "prw/train")
        train(load_recipe(RECIPE, settings), scenes, run)
    return run


def predicted(run: Path, test: SceneSet) -> Callable[[], Predictions]:
    """Return what lets a run look at the test scenes."""
    return lambda: predict(load(run), test)


def kept(file: Path, make: Callable[[], Predictions]) -> Path:
    """Make predictions unless they are there, and return their file."""
    if not file.exists():
        save_predictions(make(), file)
    return file


def scored(file: Path, test: SceneSet, *, intervals: bool) -> dict[str, list[float]]:
    """Return the figures of a file, each with its interval where that is asked for."""
    found = load_predictions(file)
    figures: dict[str, list[float]] = {}
    for begin, frames in (("", 0), ("gap ", MIN_FRAME_GAP)):
        report = evaluate(found, test, score_threshold=MIN_SCORE, min_frame_gap=frames)
        plain = report.json()
        ends = bounds(report, n_draws=2000) if intervals else {}
        figures |= {name: [plain["detection"][name]] for name in ("recall", "ap")}
        for name in ("mAP", "top1"):
            figures[begin + name] = [plain["search"][name], *(ends.get(name) or ())]
    return figures


def cell(seeds: list[dict[str, list[float]]], column: str) -> str:
    """Write a mean, and its deviation over seeds or its interval."""
    first = seeds[0][column]
    if len(seeds) == 1:
        ends = f" ({first[1]:.3f} to {first[2]:.3f})" if len(first) == 3 else ""
        return f"{first[0]:.3f}{ends}"
    values = [seed[column][0] for seed in seeds]
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
