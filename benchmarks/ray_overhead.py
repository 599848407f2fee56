"""Index the same pictures the plain way and over a local Ray, in turns, and compare.

    python benchmarks/ray_overhead.py --pictures 200 --rounds 3

The pictures are drawn scenes, the network is ``drawn-people``, and both ways have one network with
one decoder. On one machine Ray has nothing to gain: the figures say what it costs. ``begin_s`` is
the time until the first scene is in the archive; ``rate`` is in pictures per second from the end of
the first task on, because the scenes of a task arrive together. Prints one JSON object; ends with
1 if the archives differ.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.embedders import load
from fdps.engine.run_log import environment
from fdps.search import Index, RayCluster
from fdps.search.ray.cluster import PICTURES_PER_TASK

MODEL = "drawn-people"


def main() -> None:
    """Draw, index in turns, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rounds: list[dict[str, dict[str, float]]] = []
    are_equal = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_dataset(SyntheticConfig(n_train_scenes=args.pictures, n_test_scenes=2), folder / "all")
        pictures = sorted((folder / "all").rglob("*.jpg"))[: args.pictures]
        for number in range(args.rounds):
            ways = {"plain": None, "ray": RayCluster("local", partial(load, MODEL))}
            archives = {way: folder / f"{way}{number}.fdps" for way in ways}
            rounds.append({way: index(archives[way], pictures, ways[way]) for way in ways})
            are_equal &= contents(archives["plain"]) == contents(archives["ray"])
    result: dict[str, Any] = {
        what: {way: median(rounds, way, what) for way in ("plain", "ray")}
        for what in ("total_s", "begin_s", "rate")
    }
    ratios = [round_["ray"]["total_s"] / round_["plain"]["total_s"] for round_ in rounds]
    result["total_ratio"] = round(statistics.median(ratios), 2)
    rates = [round_["plain"]["rate"] / round_["ray"]["rate"] for round_ in rounds]
    result["time_per_picture_ratio"] = round(statistics.median(rates), 2)
    result |= {"n_pictures": len(pictures), "rounds": args.rounds, "are_equal": are_equal}
    result |= {"load": os.getloadavg()[0], "environment": environment()}
    print(json.dumps(result, indent=1))
    sys.exit(not are_equal)


def index(archive: Path, pictures: list[Path], cluster: RayCluster | None) -> dict[str, float]:
    """Seconds in all and until the first scene, and scenes per second from then on."""
    moments: list[float] = []
    embedder = load(MODEL)
    begun = time.perf_counter()
    with Index.create(archive, embedder) as opened:
        opened.add(
            pictures,
            cluster=cluster,
            progress=lambda done, total: moments.append(time.perf_counter()),
        )
    total = time.perf_counter() - begun
    later = moments[PICTURES_PER_TASK - 1 :]
    rate = (len(later) - 1) / (later[-1] - later[0])
    return {"total_s": total, "begin_s": moments[0] - begun, "rate": rate}


def contents(archive: Path) -> list[tuple[Any, ...]]:
    """Everybody in an archive."""
    with Index.open(archive) as opened:
        query = np.eye(1, opened.info.dim, dtype=np.float32)[0]
        hits = opened.search(query, top=100_000)
        return [(hit.scene, hit.box.tolist(), hit.similarity, hit.item) for hit in hits]


def median(rounds: list[dict[str, dict[str, float]]], way: str, what: str) -> float:
    """Return the median of a figure over the rounds."""
    return round(statistics.median(figures[way][what] for figures in rounds), 2)


if __name__ == "__main__":
    main()
