"""Train a network: the loop, from top to bottom."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from fdps.config import MACHINE_FIELDS, Recipe, TrainConfig
from fdps.data.augment import Augmentation
from fdps.data.dataset import Batch, TrainingScenes, training_batches
from fdps.data.order import SceneFacts, epoch_batches
from fdps.data.teacher import all_rows, teaching_hash
from fdps.devices import bf16_instructions, keep_freed_memory
from fdps.engine.checkpoint import newest_checkpoint, restore, save_checkpoint
from fdps.engine.interrupt import stop_between_steps
from fdps.engine.out_of_memory import memory_explained
from fdps.engine.processes import connect
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
from fdps.engine.validation import Validation
from fdps.errors import AnnotationError, ConfigError, TrainingDiverged, UsageError
from fdps.losses import Criterion, Distillation, teacher_basis
from fdps.losses.watched import hardness
from fdps.models import PersonSearchNet, build_system
from fdps.models.weights import begin_from, save_weights
from fdps.predictions import data_hash
from fdps.structures import SceneSet

Inspect = Callable[[PersonSearchNet, int], Mapping[str, float]]
"""A function that looks at the network, in evaluation mode, after an epoch (counted from 1). The
figures that it returns go to the log; ``mAP`` among them decides which epoch is the best."""


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
    n_persons = _count_persons(scenes, with_teacher=recipe.loss.teacher_weight > 0)
    inspections = _inspections(recipe, validate, inspect)
    check_continuable(run, recipe)
    fabric = connect(config)
    if fabric.device.type == "cpu":
        keep_freed_memory()
    _check_batches(recipe, len(scenes), fabric.world_size)
    facts, data = SceneFacts.of(scenes, with_aspects=config.group_by_aspect), training_hash(scenes)
    steps_per_epoch = -(-len(facts) // config.batch_size)
    with memory_explained(recipe), ExitStack() as stack:
        learner, progress, news = _begin(recipe, scenes, n_persons, fabric, run, data)
        is_first, total_steps = learner.processes.is_first, config.epochs * steps_per_epoch
        watched = _opened(run, recipe, total_steps, progress, stream, watchers)
        log = stack.enter_context(watched if is_first else RunLog(None, total_steps, progress))
        log.say(*news)
        dataset = TrainingScenes(
            scenes,
            Augmentation.of(config),
            seed=config.seed,
            decoded_gib=config.decoded_gib,
            teacher_dim=scenes.teacher_dim if recipe.loss.teacher_weight else 0,
        )
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
            is_best = _close_epoch(run, learner, progress, log, n_persons, inspections)
            _save(run, learner, progress, log, data, is_best=is_best)
        if is_first and progress.best < 0:
            _save_weights(run, learner, n_persons)
    return run / WEIGHTS_FILE


def _begin(
    recipe: Recipe, scenes: SceneSet, n_persons: int, fabric: Fabric, run: Path, data: str
) -> tuple[Learner, Progress, list[str]]:
    """Return the learner, where it stands, and what there is to say about going on."""
    checkpoint = newest_checkpoint(run)
    model = recipe.model
    if checkpoint is not None or recipe.train.start_from:
        # There are all weights, so none are read to be overwritten.
        model = replace(model, backbone_weights="none")
    torch.manual_seed(recipe.train.seed)
    net, criterion = build_system(model, recipe.loss, n_persons, _teacher(recipe, scenes))
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
    dataset: TrainingScenes, facts: SceneFacts, learner: Learner, progress: Progress, *, skip: int
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
    n_persons: int,
    inspections: Sequence[Inspect],
) -> bool:
    """Look at the network and write the epoch down; tell whether it is the best so far."""
    found = _inspected(learner, inspections, progress.n_epochs) if inspections else {}
    is_best = found.get("mAP", -1.0) > progress.best
    if is_best:
        progress.best, progress.n_stale = found["mAP"], 0
        if learner.processes.is_first:
            _save_weights(run, learner, n_persons)
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


def _inspected(learner: Learner, inspections: Sequence[Inspect], epoch: int) -> dict[str, float]:
    """Let the first process look at the network, while the others wait for it."""
    told = ""
    if learner.processes.is_first:
        found: dict[str, float] = {}
        with learner.averaged():
            for look in inspections:
                found |= look(learner.net.eval(), epoch)
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


def _save_weights(run: Path, learner: Learner, n_persons: int) -> None:
    recipe = learner.recipe
    with learner.averaged():
        save_weights(learner.net, recipe.model, recipe.loss, n_persons, run / WEIGHTS_FILE)


def _computing(learner: Learner) -> dict[str, object]:
    """Return what decides over the last bits, apart from the recipe."""
    settings = {name: getattr(learner.recipe.train, name) for name in MACHINE_FIELDS}
    device = learner.device.type  # the device that "auto" became
    return environment() | settings | {"device": device, "processes": learner.processes.n}


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


def _teacher(recipe: Recipe, scenes: SceneSet) -> Distillation | None:
    """Return what the recipe learns from a teacher, with an empty queue."""
    loss = recipe.loss
    if not loss.teacher_weight:
        return None
    return Distillation(
        *teacher_basis(all_rows(scenes.scenes), recipe.model.embedding_dim),
        queue_size=loss.teacher_queue_size,
        temperature=loss.teacher_temperature,
    )


def training_hash(scenes: SceneSet) -> str:
    """Name all that a training learns from."""
    return data_hash(scenes) + teaching_hash(scenes)


def _count_persons(scenes: SceneSet, *, with_teacher: bool) -> int:
    """Count the identities; without any the table has one row, which stays empty."""
    if with_teacher and not (scenes.teacher_dim and len(all_rows(scenes.scenes))):
        raise AnnotationError(
            f"loss.teacher_weight is above 0, but {scenes.name} has no embeddings of a teacher",
            hint="let a model write them: fdps data label, or set loss.teacher_weight=0",
        )
    ids = scenes.person_ids
    if not ids and with_teacher:
        return 1
    if not ids:
        raise AnnotationError(
            f"{scenes.name} has {len(scenes)} scenes and no labelled person",
            hint="re-ID needs at least one person_id >= 0 in the training scenes, or a teacher: "
            "fdps data label, and loss.teacher_weight",
        )
    if ids != list(range(len(ids))):
        raise AnnotationError(
            f"identities of {scenes.name} must be 0..{len(ids) - 1}, got {ids[0]}..{ids[-1]}",
            hint="number them with fdps.data.identities.contiguous",
        )
    return len(ids)


def _to_device(
    images: list[Tensor], targets: list[dict[str, Tensor]], device: torch.device
) -> Batch:
    moved = [image.to(device, non_blocking=True).float() / 255 for image in images]
    # The seed stays: it makes a generator of the CPU.
    return moved, [{k: v if k == "seed" else v.to(device) for k, v in t.items()} for t in targets]
