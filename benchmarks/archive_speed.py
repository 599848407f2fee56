"""Time the exact search of an archive, beside faiss' exact index over the same embeddings.

    python benchmarks/archive_speed.py                          # a million people; minutes, 3 GB
    python benchmarks/archive_speed.py --n 100000 --rounds 9
    python benchmarks/archive_speed.py --archive /tmp/m.fdps    # keep it, and use it again

The archive is built by :meth:`SqliteStore.add`, ten people a scene, a hundred cameras; people of
one place in ten scenes in a row are a track, for the search of appearances. Only the flush of every
commit is switched off while it is built (``PRAGMA synchronous``), which no figure below depends on.
Each part runs in a process of its own, so that peak memory is its own; opening is
the first search of a process less an ordinary one, with the file in the page cache of the system
as building left it. Archive and faiss take turns, ``--rounds`` times; medians and least values are
printed, and the load of the machine beside them. CPU seconds are those of all threads; on a machine
that other work shares they say more than seconds on the clock. faiss is left out where it is not
installed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fdps.search import Filters, SceneRecord, SqliteStore
from fdps.structures import Detections

PEOPLE_PER_SCENE, CAMERAS = 10, 100
SCENES_PER_TRACK = 10
QUERIES_SEED = 2**32  # scenes are seeded by their number
HEIGHTS = (20.0, 400.0)  # pixels, uniform
FILTERS = {
    "half_of_the_cameras": Filters(cameras=tuple(f"{number:02}" for number in range(50))),
    "one_camera_of_100": Filters(cameras=("07",)),
    "half_of_the_heights": Filters(min_height=210.0),
    "1_percent_of_the_heights": Filters(min_height=396.2),
}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="people")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--top", type=int, default=100)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--archive", type=Path, help="where it is kept; a new one is built")
    parser.add_argument("--part", choices=["build", "archive", "faiss"], help=argparse.SUPPRESS)
    return parser.parse_args()


def unit_rows(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Random directions."""
    rows = rng.standard_normal((n, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embeddings_of(scene: int, dim: int) -> np.ndarray:
    """The people of a scene; drawn anew wherever they are needed."""
    return unit_rows(np.random.default_rng(scene), PEOPLE_PER_SCENE, dim)


def build(options: argparse.Namespace) -> dict[str, float]:
    """Fill a new archive through the ordinary store."""
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    with SqliteStore.create(options.archive, model_hash="0" * 64, dim=options.dim) as store:
        store._connection.execute("PRAGMA synchronous = OFF")
        with store.writing():
            for number in range(options.n // PEOPLE_PER_SCENE):
                name = f"camera{number % CAMERAS:02}/{number:08}.jpg"
                corner = rng.uniform(0, 500, size=(PEOPLE_PER_SCENE, 2))
                size = rng.uniform(*HEIGHTS, size=(PEOPLE_PER_SCENE, 2))
                people = Detections(
                    boxes=np.concatenate([corner, corner + size], axis=1).astype(np.float32),
                    scores=np.linspace(1, 0.5, PEOPLE_PER_SCENE, dtype=np.float32),
                    embeddings=embeddings_of(number, options.dim),
                )
                camera = f"{number % CAMERAS:02}"
                record = SceneRecord(name, f"/{name}", f"{number:064x}", 1500, 900, camera)
                store.add(record, people)
            with store._transaction():
                rows = track_rows(options.n // PEOPLE_PER_SCENE)
                store._connection.executemany("INSERT INTO tracks VALUES (?, ?)", rows)
    n_bytes = (options.archive / "index.sqlite").stat().st_size
    return {"build_s": time.perf_counter() - start, "disk_mb": n_bytes / 1e6}


def track_rows(n_scenes: int) -> Iterator[tuple[int, int]]:
    """Item and track of everybody; items count from 1."""
    for scene in range(n_scenes):
        first = scene - scene % SCENES_PER_TRACK
        for place in range(1, PEOPLE_PER_SCENE + 1):
            yield scene * PEOPLE_PER_SCENE + place, first * PEOPLE_PER_SCENE + place


def timed(name: str, call: Callable[[], object], *, per: int = 1) -> dict[str, float]:
    """Seconds on the clock and of all processors, of one call or of one of ``per`` queries."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {f"{name}_s": wall / per, f"{name}_cpu_s": cpu / per}


def search_archive(options: argparse.Namespace) -> dict[str, float]:
    """Open the archive and search it."""
    queries = unit_rows(np.random.default_rng(QUERIES_SEED), options.batch, options.dim)
    figures: dict[str, float] = {}
    with SqliteStore(options.archive) as store:

        def search(name: str, n: int, filters: Filters = Filters()) -> None:  # noqa: B008 - frozen
            def call() -> object:
                return store.search(queries[:n], top=options.top, filters=filters)

            figures.update(timed(name, call, per=n))

        search("open", 1)
        search("single", 1)
        for kind in ("s", "cpu_s"):
            figures[f"open_{kind}"] -= figures[f"single_{kind}"]
        search("batch_query", options.batch)
        for name, filters in FILTERS.items():
            search(f"{name}_first", 1, filters)
            search(f"{name}_again", 1, filters)
            search(f"{name}_batch_query", options.batch, filters)
        figures.update(timed("count", lambda: len(store)))
        figures["peak_mb"] = peak_mb()

        def search_appearances(name: str, n: int, filters: Filters = Filters()) -> None:  # noqa: B008
            def call() -> object:
                return store.search_appearances(queries[:n], top=options.top, filters=filters)

            figures.update(timed(f"appearances_{name}", call, per=n))

        search_appearances("first", 1)
        search_appearances("single", 1)
        search_appearances("batch_query", options.batch)
        for name, filters in FILTERS.items():
            search_appearances(f"{name}_first", 1, filters)
            search_appearances(f"{name}_again", 1, filters)
    return figures | {"appearances_peak_mb": peak_mb()}


def search_faiss(options: argparse.Namespace) -> dict[str, float]:
    """The same searches in faiss, without scenes, filters and ties."""
    import faiss

    index = faiss.IndexFlatIP(options.dim)
    n_scenes = options.n // PEOPLE_PER_SCENE
    for first in range(0, n_scenes, 1000):
        scenes = range(first, min(first + 1000, n_scenes))
        index.add(np.concatenate([embeddings_of(number, options.dim) for number in scenes]))
    queries = unit_rows(np.random.default_rng(QUERIES_SEED), options.batch, options.dim)
    index.search(queries[:1], options.top)
    figures = timed("single", lambda: index.search(queries[:1], options.top))
    figures |= timed("batch_query", lambda: index.search(queries, options.top), per=options.batch)
    return figures | {"peak_mb": peak_mb()}


def peak_mb() -> float:
    """Most memory this process had, without what it inherited from the one that started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def in_its_own_process(part: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one part of this script; empty where it needs a package that is not installed."""
    sizes = {"n": options.n, "dim": options.dim, "top": options.top, "batch": options.batch}
    arguments = [f"--{name}={value}" for name, value in sizes.items()]
    command = [sys.executable, __file__, "--part", part, "--archive", str(options.archive)]
    ended = subprocess.run([*command, *arguments], capture_output=True, text=True)
    if "No module named 'faiss'" in ended.stderr:
        return {}
    if ended.returncode:
        sys.exit(ended.stderr)
    return dict(json.loads(ended.stdout))


def summary(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median and least of every figure."""
    return {
        name: {
            "median": round(statistics.median(figures[name] for figures in rounds), 5),
            "least": round(min(figures[name] for figures in rounds), 5),
        }
        for name in (rounds[0] if rounds else {})
    }


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Build if need be, then let archive and faiss take turns."""
    built = {} if options.archive.exists() else in_its_own_process("build", options)
    archive, faiss, loads = [], [], []
    for _ in range(options.rounds):
        loads.append(round(os.getloadavg()[0], 2))
        archive.append(in_its_own_process("archive", options))
        faiss.append(in_its_own_process("faiss", options))
    faiss = [figures for figures in faiss if figures]
    ratios = {
        name: round(
            statistics.median(f[name] / a[name] for a, f in zip(archive, faiss, strict=True)), 2
        )
        for name in (faiss[0] if faiss else ())
        if name != "peak_mb"
    }
    return {
        "people": options.n,
        "dim": options.dim,
        "top": options.top,
        "batch": options.batch,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, NumPy {np.__version__}",
        "load_of_the_machine": loads,
        "built": {name: round(value, 1) for name, value in built.items()},
        "archive": summary(archive),
        "faiss": summary(faiss),
        "faiss_over_archive": ratios,
    }


def main() -> None:
    """Measure and print JSON."""
    options = parse()
    parts = {"build": build, "archive": search_archive, "faiss": search_faiss}
    if options.part:
        print(json.dumps(parts[options.part](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.archive = options.archive or Path(folder, "speed.fdps")
        print(json.dumps(measure(options), indent=2))


if __name__ == "__main__":
    main()
