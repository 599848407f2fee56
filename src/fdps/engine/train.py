"""Train a network: the loop, from top to bottom."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from fdps.config import MACHINE_FIELDS, Recipe, TrainConfig
from fdps.data.training.dataset import Batch, TrainingItems, training_batches
from fdps.data.training.order import SceneFacts, epoch_batches
from fdps.devices import bf16_instructions, keep_freed_memory
from fdps.engine.checkpoint import newest_checkpoint, restore, save_checkpoint
from fdps.engine.interrupt import stop_between_steps
from fdps.engine.out_of_memory import memory_explained
from fdps.engine.processes import Processes, connect
from fdps.engine.progress import Progress
from fdps.engine.run_folder import (
    WEIGHTS_FILE,
    changes,
    check_continuable,
    only_writer,
    write_recipe,
)
from fdps.engine.run_log import RunLog, Stream, Watcher, environment
from fdps.engine.step import Learner
from fdps.engine.tasks.choice import task_of
from fdps.engine.tasks.task import Task
from fdps.engine.validation import Validation
from fdps.errors import ConfigError, TrainingDiverged, UsageError
from fdps.losses import Criterion
from fdps.losses.watched import hardness
from fdps.models.weights import begin_from
from fdps.query import Searcher
from fdps.structures import SceneSet

Inspect = Callable[[Searcher, int], Mapping[str, float]]
"""A function that looks at what was learnt, after an epoch (counted from 1). The figures that it
returns go to the log; ``mAP`` among them decides which epoch is the best."""


def train(
    recipe: Recipe,
    scenes: SceneSet,
    run: Path,
    *,
    stream: Stream | None = None,
    validate: SceneSet | None = None,
    inspect: Inspect | None = None,
    watchers: Sequence[Watcher] = (),
) -> Path:
    """Train the network of a recipe; continue where a run folder left off.

    If ``torchrun`` or SLURM started several processes, they train one network together.

    Args:
        recipe: Everything that makes the run.
        scenes: Training scenes with identities 0..L-1 (:func:`fdps.data.identities.contiguous`),
            or with embeddings of a teacher, or both.
        run: The run folder (:mod:`fdps.engine.run_folder`); one with a checkpoint is continued.
        stream: Stream for the status line and the table, for example ``sys.stderr``; without one
            nothing is shown.
        validate: Scenes to search every ``train.validate_every`` epochs; the weights of the best
            mAP are kept, and ``train.patience`` counts from it.
        inspect: Called after every epoch, before the validation.
        watchers: Further listeners that follow the log.

    Returns:
        The path of the weights file.

    Raises:
        AnnotationError: There is no scene, or no labelled person and no teacher; or the recipe
            asks for a teacher and the scenes have none.
        ConfigError: A batch is too small for the processes, there is nothing to train for, or
            nothing to validate on.
        UsageError: The folder holds a run of another recipe or of other data, or the device is
            not there.
        ModelError: Its checkpoints are damaged or of another network.
        TrainingDiverged: A loss, a gradient or a weight left the finite numbers; the last
            checkpoint stays.
        PictureError: A picture cannot be decoded.
        MissingDataError: A picture is gone.
        ResourceError: Memory ran out, or another process trains here.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint of the last step was written.
    """
    config = recipe.train
    task = task_of(recipe, scenes)
    inspections = _inspections(recipe, validate, inspect)
    check_continuable(run, recipe)
    fabric = connect(config)
    if fabric.device.type == "cpu":
        keep_freed_memory()
    task.prepare(run, Processes(fabric), _teller(stream))
    facts, data = task.facts(), task.data_hash()
    _check_batches(recipe, len(facts), fabric.world_size)
    steps_per_epoch = -(-len(facts) // config.batch_size)
    with memory_explained(recipe), ExitStack() as stack:
        learner, progress, news = _begin(task, fabric, run, data)
        is_first, total_steps = learner.processes.is_first, config.epochs * steps_per_epoch
        watched = _opened(run, recipe, total_steps, progress, stream, watchers)
        log = stack.enter_context(watched if is_first else RunLog(None, total_steps, progress))
        log.say(*news)
        dataset = task.dataset()
        stop = stack.enter_context(stop_between_steps())
        while progress.n_epochs < config.epochs and not _is_patience_over(progress, config):
            done = progress.step - progress.n_epochs * steps_per_epoch
            if done == 0 and config.sampling == "hard":
                progress.hardness = _hardness(learner.criterion)
            for share, waited_s in _shares(dataset, facts, learner, progress, skip=done):
                values = learner.take_step(share, progress.step, steps_per_epoch)
                progress.step += 1
                log.count(len(share[0]) * learner.processes.n, waited_s)
                is_last = progress.step == (progress.n_epochs + 1) * steps_per_epoch
                if progress.step % config.log_every == 0 or is_last:
                    log.record(progress.step, progress.step / steps_per_epoch, values)
                is_stopped = learner.processes.is_any(bool(stop), fabric.device)
                if is_stopped or (_is_due(progress.step, config) and not is_last):
                    _save(run, learner, progress, log, data)
                if is_stopped:
                    raise KeyboardInterrupt(stop.signal or signal.SIGTERM)
            progress.n_epochs += 1
            is_best = _close_epoch(run, learner, progress, log, task, inspections)
            _save(run, learner, progress, log, data, is_best=is_best)
        if is_first and progress.best < 0:
            _save_weights(run, learner, task)
    return run / WEIGHTS_FILE


def _begin(task: Task, fabric: Fabric, run: Path, data: str) -> tuple[Learner, Progress, list[str]]:
    """Return the learner, where it stands, and what there is to say about going on."""
    recipe, checkpoint = task.recipe, newest_checkpoint(run)
    torch.manual_seed(recipe.train.seed)
    has_weights = checkpoint is not None or bool(recipe.train.start_from)
    net, criterion = task.build(has_weights=has_weights)
    news = []
    is_bf16_on_cpu = recipe.train.precision == "bf16-mixed" and fabric.device.type == "cpu"
    if is_bf16_on_cpu and not bf16_instructions():
        news.append("Slow    this processor has no bf16 instructions: precision=32-true is faster")
    if checkpoint is None and recipe.train.start_from:
        new = begin_from(net, recipe.train.start_from)
        anew = f"; it has no {', '.join(new)}, which begin anew" if new else ""
        news.append(f"Begin from {recipe.train.start_from}{anew}")
    learner = Learner(net, criterion, recipe, fabric)
    if checkpoint is None:
        return learner, Progress(), news
    if checkpoint.state["facts"]["data"] != data:
        raise UsageError(
            f"{run} was trained on other data than is given now: their hashes differ",
            hint="give the data of the run (--root), or choose another run folder",
        )
    progress = restore(learner, checkpoint)
    news.append(f"Continue at step {progress.step}, from {checkpoint.path}")
    differing = changes(checkpoint.state["facts"]["computing"], _computing(learner))
    if differing:
        news.append(f"Changed  {', '.join(differing)}: not to the last bit the run it would be")
    return learner, progress, news


@contextmanager
def _opened(
    run: Path,
    recipe: Recipe,
    total_steps: int,
    progress: Progress,
    stream: Stream | None,
    watchers: Sequence[Watcher],
) -> Iterator[RunLog]:
    """Hold the run folder, say what is trained in it, and open its log."""
    with only_writer(run):
        write_recipe(run, recipe, environment())
        with RunLog(run, total_steps, progress, stream, watchers) as log:
            yield log


def _shares(
    dataset: TrainingItems, facts: SceneFacts, learner: Learner, progress: Progress, *, skip: int
) -> Iterator[tuple[Batch, float]]:
    """Yield what is left of an epoch for this process, on its device, and the wait in seconds."""
    config = learner.recipe.train
    batches = epoch_batches(
        facts,
        sampling=config.sampling,
        group_by_aspect=config.group_by_aspect,
        batch_size=config.batch_size,
        seed=config.seed,
        epoch=progress.n_epochs,
        per_person=config.per_person,
        hardness=progress.hardness,
    )
    read = training_batches(
        dataset,
        batches,
        epoch=progress.n_epochs,
        skip=skip,
        workers=config.workers,
        rank=learner.processes.rank,
        n_processes=learner.processes.n,
    )
    start = time.perf_counter()
    for images, targets in read:
        share = _to_device(images, targets, learner.fabric.device)
        yield share, time.perf_counter() - start
        start = time.perf_counter()


def _close_epoch(
    run: Path,
    learner: Learner,
    progress: Progress,
    log: RunLog,
    task: Task,
    inspections: Sequence[Inspect],
) -> bool:
    """Look at the network and write the epoch down; tell whether it is the best so far."""
    found = _inspected(learner, task, inspections, progress.n_epochs) if inspections else {}
    is_best = found.get("mAP", -1.0) > progress.best
    if is_best:
        progress.best, progress.n_stale = found["mAP"], 0
        if learner.processes.is_first:
            _save_weights(run, learner, task)
    elif "mAP" in found:
        progress.n_stale += 1
    log.epoch(progress.n_epochs, progress.step, found | ({"is_best": True} if is_best else {}))
    return is_best


def _inspections(
    recipe: Recipe, validate: SceneSet | None, inspect: Inspect | None
) -> list[Inspect]:
    """List everything that looks at the network after an epoch."""
    looks: list[Inspect] = [] if inspect is None else [inspect]
    if validate is not None:
        looks.append(Validation.of(recipe, validate))
    if recipe.train.validate_every and not looks:
        raise ConfigError(
            f"recipe key train.validate_every is {recipe.train.validate_every}, but no scenes "
            "were given to validate on",
            hint="pass validate=SCENES, or set train.validate_every=0",
        )
    return looks


def _inspected(
    learner: Learner, task: Task, inspections: Sequence[Inspect], epoch: int
) -> dict[str, float]:
    """Let the first process look at the network, while the others wait for it."""
    told = ""
    if learner.processes.is_first:
        found: dict[str, float] = {}
        with learner.averaged():
            searcher = task.searcher(learner.net.eval(), f"epoch {epoch}")
            for look in inspections:
                found |= look(searcher, epoch)
        told = json.dumps(found)
        learner.net.train()
    shared: dict[str, float] = json.loads(learner.processes.tell_all(told, learner.device)[0])
    return shared


def _save(
    run: Path,
    learner: Learner,
    progress: Progress,
    log: RunLog,
    data: str,
    *,
    is_best: bool = False,
) -> None:
    # No loss may have shown it: a norm turns an overflow before it into plain zeros.
    for name, tensor in (learner.net.state_dict() | learner.criterion.state_dict()).items():
        if not tensor.isfinite().all():
            raise TrainingDiverged(progress.step, {name: float(tensor.abs().max())})
    progress.seconds = log.seconds
    facts = {"data": data, "computing": _computing(learner)}
    save_checkpoint(run, learner, progress, is_best=is_best, facts=facts)


def _save_weights(run: Path, learner: Learner, task: Task) -> None:
    with learner.averaged():
        task.save(learner.net, run)


def _computing(learner: Learner) -> dict[str, object]:
    """Return what decides over the last bits, apart from the recipe."""
    settings = {name: getattr(learner.recipe.train, name) for name in MACHINE_FIELDS}
    device = learner.device.type  # the device that "auto" became
    return environment() | settings | {"device": device, "processes": learner.processes.n}


def _teller(stream: Stream | None) -> Callable[[str], None]:
    """Return what shows a line before there is a log."""

    def say(line: str) -> None:
        if stream is not None:
            stream.write(f"{line}\n")
            stream.flush()

    return say


def _is_due(step: int, config: TrainConfig) -> bool:
    return config.checkpoint_every > 0 and step % config.checkpoint_every == 0


def _is_patience_over(progress: Progress, config: TrainConfig) -> bool:
    return 0 < config.patience <= progress.n_stale


def _hardness(criterion: Criterion) -> np.ndarray:
    return hardness(criterion.memory.table.rows).cpu().numpy()


def _check_batches(recipe: Recipe, n_scenes: int, n_processes: int) -> None:
    """Check that every process has a part of every batch, as synchronised norms need."""
    size, n_parts = recipe.train.batch_size, n_processes * recipe.train.accumulate
    smallest = n_scenes % size or size
    if recipe.model.norm == "sync" and smallest < n_parts:
        raise ConfigError(
            f"model.norm is sync, but the smallest batch of an epoch has {smallest} pictures for "
            f"{n_processes} processes times {recipe.train.accumulate} micro-batches",
            hint=f"choose a train.batch_size that leaves at least {n_parts} of {n_scenes} scenes",
        )


def _to_device(
    images: list[Tensor], targets: list[dict[str, Tensor]], device: torch.device
) -> Batch:
    moved = [_as_numbers(image.to(device, non_blocking=True)) for image in images]
    # The seed stays: it makes a generator of the CPU.
    return moved, [{k: v if k == "seed" else v.to(device) for k, v in t.items()} for t in targets]


def _as_numbers(item: Tensor) -> Tensor:
    """Bring the levels of a picture to 0..1; features are numbers already."""
    return item.float() / 255 if item.dtype == torch.uint8 else item
