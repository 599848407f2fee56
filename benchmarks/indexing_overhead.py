"""What indexing costs beyond the network: decoding, hashing, planning, the archive.

The same pictures and frames are first decoded and kept in memory, and the network looks at them,
with nothing else to do; then they are indexed from the files. Both take turns for some rounds.
Printed are the medians, and the overhead: how much longer indexing takes than the network alone.
Run it from the checkout on a machine with nothing else to do:

    python benchmarks/indexing_overhead.py --model CARD SOURCE...
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from fdps.decoding.messages import DecodedFrame
from fdps.decoding.pool import Decoders
from fdps.embedders import load
from fdps.query import Searcher
from fdps.search import Found, Index, find_pictures
from fdps.structures import Picture


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    parser.add_argument("--model", required=True)
    parser.add_argument("--every", default="0.5s")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found = find_pictures(options.sources, videos=True)
    searcher = load(options.model)
    images = decoded(found, options.every)
    searcher.detect(images[0])
    alone, whole = [], []
    for _ in range(options.rounds):
        alone.append(look_at(searcher, images))
        whole.append(indexed(searcher, found, options.every, options.workers))
    network, indexing = statistics.median(alone), statistics.median(whole)
    print(f"{len(images)} pictures and frames of {len(found.frames)} files")
    print(f"network alone  {network:8.2f} s   {1000 * network / len(images):7.1f} ms each")
    print(f"indexing       {indexing:8.2f} s   {1000 * indexing / len(images):7.1f} ms each")
    print(f"overhead       {indexing / network - 1:8.1%}")


def decoded(found: Found, every: str) -> list[Picture]:
    """Everything that will be looked at."""
    images: list[Picture] = []
    with Decoders() as decoders:
        for file in found.frames:
            request = {"do": "video" if file.is_video else "picture", "path": str(file.path)}
            job = decoders.submit(request | {"every": every})
            images += [event.image for event in job if isinstance(event, DecodedFrame)]
    return images


def look_at(searcher: Searcher, images: list[Picture]) -> float:
    """Seconds that the network takes."""
    begun = time.perf_counter()
    for image in images:
        searcher.detect(image)
    return time.perf_counter() - begun


def indexed(searcher: Searcher, found: Found, every: str, workers: int) -> float:
    """Seconds until everything is in a new archive."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with Index.create(Path(folder) / "a.fdps", searcher) as index:
            index.add(found, every=every, workers=workers)
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
