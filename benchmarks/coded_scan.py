"""Compare a scan of embeddings in eight bits with the plain scan, which must find the same.

    python benchmarks/coded_scan.py --n 1000000 --queries 1000

Rows are random directions, which are hardest to tell apart at the top, or clusters: many sightings
of few people. Both scans look for the 100 best of the same queries, in turns, with a random filter
for every other query. Prints one JSON object: medians of seconds and of the processor's seconds,
their ratio, and how many queries found other bits, which must be none. faiss' exact index takes
turns with them where it is installed.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np

from fdps.search.query.codes import Codes
from fdps.search.query.ranking import Best, nearest

DIM, TOP, ROWS_PER_BLOCK = 256, 100, 65_536
PAUSE_S = 0.1
"""Pause before every search: threads of a BLAS go on waiting for work, and take cores meanwhile."""

PEOPLE, SPREAD = 2_000, 0.5
"""Clusters, and the length of what a sighting differs by from its person."""


def main() -> None:
    """Measure both kinds of rows and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="people")
    parser.add_argument("--queries", type=int, default=1000)
    options = parser.parse_args()
    found = {kind: measure(kind, options) for kind in ("random", "clustered")}
    print(json.dumps({"load": os.getloadavg()[0], "n": options.n} | found, indent=1))


def rows_of(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw unit rows."""
    rows = rng.standard_normal((n, DIM), dtype=np.float32)
    if kind == "clustered":
        people = unit(rng.standard_normal((PEOPLE, DIM), dtype=np.float32))
        rows *= np.float32(SPREAD / np.sqrt(DIM))
        rows += people[rng.integers(0, PEOPLE, n)]
    return unit(rows)


def unit(rows: np.ndarray) -> np.ndarray:
    """Divide rows by their lengths, in place."""
    for start in range(0, len(rows), 4096):
        part = rows[start : start + 4096]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def measure(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Search one kind of rows in all ways."""
    rng = np.random.default_rng(1)
    rows = rows_of(kind, options.n, rng)
    blocks = [rows[start : start + ROWS_PER_BLOCK] for start in range(0, len(rows), ROWS_PER_BLOCK)]
    start = time.process_time()
    codes = [Codes.of(block) for block in blocks]
    coding_s = time.process_time() - start
    queries = rows[rng.integers(0, len(rows), options.queries)]
    queries = unit(queries + np.float32(0.02) * rng.standard_normal(queries.shape, np.float32))
    seconds: dict[str, list[tuple[float, float]]] = {"float32": [], "codes": []}
    n_different = 0
    for number, query in enumerate(queries):
        allowed = rng.random(len(rows)) < rng.random() if number % 2 else None
        found = {}
        for name, of_codes in order(number, {"float32": [], "codes": codes}):

            def search(of_codes: list[Codes] = of_codes) -> list[Best]:
                return nearest(blocks, query[None], TOP, allowed, of_codes)  # noqa: B023

            time.sleep(PAUSE_S)
            found[name] = timed(search, seconds[name])[0]
        n_different += any(
            one.tobytes() != other.tobytes()
            for one, other in zip(found["float32"], found["codes"], strict=True)
        )
    figures = summary(seconds) | {"queries with other hits": n_different, "coding_cpu_s": coding_s}
    return figures | faiss_seconds(rows, queries)


def order(number: int, ways: dict[str, list[Codes]]) -> Iterator[tuple[str, list[Codes]]]:
    """Take the ways in turns, the other way round for every other query."""
    yield from [*ways.items()][:: 1 if number // 2 % 2 else -1]


def timed(search: Callable[[], Any], seconds: list[tuple[float, float]]) -> Any:
    """Search, and note the seconds on the clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = search()
    seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
    return found


def summary(seconds: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Return medians with and without a filter, and their ratio."""
    figures: dict[str, Any] = {}
    for k, what in enumerate(("no filter", "a filter")):
        ms = {
            name: [1000 * median(of_query) for of_query in zip(*all_of_it[k::2], strict=True)]
            for name, all_of_it in seconds.items()
        }
        figures[what] = {
            "ms, ms of the processor": ms,
            "ratio": [plain / coded for plain, coded in zip(*ms.values(), strict=True)],
        }
    return figures


def faiss_seconds(rows: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    """Time the exact index of faiss on the first queries, if it is installed."""
    if find_spec("faiss") is None:
        return {}
    import faiss

    index = faiss.IndexFlatIP(DIM)
    index.add(rows)
    seconds: list[tuple[float, float]] = []
    for query in queries[:20]:
        time.sleep(PAUSE_S)
        timed(partial(index.search, query[None], TOP), seconds)
    return {"faiss Flat, ms": 1000 * median(wall for wall, _ in seconds)}


if __name__ == "__main__":
    main()
