"""What a reproduction will take, before it begins."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fdps.config import ModelConfig, TwoStepConfig
from fdps.durable import write_file
from fdps.engine.checkpoint import FOLDER, NAME
from fdps.engine.run_folder import WEIGHTS_FILE
from fdps.engine.tasks.scenes import SceneTask
from fdps.engine.trial import GIB, try_steps
from fdps.reproduce.one_run import Order, is_finished, is_trained, read_done
from fdps.structures import SceneSet

SPEEDS_FILE = "speeds.json"
START_S = 8.0
"""Seconds that a process takes to load torch, the data and the network, about."""


@dataclass(frozen=True)
class Speed:
    """The cost of one kind of run.

    Args:
        step_s: Seconds of a training step.
        picture_s: Seconds to look at a test picture.
        run_gib: Room that a finished run takes.
        source: Where the numbers come from.
    """

    step_s: float
    picture_s: float
    run_gib: float
    source: str


@dataclass(frozen=True)
class Estimate:
    """What is left to do.

    Args:
        n_runs: All runs.
        n_finished: Those with nothing left to do.
        n_begun: Those that go on from a checkpoint.
        hours: Time left with so many jobs at a time.
        gib: Room that the runs left will take.
        measured: How many speeds come from finished runs, and how many from a trial.
    """

    n_runs: int
    n_finished: int
    n_begun: int
    hours: float
    gib: float
    measured: dict[str, int]


def estimate(
    orders: Sequence[Order],
    training: SceneSet,
    n_test: int,
    jobs: int,
    out: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Estimate:
    """Carry on what finished runs took, or else three real steps of each kind of run.

    What was tried is kept in ``speeds.json`` of the output folder, so that a second estimate is
    immediate. Looking at a picture is taken to last as long as learning from one, which is more
    than it does.

    Args:
        orders: All runs.
        training: Training scenes.
        n_test: Test scenes.
        jobs: Processes at a time.
        out: Folder of the reproduction.
        progress: Called with the number of kinds whose speed is known, and that of all.

    Raises:
        FdpsError: The same as :func:`fdps.engine.trial.try_steps`.
    """
    left = [order for order in orders if not is_finished(order)]
    speeds = _speeds(orders, left, training, out, progress)
    seconds, gib = 0.0, 0.0
    for order in left:
        speed = speeds[order.run.variant.key]
        if not is_trained(order.run):
            seconds += steps_left(order, len(training)) * speed.step_s
            gib += speed.run_gib
        seconds += START_S + len(order.files) * n_test * speed.picture_s
    sources = [speed.source for speed in speeds.values()]
    return Estimate(
        n_runs=len(orders),
        n_finished=len(orders) - len(left),
        n_begun=sum(_steps_done(order) > 0 and not is_trained(order.run) for order in left),
        hours=seconds / max(1, min(jobs, len(left))) / 3600,
        gib=gib,
        measured={source: sources.count(source) for source in dict.fromkeys(sources)},
    )


def steps_left(order: Order, n_scenes: int) -> int:
    """Count the steps that a run has not taken."""
    train = order.run.recipe.train
    total = train.epochs * -(-n_scenes // train.batch_size)
    return max(total - _steps_done(order), 0)


def _steps_done(order: Order) -> int:
    found = [NAME.fullmatch(path.name) for path in (order.run.folder / FOLDER).glob("e*")]
    return max((int(match[1]) for match in found if match), default=0)


def _speeds(
    orders: Sequence[Order],
    left: Sequence[Order],
    training: SceneSet,
    out: Path,
    progress: Callable[[int, int], None],
) -> dict[str, Speed]:
    """Find the speed of every kind of run that is left, by the key of its variant."""
    kinds = {order.run.variant.key: order for order in left}
    speeds: dict[str, Speed] = {}
    for number, (key, order) in enumerate(kinds.items()):
        progress(number, len(kinds))
        alike = [other for other in orders if other.run.variant.key == key]
        speeds[key] = _of_finished(alike) or _tried(order, training, out)
    progress(len(kinds), len(kinds))
    return speeds


def _of_finished(alike: Sequence[Order]) -> Speed | None:
    for order in alike:
        done = read_done(order.run.folder)
        if done.get("steps") and done.get("n_test_scenes"):
            size = sum(f.stat().st_size for f in order.run.folder.rglob("*") if f.is_file())
            return Speed(
                done["train_seconds"] / done["steps"],
                done["predict_seconds"] / done["n_test_scenes"],
                size / GIB,
                "finished runs",
            )
    return None


def _tried(order: Order, training: SceneSet, out: Path) -> Speed:
    """Take three steps with as many threads as the run will have, unless they were taken before."""
    recipe = order.run.recipe
    name = re.sub(r"-seed\d+", "", order.run.folder.name.rpartition("-")[0])
    name = f"{name}, {order.threads} threads, {order.device}, {len(training)} scenes"
    kept = _kept(out)
    if name not in kept:
        train = replace(recipe.train, start_from="", device=order.device)
        with _threads(order.threads), _with_a_detector(order, training) as model:
            trial = try_steps(replace(recipe, model=model, train=train), training)
        kept[name] = {"step_s": trial.step_s, "checkpoint_gib": trial.checkpoint_gib}
        out.mkdir(parents=True, exist_ok=True)
        write_file(out / SPEEDS_FILE, json.dumps(kept, indent=1).encode() + b"\n")
    step_s, checkpoint_gib = kept[name]["step_s"], kept[name]["checkpoint_gib"]
    # Beside the checkpoints that stay there are weights, no larger than one of them.
    n_kept = min(recipe.train.keep_last, recipe.train.epochs) + 1
    run_gib = n_kept * checkpoint_gib
    return Speed(step_s, step_s / recipe.train.batch_size, run_gib, "three steps each")


@contextmanager
def _with_a_detector(order: Order, training: SceneSet) -> Iterator[ModelConfig | TwoStepConfig]:
    """Yield the model of a run; in two steps with a detector that is there already.

    The one of the recipe may not be trained yet. A trial learns from annotated boxes, so that it
    costs the same behind one with random weights.
    """
    model, before = order.run.recipe.model, order.run.begins_from
    if not isinstance(model, TwoStepConfig) or before is None or is_trained(before):
        yield model
        return
    assert isinstance(before.recipe.model, ModelConfig)
    with tempfile.TemporaryDirectory(prefix="fdps-detector-") as folder:
        task = SceneTask(before.recipe, before.recipe.model, training)
        net, _ = task.build(has_weights=True)
        task.save(net, Path(folder))
        yield replace(model, detector=str(Path(folder) / WEIGHTS_FILE))


def _kept(out: Path) -> dict[str, Any]:
    try:
        kept = json.loads((out / SPEEDS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """Let processes that are started meanwhile have so many threads."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(n)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
