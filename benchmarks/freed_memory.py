"""Measure what it brings that a training on the CPU keeps the memory that it frees.

    python benchmarks/freed_memory.py --rounds 3

FDPS with the small recipe of ``fdps reproduce`` takes steps on drawn scenes, in two processes of
one thread that differ in :func:`fdps.devices.keep_freed_memory` alone. They take turns, so that
whatever else the machine does meets both. Prints one JSON object with the medians of the seconds
per step, their ratio, the processor's seconds within the system, and what a step tells of losses
and gradients, summed up, which is equal.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

SKIPPED, COUNTED = 2, 6
"""Steps that warm up, and steps whose median is taken."""


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenes", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scenes:
        print(json.dumps(take_steps(options.scenes, keep=bool(options.keep))))
        return
    found: dict[str, list[dict[str, Any]]] = {"given back": [], "kept": []}
    with TemporaryDirectory() as folder:
        draw(Path(folder))
        for _ in range(options.rounds):
            for keep, name in enumerate(found):
                found[name].append(in_a_process(Path(folder), keep))
    medians = {name: median(one["seconds"] for one in runs) for name, runs in found.items()}
    system = {name: median(one["system"] for one in runs) for name, runs in found.items()}
    losses = {one["loss"] for runs in found.values() for one in runs}
    print(
        json.dumps(
            {
                "seconds per step": medians,
                "ratio": medians["given back"] / medians["kept"],
                "seconds per step within the system": system,
                "losses and gradients of the last step": sorted(losses),
            },
            indent=1,
        )
    )


def draw(folder: Path) -> None:
    """Draw the scenes that both learn from."""
    from fdps.data.synthetic import SyntheticConfig, draw_dataset

    draw_dataset(SyntheticConfig(n_train_scenes=40, n_test_scenes=2), folder)


def in_a_process(scenes: Path, keep: int) -> dict[str, Any]:
    """Take the steps in a process of its own."""
    command = [sys.executable, __file__, "--scenes", str(scenes), "--keep", str(keep)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return answer


def take_steps(scenes: Path, *, keep: bool) -> dict[str, Any]:
    """Take steps in this process; the median of their seconds, and what the system took of them."""
    import torch

    from fdps.config import load_recipe
    from fdps.data import load_scenes
    from fdps.data.identities import contiguous
    from fdps.data.training.augment import Augmentation
    from fdps.data.training.dataset import TrainingScenes, training_batches
    from fdps.devices import keep_freed_memory
    from fdps.engine.processes import connect
    from fdps.engine.step import Learner
    from fdps.models import build_system

    if keep:
        keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    small = Path(__file__).parents[1] / "src" / "fdps" / "reproduce" / "drawn.toml"
    recipe = load_recipe(small, ["train.device=cpu"])
    known = contiguous(load_scenes("folder", scenes, "train"))
    n_persons = len(known.person_ids)
    learner = Learner(
        *build_system(recipe.model, recipe.loss, n_persons),
        recipe,
        connect(recipe.train),
    )
    dataset = TrainingScenes(known, Augmentation(flip=0.5), seed=1)
    n = recipe.train.batch_size
    rows = [range(k * n, (k + 1) * n) for k in range(SKIPPED + COUNTED)]
    seconds, before, loss = [], 0.0, 0.0
    read = training_batches(dataset, rows, epoch=0, workers=0)
    for step, (images, targets) in enumerate(read):
        batch = [image.float() / 255 for image in images], targets
        if step == SKIPPED:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_stime
        start = time.perf_counter()
        values = learner.take_step(batch, step, len(rows))
        seconds.append(time.perf_counter() - start)
        loss = float(sum(values.values()))
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime - before
    return {"seconds": median(seconds[SKIPPED:]), "system": system / COUNTED, "loss": loss}


if __name__ == "__main__":
    main()
