"""Train a network: the loop, from top to bottom."""

import json
from math import isfinite
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from fdps.config import LossConfig, Recipe, TrainConfig, load_recipe, to_toml
from fdps.data.augment import Augmentation
from fdps.data.dataset import TrainingScenes, training_batches
from fdps.engine import checkpoint
from fdps.engine.checkpoint import Progress, load_checkpoint, save_checkpoint
from fdps.engine.interrupt import stop_between_steps
from fdps.engine.optimizer import (
    all_finite,
    build_optimizer,
    clip_gradients,
    learning_rate,
    reid_ramp,
    set_learning_rate,
)
from fdps.engine.run_log import FILE as LOG_FILE
from fdps.engine.run_log import RunLog, Stream, environment
from fdps.errors import AnnotationError, ResourceError, TrainingDiverged, UsageError
from fdps.models import PersonSearchNet, build_model
from fdps.models.weights import save_weights
from fdps.structures import SceneSet

WEIGHTS_FILE = "weights.safetensors"
RECIPE_FILE = "recipe.toml"


def train(recipe: Recipe, scenes: SceneSet, run: Path, *, stream: Stream | None = None) -> Path:
    """Train the network of a recipe; continue where a run folder left off.

    The run folder receives ``recipe.toml``, ``environment.json``, ``log.jsonl``, a checkpoint
    after every epoch, and the weights at the end.

    Args:
        recipe: Everything that makes the run.
        scenes: Training scenes with identities 0..L-1 (:func:`fdps.data.identities.contiguous`).
        run: The run folder; one with a checkpoint is continued.
        stream: Where the status line goes, for example ``sys.stderr``; nothing is shown without.

    Returns:
        The weights file.

    Raises:
        AnnotationError: No scene, or no labelled person.
        UsageError: The folder holds a run of another recipe.
        ModelError: Its checkpoint is damaged or of another network.
        TrainingDiverged: A loss, a gradient or a weight left the finite numbers; the last
            checkpoint stays.
        PictureError: A picture cannot be decoded.
        MissingDataError: A picture is gone.
        ResourceError: The device of the recipe is not there.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint of the last step was written.
    """
    config = recipe.train
    n_persons = _count_persons(scenes)
    fabric = _fabric(config)
    torch.manual_seed(config.seed)
    net = build_model(recipe.model, recipe.loss, n_persons)
    parts = {"trunk": net.backbone, "rpn": net.rpn, "heads": net.roi_heads}
    model, optimizer = fabric.setup(net, build_optimizer(parts, config))
    model.train()

    dataset = TrainingScenes(
        scenes, Augmentation.of(config), seed=config.seed, decoded_gib=config.decoded_gib
    )
    steps_per_epoch = -(-len(dataset) // config.batch_size)
    total_steps = config.epochs * steps_per_epoch
    progress = _prepare(run, recipe, net, optimizer.optimizer)

    with RunLog(run / LOG_FILE, total_steps, progress, stream) as log, stop_between_steps() as stop:
        while progress.step < total_steps:
            epoch, done = divmod(progress.step, steps_per_epoch)
            for images, targets in training_batches(dataset, config, epoch=epoch, skip=done):
                lr = learning_rate(progress.step, config, steps_per_epoch)
                set_learning_rate(optimizer.optimizer, lr)
                out = model(*_to_device(images, targets, fabric.device))
                if not all_finite(out.losses):
                    raise TrainingDiverged(progress.step, _floats(out.losses))
                ramp = reid_ramp(progress.step, config, steps_per_epoch)
                fabric.backward(weighted_sum(out.losses, recipe.loss, reid_ramp=ramp))
                norms = clip_gradients(parts, config.max_grad_norm, whole=config.clip == "whole")
                if not all(map(isfinite, norms.values())):
                    raise TrainingDiverged(progress.step, _gradients(norms))
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                net.roi_heads.criterion.update(out.embeddings, out.person_ids)
                progress.step += 1
                log.count(len(images))
                if progress.step % config.log_every == 0 or progress.step == total_steps:
                    values = {"lr": lr} | _floats(out.losses | out.reid_terms) | _gradients(norms)
                    values["people"] = len(out.person_ids)
                    log.record(progress.step, progress.step / steps_per_epoch, values)
                if stop:
                    break
            _check_weights(net, progress.step)
            progress.seconds = log.seconds
            save_checkpoint(run / checkpoint.FILE, net, optimizer.optimizer, progress)
            if stop:
                raise KeyboardInterrupt(stop.signal)
    save_weights(net, recipe.model, recipe.loss, n_persons, run / WEIGHTS_FILE)
    return run / WEIGHTS_FILE


def weighted_sum(
    losses: dict[str, Tensor], weights: LossConfig, *, reid_ramp: float = 1.0
) -> Tensor:
    """What is minimised: every named loss times its weight in the recipe, re-ID ramped up."""
    scaled = losses | {"reid": losses["reid"] * reid_ramp}
    terms = [getattr(weights, f"{name}_weight") * loss for name, loss in scaled.items()]
    return torch.stack(terms).sum()


def _count_persons(scenes: SceneSet) -> int:
    ids = scenes.person_ids
    if not ids:
        raise AnnotationError(
            f"{scenes.name} has {len(scenes)} scenes and no labelled person",
            hint="re-ID needs at least one person_id >= 0 in the training scenes",
        )
    if ids != list(range(len(ids))):
        raise AnnotationError(
            f"identities of {scenes.name} must be 0..{len(ids) - 1}, got {ids[0]}..{ids[-1]}",
            hint="number them with fdps.data.identities.contiguous",
        )
    return len(ids)


def _fabric(config: TrainConfig) -> Fabric:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError(
            "train.device is cuda, but torch sees no GPU",
            hint="fdps trains on the CPU with --set train.device=cpu",
        )
    accelerator = "gpu" if config.device == "cuda" else config.device
    return Fabric(accelerator=accelerator, devices=1, precision=config.precision)


def _prepare(
    run: Path, recipe: Recipe, net: PersonSearchNet, optimizer: torch.optim.SGD
) -> Progress:
    """Make the run folder, or find out where it stands; one that is refused stays as it is."""
    if run.exists() and not run.is_dir():
        raise UsageError(f"{run} is not a folder", hint="choose another run folder")
    kept = run / RECIPE_FILE
    if kept.exists() and load_recipe(kept) != recipe:
        raise UsageError(
            f"{run} holds a run of another recipe",
            hint=f"choose another folder, or remove this one; compare with {kept}",
        )
    begun = (run / checkpoint.FILE).exists()
    progress = load_checkpoint(run / checkpoint.FILE, net, optimizer) if begun else Progress()
    run.mkdir(parents=True, exist_ok=True)
    kept.write_text(to_toml(recipe), encoding="utf-8")
    (run / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n")
    return progress


def _check_weights(net: PersonSearchNet, step: int) -> None:
    """Refuse what no loss may have shown: a norm turns an overflow before it into plain zeros."""
    for name, tensor in net.state_dict().items():
        if not tensor.isfinite().all():
            raise TrainingDiverged(step, {name: float(tensor.abs().max())})


def _to_device(
    images: list[Tensor], targets: list[dict[str, Tensor]], device: torch.device
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    moved = [image.to(device, non_blocking=True).float() / 255 for image in images]
    return moved, [{k: v.to(device) for k, v in target.items()} for target in targets]


def _floats(values: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in values.items()}


def _gradients(norms: dict[str, float]) -> dict[str, float]:
    return {f"grad_{part}": norm for part, norm in norms.items()}
