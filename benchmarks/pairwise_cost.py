"""Measure what a query costs in a pair-wise system, beside one that embeds a picture once.

Run it from the checkout, on the pictures of any data set:

    python benchmarks/pairwise_cost.py --data prw --root DIR

OIM-base and two settings of QEEPS have the parts and sizes of one recipe and random weights: all
work but the last suppression is the same whatever the weights are. They take turns on every
picture, so that the ratios hold on a machine that others use.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from fdps.config import LossConfig, ModelConfig, load_recipe
from fdps.data import load_scenes
from fdps.engine.pairs import as_pairwise
from fdps.models import build_model
from fdps.pictures import read_picture
from fdps.searcher import PersonSearcher, searcher_of
from fdps.structures import PairEmbedder, Picture, Query, SceneSet

SYSTEMS = {
    "oim_base": {"system": "oim_base"},
    "qeeps, excited after the trunk": {"system": "qeeps", "options": {"excited_stages": 1}},
    "qeeps, excited after three stages": {"system": "qeeps", "options": {"excited_stages": 3}},
}


@dataclass
class Cost:
    """Seconds of one system, a value for each picture or pair."""

    alone: list[float]
    begun: list[float]
    pair: list[float]

    def row(self, name: str, n_parameters: int, beside: float) -> dict[str, Any]:
        """Medians, and the ratio to a picture of OIM-base."""
        pair = statistics.median(self.pair)
        return {
            "system": name,
            "parameters": n_parameters,
            "seconds_per_picture": statistics.median(self.alone),
            "seconds_shared_by_pairs": statistics.median(self.begun),
            "seconds_per_pair": pair,
            "pair_over_oim_picture": pair / beside,
        }


def main() -> None:
    """Parse the command line, measure, print."""
    options = parse()
    torch.set_num_threads(options.threads)
    scenes = load_scenes(options.data, options.root, options.split)
    config = replace(load_recipe(options.recipe).model, backbone_weights="none")
    searchers = {name: build(config, change) for name, change in SYSTEMS.items()}
    queries = scenes.queries[:: max(len(scenes.queries) // options.queries, 1)][: options.queries]
    if not queries:
        raise SystemExit(f"{scenes.name} has no queries")
    step = max(len(scenes) // options.pictures, 1)
    pictures = [read_picture(scene.path) for scene in scenes.scenes[::step][: options.pictures]]
    costs = measure(searchers, scenes, queries, pictures)
    beside = statistics.median(costs["oim_base"].alone)
    rows = [
        cost.row(name, sum(p.numel() for p in searchers[name]._model.parameters()), beside)
        for name, cost in costs.items()
    ]
    if options.json:
        print(json.dumps({"data": scenes.name, "threads": options.threads, "rows": rows}))
    else:
        show(rows, f"{len(pictures)} pictures of {scenes.name}, {len(queries)} queries")


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="prw", help="kind of data set")
    parser.add_argument("--root", type=Path, required=True, help="its folder")
    parser.add_argument("--split", default="test", help="its split")
    parser.add_argument("--recipe", type=Path, default=Path("configs/prw_c6/oim_base.toml"))
    parser.add_argument("--pictures", type=int, default=20, help="pictures to search")
    parser.add_argument("--queries", type=int, default=3, help="queries to look for")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def build(config: ModelConfig, change: dict[str, Any]) -> PersonSearcher:
    """Build a network of random weights that keeps what it finds."""
    torch.manual_seed(1)
    model = build_model(replace(config, **change, score_threshold=0.0)).eval()
    return searcher_of(model, LossConfig().name)


def measure(
    searchers: dict[str, PersonSearcher],
    scenes: SceneSet,
    queries: tuple[Query, ...],
    pictures: list[Picture],
) -> dict[str, Cost]:
    """Let the systems take turns: alone, what pairs share, and every pair."""
    path_of = {scene.name: scene.path for scene in scenes.scenes}
    images = [(read_picture(path_of[query.scene]), query.box) for query in queries]
    pairwise: dict[str, PairEmbedder] = {n: as_pairwise(s) for n, s in searchers.items()}
    wanted = {name: [one.sought(*image) for image in images] for name, one in pairwise.items()}
    costs = {name: Cost([], [], []) for name in searchers}
    for number, picture in enumerate(pictures):
        names = [*np.roll(list(searchers), number)]  # nobody always comes first
        for name in names:
            costs[name].alone.append(timed(searchers[name].detect, picture)[0])
        for name in names:
            seconds, begun = timed(pairwise[name].begun, picture)
            costs[name].begun.append(seconds)
            for sought in wanted[name]:
                costs[name].pair.append(timed(pairwise[name].compare, sought, begun)[0])
    return costs


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds of a call, and what it returned."""
    began = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - began, result


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the medians as a table."""
    table = Table(title=title)
    for heading in ("system", "parameters", "s per picture", "s shared", "s per pair", "ratio"):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for row in rows:
        name, n_parameters, *seconds, ratio = row.values()
        told = [f"{value:.4f}" for value in seconds]
        table.add_row(name, f"{n_parameters:,}", *told, f"{ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
