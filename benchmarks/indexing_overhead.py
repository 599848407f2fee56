"""Measure what indexing costs beyond the network: decoding, hashing, planning, the archive.

Files are indexed twice, each time into a new archive. The first time the network looks at
everything, and its time is taken; the rest of the time on the clock is what else was waited for.
The second time the same people are handed out at once, so that everything but the network is left:
its time, and the CPU seconds of this process and of the decoders. Both are given as shares of the
network's time within the same run, because a machine that others share is not equally fast for
long. Run it from the checkout:

    python benchmarks/indexing_overhead.py --model CARD SOURCE...
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from fdps.embedders import load
from fdps.query import Searcher
from fdps.search import Found, Index, find_pictures
from fdps.structures import Boxes, Detections, Embedder, Picture


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    parser.add_argument("--model", required=True)
    parser.add_argument("--every", default="0.5s")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    found = find_pictures(options.sources, videos=True)
    network = Timed(load(options.model))
    whole_s, _ = indexed(network, found, options.every, options.workers)
    rest_s, cpu_s = indexed(Known(network), found, options.every, options.workers)
    network_s, n = network.seconds, len(network.people)
    print(f"{n} pictures and frames of {len(found.frames)} files")
    print(f"indexing          {whole_s:7.2f} s   {1000 * whole_s / n:6.1f} ms each")
    print(f"network           {network_s:7.2f} s   {1000 * network_s / n:6.1f} ms each")
    print(f"waited for else   {whole_s - network_s:7.2f} s   {whole_s / network_s - 1:6.1%}")
    print(f"without network   {rest_s:7.2f} s   {rest_s / network_s:6.1%}")
    print(f"  in CPU seconds  {cpu_s:7.2f} s   {cpu_s / network_s:6.1%}")


class Timed:
    """A model that keeps what it finds, and how long it took."""

    def __init__(self, searcher: Searcher) -> None:
        self.model_hash, self.dim = searcher.model_hash, searcher.dim
        self._searcher = searcher
        self.people: list[Detections] = []
        self.seconds = 0.0

    def detect(self, image: Picture) -> Detections:
        """Find and embed everybody."""
        begun = time.perf_counter()
        self.people.append(self._searcher.detect(image))
        self.seconds += time.perf_counter() - begun
        return self.people[-1]

    def embed(self, image: Picture, boxes: Boxes) -> np.ndarray:
        """Embed given people."""
        return self._searcher.embed(image, boxes)


class Known:
    """Hands out in turn what another one found."""

    def __init__(self, other: Timed) -> None:
        self.model_hash, self.dim = other.model_hash, other.dim
        self.embed = other.embed
        self._people = iter(other.people)

    def detect(self, image: Picture) -> Detections:
        """The next answer, whatever the picture."""
        return next(self._people)


def indexed(embedder: Embedder, found: Found, every: str, workers: int) -> tuple[float, float]:
    """Seconds on the clock until everything is in a new archive, and CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        begun, cpu = time.perf_counter(), cpu_seconds()
        with Index.create(Path(folder) / "a.fdps", embedder) as index:
            index.add(found, every=every, workers=workers)
        return time.perf_counter() - begun, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
