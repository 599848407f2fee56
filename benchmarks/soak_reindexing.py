"""Interrupt the re-indexing of changed files at random moments; every scene is old or new, whole.

    python benchmarks/soak_reindexing.py --interruptions 300 --seed 1

Some drawn pictures and a video have two states. Over and over their files change from one state to
the other, and the indexing of the change is interrupted: by SIGKILL after a random time, by a disk
that is full after a random number of bytes, or because the new files are damaged. Some runs look
at all files again. After each the archive must be whole (``fdps archive verify``), and of every
file it must hold exactly the scenes of one state; where the new files are damaged, exactly what it
held before. Prints one JSON object; ends with 1 if something was not so.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from soak_archive import draw, in_a_process

from fdps.embedders import load
from fdps.errors import ResourceError
from fdps.search import Index, SceneRecord
from fdps.search.care.verify import verify
from fdps.structures import Embedder

LONGEST_S = 2.0
Files = dict[str, list[tuple[SceneRecord, list[tuple[object, ...]]]]]


def main() -> None:
    """Interrupt, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interruptions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    torch.set_num_threads(1)
    chance, start = random.Random(args.seed), time.perf_counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root, embedder = Path(folder), load("drawn-people")
        states, sources = two_states(root), root / "event/photos"
        held = []
        for number, state in enumerate(states):
            install(state, sources)
            build(root / f"clean{number}.fdps", sources, embedder)
            held.append(files_of(root / f"clean{number}.fdps"))
        archive = root / "event.fdps"
        shutil.copytree(root / "clean1.fdps", archive)
        done: Counter[str] = Counter()
        number = 0
        while done.total() < args.interruptions:
            install(states[number % 2], sources)
            kind = chance.choice(["kill", "kill", "full disk", "damage"])
            again = chance.random() < 0.3
            before = files_of(archive)
            if kind == "damage":
                damage(sources, chance)
            if not interrupt(kind, archive, sources, embedder, again, chance):
                number += 1  # it was faster
                continue
            done[kind] += 1
            there = files_of(archive)
            for path in set(there) | set(held[0]) | set(held[1]):
                allowed = [before.get(path)] if kind == "damage" else [h.get(path) for h in held]
                if there.get(path) not in allowed:
                    faults.append(f"{done.total()}, {kind}: {Path(path).name} is neither state")
            faults += [f"{done.total()}, {kind}: {fault}" for fault in verify(archive).faults]
            if chance.random() < 0.3:
                install(states[number % 2], sources)
                in_a_process(lambda path: add(path, sources, embedder, again=False), archive)
                if files_of(archive) != held[number % 2]:
                    faults.append(f"{done.total()}, {kind}: the end is not the new state")
            number += 1
    figures = {
        "is_right": not faults,
        "interruptions": done.total(),
        "interruptions_by": dict(done),
        "faults": faults,
        "seconds": round(time.perf_counter() - start, 1),
    }
    print(json.dumps(figures, indent=1))
    sys.exit(bool(faults))


def two_states(root: Path) -> list[Path]:
    """The same names with other content: each picture takes the content of the next one, padded."""
    first = draw(root / "drawn")
    second = root / "second"
    second.mkdir()
    pictures = sorted(first.glob("*.jpg"))
    for path, other in zip(pictures, pictures[1:] + pictures[:1], strict=True):
        content = other.read_bytes()
        (second / path.name).write_bytes(content + b"\0")  # another hash, the same picture
    shutil.copy(first / "clip.mp4", second / "clip.mp4")
    rewrite(second / "clip.mp4")
    return [first, second]


def rewrite(clip: Path) -> None:
    """Leave the last frame of a video away."""
    import av

    aside = clip.with_name("aside.mp4")
    with av.open(str(clip)) as old, av.open(str(aside), "w") as new:
        frames = list(old.decode(video=0))[:-1]
        stream = new.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 256, 192, "yuv420p"
        stream.codec_context.bit_rate = 3_000_000
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
            new.mux(stream.encode(picture))
        new.mux(stream.encode(None))
    aside.replace(clip)


def install(state: Path, sources: Path) -> None:
    """Let the files be those of a state."""
    sources.mkdir(parents=True, exist_ok=True)
    for path in state.iterdir():
        shutil.copy(path, sources / path.name)


def damage(sources: Path, chance: random.Random) -> None:
    """Cut all files off at random places in their first half, so that no file is what it was."""
    for path in sources.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: chance.randrange(len(content) // 2)])


def build(archive: Path, sources: Path, embedder: Embedder) -> None:
    """A new archive of the files as they are."""
    with Index.create(archive, embedder) as index:
        index.add(sources, every="0.5s")


def add(archive: Path, sources: Path, embedder: Embedder, *, again: bool) -> None:
    """Index the files as they are."""
    with Index.open(archive, embedder) as index:
        index.add(sources, every="0.5s", again=again)


def interrupt(
    kind: str,
    archive: Path,
    sources: Path,
    embedder: Embedder,
    again: bool,
    chance: random.Random,
) -> bool:
    """Index with an interruption; whether there was one."""

    def change(path: Path) -> None:
        add(path, sources, embedder, again=again)

    if kind == "damage":
        in_a_process(change, archive)
        return True
    if kind == "kill":
        return in_a_process(change, archive, chance.uniform(0, LONGEST_S))
    n_bytes = chance.randrange(2**15, 2**18)
    return in_a_process(on_a_full_disk(change, n_bytes), archive)


def on_a_full_disk(change: Callable[[Path], object], n_bytes: int) -> Callable[[Path], None]:
    """The change, where no file can grow beyond so many bytes; killed if it meets the limit."""

    def changed(archive: Path) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
        try:
            change(archive)
        except (ResourceError, OSError):
            os.kill(os.getpid(), signal.SIGKILL)

    return changed


def files_of(archive: Path) -> Files:
    """The scenes of every file with their people, without the numbers of these."""
    files: Files = {}
    with Index.open(archive) as index:
        for scene in index.store.find_all():
            people = [
                (one.box.tolist(), one.score, one.embedding.tobytes())
                for one in index.people_in(scene.name)
            ]
            files.setdefault(scene.path, []).append((scene, people))
    for scenes in files.values():
        scenes.sort(key=lambda pair: pair[0].frame)
    return files


if __name__ == "__main__":
    main()
