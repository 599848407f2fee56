"""Score systems of two steps and of one on the same scenes, and let them take turns at the clock.

    python benchmarks/two_step_systems.py runs/train/* CARD street-people --root PRW --out OUT

A model is a run folder, weights, a card, or a name; ``PRW`` is a data set in the layout of PRW.
Each model sees every picture alone and is scored with its own least score, over all queries and,
under *gap*, without pictures within 250 frame numbers of the query. A model that looks at pairs is
scored with ``--queries`` drawn queries as well, twice: in pairs, and the same queries alone.
Seconds are medians over the same pictures, from the file to embeddings, at which the models look
one after another; those of a pair are beside what all pairs with a picture share.

What is found is kept in ``--out`` and not found again. Prints Markdown.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from fdps.data import load_scenes
from fdps.embedders import load
from fdps.engine.pairs import choose_sought, predict_pairs
from fdps.engine.predict import predict
from fdps.engine.run_log import environment
from fdps.errors import FdpsError
from fdps.evaluation import EvaluationOptions, SearchResult, evaluate
from fdps.evaluation.pairwise.pairs import evaluate_pairs
from fdps.evaluation.pairwise.pairs_file import load_pairs, save_pairs
from fdps.pictures import read_picture
from fdps.predictions import load_predictions, save_predictions
from fdps.query import Searcher
from fdps.structures import PairEmbedder, SceneSet

GAPS = {"": 0, "gap ": 250}
COLUMNS = ("queries", "recall", "AP", "mAP", "top-1", "gap mAP", "gap top-1")


def main() -> None:
    """Predict, score, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--root", type=Path, required=True, metavar="PRW")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--queries", type=int, default=30, help="that pairs are made of")
    parser.add_argument("--time-pictures", type=int, default=20, help="0 measures no seconds")
    parser.add_argument("--only-seconds", action="store_true", help="score nothing")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    scenes = load_scenes("prw", options.root, "test")
    models = {name_of(place): load(place) for place in options.models}
    if not options.only_seconds:
        print(f"| model | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
        for name, model in models.items():
            for row, figures in scored(name, model, scenes, options).items():
                print(f"| {row} | {' | '.join(figures)} |", flush=True)
    if options.time_pictures:
        print("\n| model | s/picture | s a pair shares | s/pair |\n|---|---|---|---|")
        for name, seconds in time_in_turns(models, scenes, options.time_pictures).items():
            print(f"| {name} | {' | '.join(f'{s:.4f}' for s in seconds)} |")
    print(f"\n{json.dumps(environment())}")


def name_of(place: str) -> str:
    """Name a model as its folder or file is called."""
    path = Path(place)
    return path.parent.name if path.stem in {"card", "weights"} else path.stem


def scored(
    name: str, model: Searcher, scenes: SceneSet, options: argparse.Namespace
) -> dict[str, list[str]]:
    """Return the rows of a model."""
    file = options.out / f"{name}.safetensors"
    if not file.exists():
        save_predictions(predict(model, scenes), file)
    found, results = load_predictions(file), {}
    for begin, frames in GAPS.items():
        report = evaluate(found, scenes, score_threshold=0.0, min_frame_gap=frames)
        results[begin] = report.search
    detection = [f"{report.detection.recall:.3f}", f"{report.detection.ap:.3f}"]
    rows = {name: figures(detection, results, np.arange(len(scenes.queries)))}
    if not isinstance(model, PairEmbedder):
        return rows
    file = options.out / f"{name}-{options.queries}.pairs.safetensors"
    if not file.exists():
        chosen = choose_sought(scenes, n_queries=options.queries)
        save_pairs(predict_pairs(model, scenes, chosen, kept=file.with_suffix(".parts")), file)
    pairs = load_pairs(file)
    of_pairs = {
        begin: evaluate_pairs(
            pairs, scenes, EvaluationOptions(score_threshold=0.0, min_frame_gap=frames)
        ).search
        for begin, frames in GAPS.items()
    }
    each = f"{len(pairs.boxes) / pairs.n_pairs:.2f} people handed on"
    before = f"{len(found.boxes) / len(scenes):.2f} found"
    rows[f"{name}, the same queries"] = figures(detection, results, pairs.queries)
    rows[f"{name}, in pairs ({each} of {before})"] = figures(detection, of_pairs, pairs.queries)
    return rows


def figures(
    detection: list[str], results: dict[str, SearchResult], queries: np.ndarray
) -> list[str]:
    """Write the figures of some queries."""
    cells = []
    for result in results.values():
        some = np.isin(result.queries, queries)
        top = result.first_matches[some] == 1
        cells += [f"{result.average_precisions[some].mean():.3f}", f"{top.mean():.3f}"]
    n_queries = np.isin(results[""].queries, queries).sum()
    return [str(n_queries), *detection, *cells]


def time_in_turns(
    models: dict[str, Searcher], scenes: SceneSet, n_pictures: int
) -> dict[str, tuple[float, ...]]:
    """Return the median seconds of a picture, of what its pairs share, and of a pair."""
    query = scenes.queries[0]
    own = read_picture(next(s.path for s in scenes.scenes if s.name == query.scene))
    step = max(len(scenes) // (n_pictures + 1), 1)
    paths = [scene.path for scene in scenes.scenes[::step][: n_pictures + 1]]
    pairwise = {name: model for name, model in models.items() if isinstance(model, PairEmbedder)}
    sought = {name: model.sought(own, query.box) for name, model in pairwise.items()}
    seconds: dict[str, tuple[list[float], ...]] = {
        name: ([], [], []) if name in pairwise else ([],) for name in models
    }
    for path in paths:
        for name, model in models.items():
            clock = [time.perf_counter()]
            model.detect(path)
            clock.append(time.perf_counter())
            if name in pairwise:
                begun = pairwise[name].begun(read_picture(path))
                clock.append(time.perf_counter())
                pairwise[name].compare(sought[name], begun)
                clock.append(time.perf_counter())
            for values, took in zip(seconds[name], np.diff(clock), strict=True):
                values.append(float(took))
    # The first picture warms up.
    return {name: tuple(median(v[1:]) for v in values) for name, values in seconds.items()}


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
