"""Decode thousands of damaged pictures and videos; every file is read, or named with the reason.

    python benchmarks/soak_decoding.py --pictures 10000 --videos 500 --seed 1

Whole files of every format are cut short, flipped, given headers of other kinds, wrong lengths or
zeros; one picture in fifty is a decompression bomb. The decoders are those of ``fdps index``, with
its limits. Each of two takes one file at a time, so the clock is that of the file; that of the
first holds the start of the decoder. Memory is read from ``/proc``, so on Linux only. Prints one
JSON object; ends with 1 if a decoder crashed or hung, took more than it may, or a file was neither
read nor named.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fake.damage import HEADS, damaged
from fake.hostile_files import BOMBS, example_pictures, example_videos
from fdps.decoding.limits import Limits
from fdps.decoding.messages import Ending
from fdps.decoding.pool import Decoders
from fdps.engine.run_log import environment

N_DECODERS = 2
BOMB_EVERY = 50
MEMORY_ROWS = {"VmPeak:": "address_space", "VmHWM:": "resident"}


def main() -> None:
    """Damage, decode, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--videos", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1, help="of the damage")
    args = parser.parse_args()
    rng, start = random.Random(args.seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soak = Soak(folder)
        figures = {
            "pictures": soak.run(pictures(args.pictures, rng)),
            "videos": soak.run(videos(args.videos, rng, folder)),
        }
    peaks = {f"peak_{what}_mb": round(kb * 1024 / 1e6) for what, kb in soak.peaks.items()}
    faults = soak.faults + (["memory"] if soak.peaks["address_space"] * 1024 > soak.most else [])
    result = {**figures, **peaks, "faults": faults, "seconds": round(time.perf_counter() - start)}
    print(json.dumps({**result, "seed": args.seed, "environment": environment()}, indent=1))
    sys.exit(bool(faults))


def pictures(n: int, rng: random.Random) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Name, content and request of damaged pictures and bombs."""
    originals = list(example_pictures().items())
    bombs = [(f"bomb {name}", make()) for name, make in sorted(BOMBS.items())]
    for number in range(n):
        name, content = originals[number % len(originals)]
        kind, torn = damaged(content, rng, HEADS)
        name = f"{kind} {name}"
        if number % BOMB_EVERY == 0:
            name, torn = bombs[number // BOMB_EVERY % len(bombs)]
        yield f"{number:05} {name}", torn, {"do": "picture", "wants_time": True}


def videos(n: int, rng: random.Random, folder: Path) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Name, content and request of damaged videos."""
    originals = [(path.name, path.read_bytes()) for path in example_videos(folder / "whole")]
    for number in range(n):
        name, content = originals[number % len(originals)]
        kind, torn = damaged(content, rng, HEADS)
        yield f"{number:05} {kind} {name}", torn, {"do": "video", "every": "0.1s"}


class Soak:
    """Decodes, and remembers what went wrong and how much memory it took.

    Args:
        folder: Place for one damaged file of each decoder at a time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.limits = Limits()
        self.most = self.limits.memory
        self.peaks: Counter[str] = Counter()
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def run(self, files: Iterator[tuple[str, bytes, dict[str, Any]]]) -> dict[str, Any]:
        """Decode all files; what became of them, and how long the slowest took."""
        outcomes: Counter[str] = Counter()
        slowest = 0.0

        def work(_: int) -> None:
            nonlocal slowest
            with Decoders(1, self.limits) as decoders:
                while True:
                    with self._lock:
                        file = next(files, None)
                    if file is None:
                        return
                    outcome, seconds = self.decode(decoders, *file)
                    with self._lock:
                        outcomes[outcome] += 1
                        slowest = max(slowest, seconds)

        with ThreadPoolExecutor(N_DECODERS) as pool:
            list(pool.map(work, range(N_DECODERS)))
        return {**outcomes, "n": outcomes.total(), "slowest_s": round(slowest, 2)}

    def decode(
        self, decoders: Decoders, name: str, content: bytes, request: dict[str, Any]
    ) -> tuple[str, float]:
        """Return what became of one file, and the seconds that it took."""
        path = self.folder / name
        path.write_bytes(content)
        begun = time.perf_counter()
        *frames, ending = list(decoders.submit({**request, "path": str(path)}))
        seconds = time.perf_counter() - begun
        path.unlink()
        self._note_memory(decoders.workers[0].pid)
        assert isinstance(ending, Ending)
        outcome = judge(len(frames), ending.problem)
        if outcome in ("crash", "hang", "nameless") or seconds > self.limits.seconds:
            self.faults.append(f"{name}: {outcome} after {seconds:.1f} s: {ending.problem}")
        return outcome, seconds

    def _note_memory(self, pid: int | None) -> None:
        status = Path(f"/proc/{pid}/status")
        if pid is None or not status.exists():
            return
        for line in status.read_text().splitlines():
            what, *values = line.split()
            if what in MEMORY_ROWS:
                row = MEMORY_ROWS[what]
                self.peaks[row] = max(self.peaks[row], int(values[0]))


def judge(n_frames: int, problem: str) -> str:
    """The outcome in a word."""
    if problem.startswith("decoding took"):
        return "hang"
    if problem.startswith("the decoder"):
        return "crash"
    if n_frames:
        return "read_in_part" if problem else "read"
    return "refused" if problem else "nameless"


if __name__ == "__main__":
    main()
