"""Time the evaluation at the size of CUHK-SYSU and PRW, beside the same rules as plain loops.

    python benchmarks/evaluation_speed.py                       # every gallery size; minutes
    python benchmarks/evaluation_speed.py --queries 20 --rerank

Scenes, galleries and predictions are drawn from a seed. The loops of ``tests/fake/loops.py`` take
minutes to hours for all queries, so ``--queries`` of them are searched by loops, right before and
after the fast evaluation, and their time is scaled to all queries. CPU seconds are those of all
threads; on a machine that other work shares they say more than seconds on the clock. Peak memory
is that of the process, with scenes, lists and predictions in it.
"""

import argparse
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np

from fake.geometry import CUHK, PRW, Size, draw_predictions, draw_scenes
from fake.loops import Run, loop_detection, loop_search
from fdps.evaluation import EvaluationReport, evaluate
from fdps.predictions import Predictions
from fdps.structures import SceneSet


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of all processors."""

    wall: float
    cpu: float


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=12, help="searched by loops; 0: none")
    parser.add_argument("--rounds", type=int, default=2, help="evaluations; the best one counts")
    parser.add_argument("--rerank", action="store_true", help="also time every re-ranking")
    parser.add_argument("--sets", nargs="+", default=["prw", "cuhk"], choices=["prw", "cuhk"])
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def timed(call: Callable[[], object]) -> Cost:
    """Seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def loop_cost(predictions: Predictions, scenes: SceneSet, n: int) -> Cost:
    """Seconds of the loops for all queries, from ``n`` of them that are spread evenly."""
    chosen = np.linspace(0, len(scenes.queries) - 1, n).astype(int).tolist()
    queries = tuple(scenes.queries[row] for row in chosen)
    few = replace(predictions, query_embeddings=predictions.query_embeddings[chosen])
    made: list[Run] = []
    once = timed(lambda: made.append(Run(few, scenes)))
    detection = timed(lambda: loop_detection(made[0]))
    search = timed(lambda: loop_search(made[0], queries))
    factor = len(scenes.queries) / n
    return Cost(
        once.wall + detection.wall + factor * search.wall,
        once.cpu + detection.cpu + factor * search.cpu,
    )


def measure(
    name: str, predictions: Predictions, scenes: SceneSet, options: argparse.Namespace
) -> None:
    """Print one row of the table."""
    reports: list[EvaluationReport] = []
    slow = [loop_cost(predictions, scenes, options.queries)] if options.queries else []
    costs = [
        timed(lambda: reports.append(evaluate(predictions, scenes))) for _ in range(options.rounds)
    ]
    fast = min(costs, key=lambda cost: cost.cpu)
    if options.queries:
        slow.append(loop_cost(predictions, scenes, options.queries))
    cells = [name, f"{fast.wall:.2f}", f"{fast.cpu:.2f}", f"{peak_mb():.0f}"]
    if slow:
        wall, cpu = (np.mean([getattr(cost, field) for cost in slow]) for field in ("wall", "cpu"))
        ratio = min(cost.cpu for cost in slow) / fast.cpu
        cells += [f"{wall:.0f}", f"{cpu:.0f}", f"{ratio:.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def rerank_rows(name: str, predictions: Predictions, scenes: SceneSet) -> None:
    """Print what each re-ranking costs, on top of the search."""
    for changed in (
        {},
        {"query_expansion": 5},
        {"rerank": "cbgm"},
        {"rerank": "cbgm-mean"},
        {"rerank": "k-reciprocal"},
    ):
        wall, cpu = time.perf_counter(), time.process_time()
        search = evaluate(predictions, scenes, **changed).search
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        what = " ".join(str(value) for value in changed.values())
        print(
            f"| {name}, {' '.join(changed) or 'none'} {what} | {wall:.2f} | {cpu:.2f} | "
            f"{search.rerank_seconds:.2f} | {search.mean_ap:.4f} |",
            flush=True,
        )


def peak_mb() -> float:
    """Most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def drawn(size: Size, seed: int) -> tuple[Predictions, SceneSet]:
    """Predictions and scenes; reading them is not measured."""
    scenes = draw_scenes(size, seed)
    return draw_predictions(scenes, seed, noise=2.0), scenes


def main() -> None:
    """Measure and print."""
    options = parse()
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    print("| set | seconds | CPU seconds | peak MB | loops: seconds | CPU seconds | ratio (CPU) |")
    print("|---|---|---|---|---|---|---|")
    sets = {}
    for kind in options.sets:
        predictions, scenes = drawn({"prw": PRW, "cuhk": CUHK}[kind], options.seed)
        sets[kind] = predictions, scenes
        if not scenes.query_lists:
            measure(f"{kind}, all scenes", predictions, scenes, options)
        for gallery, read in scenes.query_lists.items():
            listed = SceneSet(scenes.name, scenes.scenes, read())
            measure(f"{kind}, {gallery} scenes", predictions, listed, options)
    if options.rerank:
        print("\n| re-ranking | seconds | CPU seconds | of that re-ranking | mAP (drawn data) |")
        print("|---|---|---|---|---|")
        for kind, (predictions, scenes) in sets.items():
            rerank_rows(kind, predictions, scenes)


if __name__ == "__main__":
    main()
