"""Kill what changes an archive at random moments, go on, and compare with a clean build.

    python benchmarks/soak_archive.py --kills 200

Drawn pictures and a video become an archive by the bundled weights; some scenes are removed, some
people forgotten, and the file is compacted. Every one of these steps gets SIGKILL after a random
time, until it has come to its end. After each kill the archive must be whole (``fdps archive
verify``), hold no scene twice and every scene that was seen in it before. At the end its hits must
be those of an archive that was never disturbed. Prints one JSON object; ends with 1 if something
was not so.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.embedders import load
from fdps.errors import MissingDataError
from fdps.search import Index
from fdps.search.audit import Note
from fdps.search.care.compaction import compact
from fdps.search.care.forget import forget
from fdps.search.care.verify import verify
from fdps.search.open_store import open_store
from fdps.structures import Embedder

PICTURES, FRAMES = 6, 4
FORGOTTEN, REMOVED = 3, 4  # people; scenes


@dataclass(frozen=True)
class Step:
    """Something that changes an archive.

    Args:
        name: Name for the counts.
        change: To be repeated until it has come to its end.
        longest_s: It is killed after a random time up to this.
        loses: Scenes that it may take away.
    """

    name: str
    change: Callable[[Path], object]
    longest_s: float
    loses: frozenset[str] = frozenset()


def main() -> None:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    torch.set_num_threads(1)
    moments, start = random.Random(args.seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sources, clean = draw(Path(folder) / "event"), Path(folder) / "clean.fdps"
        embedder = load("drawn-people")
        steps = plan(sources, embedder, clean)
        for step in steps:
            step.change(clean)
        expected = answers(clean)
        faults: list[str] = []
        kills: Counter[str] = Counter()
        n_archives = 0
        while kills.total() < args.kills:
            archive = Path(folder) / f"{n_archives}.fdps"
            faults += disturb(archive, steps, args.kills, moments, kills)
            if answers(archive) != expected:
                faults.append(f"{archive.name}: other hits than the clean archive")
            shutil.rmtree(archive)
            n_archives += 1
    figures = {
        "is_right": not faults,
        "kills": kills.total(),
        "kills_of": dict(kills),
        "archives": n_archives,
        "faults": faults,
        "seconds": round(time.perf_counter() - start, 1),
    }
    print(json.dumps(figures, indent=1))
    sys.exit(bool(faults))


def draw(root: Path) -> Path:
    """Small pictures of people, and a video of some of them."""
    config = SyntheticConfig(n_train_scenes=PICTURES, n_test_scenes=2, width=256, height=192)
    draw_dataset(config, root / "drawn")
    pictures = sorted((root / "drawn").rglob("*.jpg"))
    for path in pictures:
        (root / "photos").mkdir(exist_ok=True)
        path.rename(root / "photos" / f"{path.parent.name}_{path.name}")
    shutil.rmtree(root / "drawn")
    with av.open(str(root / "photos/clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 256, 192, "yuv420p"
        stream.codec_context.bit_rate = 4_000_000
        for path in sorted((root / "photos").glob("*.jpg"))[:FRAMES]:
            # Mirrored, so that no frame is a picture once more.
            pixels = np.asarray(Image.open(path).convert("RGB"))[:, ::-1]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return root / "photos"


def plan(sources: Path, embedder: Embedder, clean: Path) -> list[Step]:
    """Return the steps that every archive goes through, in this order."""

    def index(archive: Path) -> None:
        try:
            opened = Index.open(archive, embedder)
        except MissingDataError:
            opened = Index.create(archive, embedder)
        with opened:
            opened.add(sources, every="0.5s")

    index(clean)
    with Index.open(clean) as built:
        scenes = sorted(record.name for record in built.store.find_all())
        everybody = built.search(np.eye(1, built.info.dim, dtype=np.float32)[0], len(built))
    chosen = random.Random(0)
    gone = frozenset(chosen.sample(scenes, REMOVED))
    items = [hit.item for hit in everybody if hit.scene not in gone]
    people = chosen.sample(sorted(items), FORGOTTEN)

    def remove(archive: Path) -> None:
        with Index.open(archive) as opened:
            for name in sorted(gone):
                opened.remove(scenes=[name])

    def erase(archive: Path) -> None:
        with Index.open(archive) as opened:
            for item in people:
                forget(opened.store, [item], reason="soak")

    def shrink(archive: Path) -> None:
        with open_store(archive) as store:
            store.record(Note("search"))
            compact(store)

    return [
        Step("index", index, 1.2),
        Step("remove", remove, 0.15, gone),
        Step("forget", erase, 0.15),
        Step("compact", shrink, 0.15),
    ]


def disturb(
    archive: Path, steps: list[Step], n_kills: int, moments: random.Random, kills: Counter[str]
) -> list[str]:
    """Bring an archive through all steps with kills in between; what was wrong after one."""
    faults: list[str] = []
    seen: set[str] = set()
    for step in steps:
        longest_s = step.longest_s
        for _ in range(4):
            if kills.total() >= n_kills:
                break
            if not in_a_process(step.change, archive, moments.uniform(0, longest_s)):
                longest_s /= 2  # it was faster; all steps may be repeated
                continue
            kills[step.name] += 1
            there, found = look(archive)
            faults += [f"{archive.name}, {step.name}: {fault}" for fault in found]
            if lost := seen - there - step.loses:
                faults.append(f"{archive.name}, {step.name}: lost {sorted(lost)}")
            seen = there
        in_a_process(step.change, archive)
        seen, found = look(archive)
        faults += [f"{archive.name}, after {step.name}: {fault}" for fault in found]
    return faults


def in_a_process(
    change: Callable[[Path], object], archive: Path, killed_after_s: float | None = None
) -> bool:
    """Change an archive in a child; whether it was killed before its end.

    Raises:
        ChildProcessError: It failed by itself.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            change(archive)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if killed_after_s is not None:
        time.sleep(killed_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if status not in (0, signal.SIGKILL):
        raise ChildProcessError(f"{archive} ended with status {status}")
    return status == signal.SIGKILL


def look(archive: Path) -> tuple[set[str], list[str]]:
    """The scenes in an archive, and what is wrong with it."""
    if not (archive / "index.sqlite").exists():  # killed before it was there
        return set(), []
    faults = list(verify(archive).faults)
    with Index.open(archive) as index:
        records = index.store.find_all()
    for what in ({(r.path, r.frame) for r in records}, {(r.sha256, r.frame) for r in records}):
        if len(what) != len(records):
            faults.append(f"{len(records)} scenes, {len(what)} of them different")
    return {record.name for record in records}, faults


def answers(archive: Path) -> list[list[tuple[object, ...]]]:
    """Return all hits for some queries, to the last bit, items included."""
    queries = np.random.default_rng(0).normal(size=(5, 256))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with Index.open(archive) as index:
        found = index.store.search(queries.astype(np.float32), top=10_000)
    return [
        [(h.scene, h.box.tolist(), h.similarity, h.score, h.item) for h in hits] for hits in found
    ]


if __name__ == "__main__":
    main()
