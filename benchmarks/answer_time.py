"""Measure how long the verbs that run no network take, and how much memory they need.

An archive of people with random embeddings is written, then each verb runs in processes of its own,
in turns with the same verb of another checkout, so that a busy machine slows both. Seconds are
those on the clock of a whole process; memory is its peak, and for a search also what is left of the
peak without the embeddings. Run it from the checkout:

    python benchmarks/answer_time.py [--people 100000] [--against CHECKOUT]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fdps.search.sqlite.store import SqliteStore
from fdps.search.store import SceneRecord
from fdps.structures import Detections

CODE = """
import re, sys
from pathlib import Path
from fdps.cli.main import main
code = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
print(peak[1], file=sys.stderr)
sys.exit(code)
"""
# Not what the system says of an ended child: that is never less than the parent had when it began.

HERE = Path(__file__).resolve().parents[1]
PEOPLE_OF_A_SCENE = 10
MIB = 2**20


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256, help="length of an embedding")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="root of another checkout")
    options = parser.parse_args()
    checkouts = {"here": HERE} | ({"against": options.against} if options.against else {})
    matrix_mib = options.people * options.dim * 4 / MIB
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place) / "a.fdps"
        write_archive(archive, options.people, options.dim)
        print(f"{options.people} people, embeddings of {matrix_mib:.0f} MiB")
        verbs = {
            "search --item 7": (["search", str(archive), "--item", "7"], matrix_mib),
            "models list": (["models", "list"], 0.0),
        }
        for title, (words, known_mib) in verbs.items():
            runs: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
            for _ in range(options.rounds):
                for name, root in checkouts.items():
                    runs[name].append(measured(root, words))
            for name, of_checkout in runs.items():
                seconds = statistics.median(run[0] for run in of_checkout)
                peak_mib = statistics.median(run[1] for run in of_checkout)
                print(
                    f"{title:16} {name:8} {seconds:6.2f} s   peak {peak_mib:5.0f} MiB, "
                    f"{peak_mib - known_mib:5.0f} MiB beyond the embeddings"
                )


def write_archive(folder: Path, n_people: int, dim: int) -> None:
    """Write an archive of unit vectors that point anywhere, ten people to a scene."""
    random = np.random.default_rng(0)
    with SqliteStore.create(folder, model_hash="0" * 64, dim=dim) as store:
        scenes = []
        for number, first in enumerate(range(0, n_people, PEOPLE_OF_A_SCENE)):
            n = min(PEOPLE_OF_A_SCENE, n_people - first)
            corners = random.uniform(0, 500, (n, 2))
            embeddings = random.standard_normal((n, dim))
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
            people = Detections(
                boxes=np.hstack([corners, corners + 100]).astype(np.float32),
                scores=np.full(n, 0.9, dtype=np.float32),
                embeddings=embeddings.astype(np.float32),
            )
            name = f"{number}.jpg"
            record = SceneRecord(name, f"pictures/{name}", f"{number:064x}", 640, 640)
            scenes.append((record, people))
        store.replace("pictures", scenes)  # all in one transaction


def measured(checkout: Path, words: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a verb in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-c", CODE, *words]
    begun = time.perf_counter()
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if ended.returncode:
        raise SystemExit(f"fdps {' '.join(words)} failed:\n{ended.stderr}")
    return seconds, int(ended.stderr.splitlines()[-1]) / 1024


if __name__ == "__main__":
    main()
