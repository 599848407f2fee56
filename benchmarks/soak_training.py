"""Kill a training at random moments, go on, and compare with one that was never disturbed.

    python benchmarks/soak_training.py --kills 200

A tiny network learns from drawn scenes with everything that has a state: the balanced loss, hard
sampling, a running mean of the weights. Sessions get SIGKILL after a random time, several in one
run. Then every checkpoint must be readable, no more than one interval of work may be lost, and the
end of the run must be that of the undisturbed one to the last bit. Prints one JSON object; ends
with 1 if something was not so.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from fdps.config import LossConfig, ModelConfig, Recipe, TrainConfig
from fdps.data import load_scenes
from fdps.data.identities import contiguous
from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.engine.checkpoint import newest_checkpoint, read_checkpoint
from fdps.engine.run_log import environment
from fdps.engine.train import train
from fdps.errors import ModelError
from fdps.structures import SceneSet

INTERVAL = 2  # steps between two checkpoints
KILLS_PER_RUN = 10


def main() -> None:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums of several threads have no fixed order
    moments = random.Random(args.seed)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        scenes = draw(Path(folder) / "scenes")
        in_a_process(lambda: train(recipe(), scenes, Path(folder) / "whole"))
        figures = {"kills": 0, "runs": 0, "unreadable": 0, "lost_steps": 0, "differing": 0}
        while figures["kills"] < args.kills:
            run = Path(folder) / f"run{figures['runs']}"
            left = min(KILLS_PER_RUN, args.kills - figures["kills"])
            disturb(run, scenes, left, moments, figures)
            figures["runs"] += 1
            figures["differing"] += n_differing(run, Path(folder) / "whole")
    is_right = not (figures["unreadable"] or figures["differing"])
    is_right = is_right and figures["lost_steps"] <= INTERVAL
    machine = environment()
    seconds = round(time.perf_counter() - start, 1)
    print(json.dumps({"is_right": is_right, **figures, "seconds": seconds, **machine}, indent=1))
    sys.exit(not is_right)


def recipe() -> Recipe:
    """A minute of everything that has a state."""
    model = ModelConfig(
        backbone="mobilenet_v2",
        backbone_weights="none",
        short_side=(64,),
        long_side=96,
        anchor_sizes=(16, 32),
        rpn_before_nms=(100, 50),
        rpn_after_nms=(30, 10),
        region_size=(8, 4),
        regions_per_image=16,
        embedding_dim=16,
    )
    train = TrainConfig(
        epochs=6,
        batch_size=2,
        milestones=(2.0,),
        sampling="hard",
        ema=0.9,
        device="cpu",
        workers=0,
        log_every=1,
        checkpoint_every=INTERVAL,
    )
    return Recipe("soak", model=model, loss=LossConfig(name="boim", queue_size=8), train=train)


def draw(root: Path) -> SceneSet:
    """Ten small scenes."""
    draw_dataset(SyntheticConfig(n_train_scenes=10, n_test_scenes=2, width=128, height=96), root)
    return contiguous(load_scenes("folder", root, "train"))


def disturb(
    run: Path, scenes: SceneSet, n_kills: int, moments: random.Random, figures: dict[str, int]
) -> None:
    """Train a run to its end with up to so many kills in between."""
    for _ in range(n_kills):
        if not in_a_process(lambda: train(recipe(), scenes, run), moments.uniform(0.1, 1.5)):
            return
        figures["kills"] += 1
        figures["unreadable"] += n_unreadable(run)
        figures["lost_steps"] = max(figures["lost_steps"], lost_steps(run))
    in_a_process(lambda: train(recipe(), scenes, run))


def in_a_process(task: Callable[[], object], killed_after_s: float | None = None) -> bool:
    """Run a task in a child; whether it was killed before its end.

    Raises:
        ChildProcessError: It failed by itself.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            task()
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
        raise ChildProcessError(f"training ended with status {status}")
    return status == signal.SIGKILL


def n_unreadable(run: Path) -> int:
    """Checkpoints that look complete and are not."""
    bad = 0
    for path in (run / "ckpt").glob("e*"):
        try:
            read_checkpoint(path)
        except ModelError as error:
            print(error, file=sys.stderr)
            bad += 1
    return bad


def lost_steps(run: Path) -> int:
    """Steps that are in the log and in no checkpoint."""
    log, checkpoint = run / "log.jsonl", newest_checkpoint(run)
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    reached = json.loads(whole[-1])["step"] if whole else 0
    kept = checkpoint.state["progress"]["step"] if checkpoint else 0
    return max(reached - kept, 0)


def n_differing(run: Path, other: Path) -> int:
    """Tensors of the last checkpoint, and other things of the end, that are not the same bits."""
    ours, theirs = newest_checkpoint(run), newest_checkpoint(other)
    assert ours is not None
    assert theirs is not None
    differing = [
        f"{file}/{name}"
        for file, tensors in theirs.tensors.items()
        for name, tensor in tensors.items()
        if not torch.equal(ours.tensors[file][name], tensor)
    ]
    for name in ("random", "scaler"):
        if ours.state[name] != theirs.state[name]:
            differing.append(name)
    weights = "weights.safetensors"
    if (run / weights).read_bytes() != (other / weights).read_bytes():
        differing.append(weights)
    if differing:
        print(f"{run.name}: {differing}", file=sys.stderr)
    return len(differing)


if __name__ == "__main__":
    main()
