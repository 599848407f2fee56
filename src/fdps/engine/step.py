"""Take one optimiser step, the same however a batch is spread over processes and micro-batches.

A batch comes in parts: every process has a share and takes it in micro-batches. Three things make
the step that of the whole batch:

* every loss is a mean over samples (anchors, regions, labelled people), so a part is weighed by its
  share of the samples of the whole batch; with micro-batches their number has to be known before
  the first backward pass, which takes a pass through trunk and proposals alone;
* gradients are summed over parts and processes, once per step;
* people are remembered after the step, those of all parts in the order of the batch.

Batch statistics are the exception: norms that use those of a part see another batch. ``norm =
"sync"`` takes them over all processes, ``"frozen"`` uses none.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from math import isfinite
from typing import TypeVar, cast

import torch
from jaxtyping import Int64
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from fdps.config import LossConfig, Recipe
from fdps.data.training.dataset import Batch
from fdps.engine.ema import WeightAverage
from fdps.engine.optimizer import (
    build_optimizer,
    clip_gradients,
    learning_rate,
    parts_of,
    reid_ramp,
    set_learning_rate,
)
from fdps.engine.processes import Processes
from fdps.errors import TrainingDiverged
from fdps.losses import Criterion
from fdps.models.outputs import EmbeddedPeople, TrainingOutputs
from fdps.models.roi_heads import TEACHER_LOSSES, teacher_rows
from fdps.models.trainable import TrainableNet
from fdps.models.transform import Size

T = TypeVar("T")

SMALLEST_SCALE = 2.0**-10
"""Least scale; below it, fp16 gradients overflow for a reason other than their scale."""


class Learner:
    """A network with what it needs to learn, and the way it takes a step.

    Args:
        net: Network, put in training mode here and moved to the device.
        criterion: The re-ID loss with its memory; moved to the device.
        recipe: Recipe with the weights of the losses and the optimiser.
        fabric: A Fabric that is connected; see :func:`fdps.engine.processes.connect`.
    """

    def __init__(
        self, net: TrainableNet, criterion: Criterion, recipe: Recipe, fabric: Fabric
    ) -> None:
        self.recipe, self.fabric, self.processes = recipe, fabric, Processes(fabric)
        config = recipe.train
        memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        fabric.to_device(net)
        self.net: TrainableNet = net.to(memory_format=memory_format).train()
        fabric.to_device(criterion)
        self.criterion = criterion
        self.net.backbone.is_recomputed = config.recompute_trunk
        if config.compile:
            self.net.backbone.compile()
            for head in self.net.region_heads:
                head.compile()
        self.processes.agree(self.net)
        self.processes.agree(self.criterion)
        self.optimizer: Optimizer = build_optimizer(net, config)
        self._stepper = cast(Optimizer, fabric.setup_optimizers(self.optimizer))
        self.average = WeightAverage(net, config.ema) if config.ema else None

    def take_step(self, share: Batch, step: int, steps_per_epoch: int) -> dict[str, int | float]:
        """Learn from a batch.

        Args:
            share: The pictures of this process; there may be none.
            step: Number of steps taken so far.
            steps_per_epoch: Number of steps in an epoch, for the schedules.

        Returns:
            The learning rate, the losses and re-ID terms of the whole batch, and the gradient
            norms.

        Raises:
            TrainingDiverged: A value left the finite numbers. This is raised in every process
                alike, before anything is learnt or remembered.
        """
        config = self.recipe.train
        lr = learning_rate(step, config, steps_per_epoch)
        set_learning_rate(self.optimizer, lr)
        ramp = reid_ramp(step, config, steps_per_epoch)
        values, people = self._backward(split(share, config.accumulate), ramp)
        # The embedding of a person without identity is in no loss, and would poison the queue.
        _check_finite(step, values | {"embeddings": float(people.embeddings.sum())})
        norms = self._gradients(step)
        self._stepper.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.criterion.update(*people)
        self._remember_teacher(share[1])
        if self.average is not None:
            self.average.update(self.net, step)
        return {"lr": lr, **values, **norms, "people": len(people.person_ids)}

    @property
    def device(self) -> torch.device:
        """Device of this process."""
        return self.fabric.device

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network use the running mean of its weights, where the recipe has one."""
        with self.average.applied(self.net) if self.average else nullcontext():
            yield

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """Scaler that keeps small fp16 gradients from vanishing; ``None`` in other precisions."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    def _backward(
        self, micro_batches: list[Batch], ramp: float
    ) -> tuple[dict[str, float], EmbeddedPeople]:
        """Compute gradients; return mean losses and people to remember, of the whole batch."""
        is_whole = self.processes.n == 1 and len(micro_batches) == 1
        size = None if is_whole else self._common_size(micro_batches)
        totals = self._count(micro_batches, size) if self.recipe.train.accumulate > 1 else None
        values, outputs = [], []
        for images, targets in micro_batches:
            with self.fabric.autocast():
                out: TrainingOutputs = self.net(images, targets, self.criterion, size)
            out = out._replace(losses=_teacher_last(out.losses))
            counts = {name: loss.n_samples for name, loss in out.losses.items()}
            if totals is None:
                totals = self.processes.sum(_counted(counts))
            shares = _shares(counts, totals)
            losses = {name: loss.value * shares[name] for name, loss in out.losses.items()}
            loss = weighted_sum(losses, self.recipe.loss, reid_ramp=ramp)
            if loss.requires_grad:  # without a picture there is nothing to go back through
                self.fabric.backward(loss)
            terms = {name: term * shares["reid"] for name, term in out.reid_terms.items()}
            values.append({k: v.detach() for k, v in (losses | terms).items()})
            outputs.append(out)
        summed = torch.stack([torch.stack([*part.values()]).double() for part in values]).sum(0)
        names = values[0].keys()
        means = dict(zip(names, self.processes.sum(summed).tolist(), strict=True))
        return means, self._gather(outputs)

    def _common_size(self, micro_batches: list[Batch]) -> Size:
        """Return the size to pad all pictures of the batch to, because a network sees padding."""
        sizes = [self.net.size_of(*part) for part in micro_batches if part[0]]
        largest = torch.tensor([*sizes, (0, 0)], device=self.fabric.device).amax(dim=0)
        height, width = self.processes.largest(largest).tolist()
        return height, width

    def _count(self, micro_batches: list[Batch], size: Size | None) -> Int64[Tensor, " K"]:
        """Count the samples of every loss in the whole batch."""
        with self.fabric.autocast():
            counts = [
                _counted(_teacher_last(self.net.count(*part, self.criterion, size)))
                for part in micro_batches
            ]
        return self.processes.sum(torch.stack(counts).sum(dim=0))

    def _gather(self, outputs: list[TrainingOutputs]) -> EmbeddedPeople:
        """Gather the people in all parts of all processes, in the order of the batch."""
        together = self.processes.concatenate
        return EmbeddedPeople(
            together(torch.cat([out.people.embeddings for out in outputs])),
            together(torch.cat([out.people.person_ids for out in outputs])),
            together(torch.cat([out.people.overlaps for out in outputs])),
        )

    def _remember_teacher(self, targets: list[dict[str, Tensor]]) -> None:
        """Let the teacher's queue have everybody in the batch once, in the order of the batch."""
        teacher = self.criterion.teacher
        if teacher is None:
            return
        dim = teacher.teacher_dim
        rows = torch.zeros((0, dim), device=self.device)
        if targets:
            rows = teacher_rows(targets, dim)
        teacher.update(self.processes.concatenate(rows))

    def _gradients(self, step: int) -> dict[str, float]:
        """Sum the gradients over the processes, shorten them, and return how long they were."""
        config = self.recipe.train
        self.processes.sum_gradients([p for p in self.net.parameters() if p.requires_grad])
        self.fabric.strategy.precision.unscale_gradients(self.optimizer)
        whole = config.clip == "whole"
        norms = clip_gradients(parts_of(self.net), config.max_grad_norm, whole=whole)
        named = {f"grad_{part}": norm for part, norm in norms.items()}
        # fp16 overflows now and then; the step is then left out, and the scale is lowered.
        if self.scaler is None or self.scaler.get_scale() < SMALLEST_SCALE:
            _check_finite(step, named)
        return named


def split(batch: Batch, n_parts: int) -> list[Batch]:
    """Cut a batch into consecutive parts of about equal size; at least one, which may be empty."""
    images, targets = batch
    cuts = [len(images) * part // n_parts for part in range(n_parts + 1)]
    parts = [(images[a:b], targets[a:b]) for a, b in pairwise(cuts) if a < b]
    return parts or [batch]


def weighted_sum(
    losses: dict[str, Tensor], weights: LossConfig, *, reid_ramp: float = 1.0
) -> Tensor:
    """Return the sum to minimise: every named loss times its weight, with re-ID ramped up.

    A loss that one system alone has comes with its weight, which is an option of that system; it
    is one of re-ID if its name ends so.
    """
    scaled = {k: v * reid_ramp if k.endswith("reid") else v for k, v in losses.items()}
    terms = [getattr(weights, f"{name}_weight", 1.0) * loss for name, loss in scaled.items()]
    return torch.stack(terms).sum()


def _teacher_last(losses: dict[str, T]) -> dict[str, T]:
    """Put what a teacher says behind what a system adds: parts are summed by position."""
    return {k: v for k, v in losses.items() if k not in TEACHER_LOSSES} | {
        k: losses[k] for k in TEACHER_LOSSES if k in losses
    }


def _counted(counts: dict[str, Tensor]) -> Int64[Tensor, " K"]:
    """Stack the samples of every loss, then the number of parts, which is one."""
    some = [*counts.values()]
    return torch.stack([*some, torch.ones_like(some[0])])


def _shares(counts: dict[str, Tensor], totals: Int64[Tensor, " K"]) -> dict[str, Tensor]:
    """Return a part's weight in each mean over the batch; the weights of all parts add up to 1.

    A loss without any sample is 0, and every part has an equal share of it.
    """
    *shares, equal = _counted(counts).double() / totals
    some = torch.where(totals[:-1] > 0, torch.stack(shares), equal)
    return dict(zip(counts, some.float(), strict=True))


def _check_finite(step: int, values: dict[str, float]) -> None:
    if not all(map(isfinite, values.values())):
        raise TrainingDiverged(step, values)
