"""What a training will take, before anything starts: memory, time and disk.

Memory is added up by what holds it (:mod:`fdps.engine.footprint`); the maps that autograd keeps and
the seconds come from a short trial of the real parts (:mod:`fdps.engine.trial`). The estimate is
that of one process.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from fdps.config import Recipe
from fdps.engine.footprint import (
    GIB,
    Memory,
    Weights,
    memory_of,
    micro_batch,
    n_regions,
    padded_size,
)
from fdps.engine.optimizer import parts_of
from fdps.engine.processes import connect
from fdps.engine.step import Learner
from fdps.engine.trial import Kept, Seconds, kept_bytes, time_parts
from fdps.errors import UsageError
from fdps.models import build_model

UNCERTAINTY = 1.3
"""Measured memory lay within this factor of the estimate (docs/guides/doctor.md)."""

SMALLER = (0.8, 0.65, 0.5)
"""Shares of the picture sides that are tried when nothing else makes a training fit."""

Settings = dict[str, Any]
"""Values by field of a recipe, such as ``train.accumulate``."""


@dataclass(frozen=True)
class Change:
    """Settings that need less memory, and what the recipe then takes."""

    settings: tuple[str, ...]
    """As ``--set`` takes them; those of the changes before are among them."""
    total_gib: float
    """Memory with them."""
    fits: bool
    """Whether that suffices."""


@dataclass(frozen=True)
class Estimate:
    """What a training will take."""

    device: str
    """``cpu`` or ``cuda``."""
    height: int
    """Of a batch, in pixels, after resizing and padding."""
    width: int
    """Likewise."""
    micro_batch: int
    """Pictures that go through the network at once."""
    n_parameters: dict[str, int]
    """Of trunk, rpn and heads, whether they train or not."""
    memory: Memory
    """At its fullest, by what holds it."""
    total_gib: float
    """All of it together."""
    available_gib: float | None
    """As it was given; ``None`` where nobody knows."""
    fits: bool
    """Whether that suffices, as far as anybody knows."""
    step_s: float
    """Seconds of an optimiser step, without waiting for pictures and without validation."""
    steps_per_epoch: int | None
    """``None`` where the number of scenes is not known."""
    epoch_s: float | None
    """Seconds of an epoch; likewise."""
    run_s: float | None
    """Seconds of the whole training; likewise."""
    cpu_share: float
    """Of the time of its threads, what the trial had. Far below 1 if other programs run, which make
    the seconds too many; on a GPU it says nothing."""
    checkpoint_gib: float
    """Size of one checkpoint."""
    disk_gib: float
    """Checkpoints that are kept, one that is being written, and the weights at the end."""
    changes: tuple[Change, ...]
    """What to change, in this order, until it fits; empty if it does."""

    @property
    def is_close(self) -> bool:
        """Whether it fits by less than the estimate may be wrong."""
        return self.available_gib is not None and self.total_gib * UNCERTAINTY > self.available_gib


def estimate(
    recipe: Recipe,
    *,
    n_scenes: int | None,
    n_persons: int,
    picture_size: tuple[int, int],
    available_gib: float | None,
) -> Estimate:
    """Estimate what a training takes; some ten seconds on a CPU, and little memory.

    A network with random weights is tried and thrown away. ``train.compile`` is passed over.

    Args:
        recipe: Of the training.
        n_scenes: Training scenes, if they are known.
        n_persons: Training identities.
        picture_size: Width and height of the pictures on disk, pixels.
        available_gib: Memory that the training may take, if that is known.

    Raises:
        ResourceError: The device of the recipe is not there.
        UsageError: A number is below 1.
    """
    _check({"n_scenes": n_scenes, "n_persons": n_persons, "picture_size": min(picture_size)})
    with torch.random.fork_rng(devices=[]):  # whoever asks draws the same numbers afterwards
        learner = _learner(recipe, n_persons)
        need = _Need(learner, picture_size, n_scenes or 0)
        memory = need.memory(recipe)
        changes = () if _fits(memory, available_gib) else need.less(recipe, available_gib or 0)
        height, width = padded_size(recipe, picture_size)
        # The trial must not take the memory that the training has not got.
        share = 1.0 if available_gib is None else available_gib / memory.total_gib / 4
        most_px = share * micro_batch(recipe) * height * width
        seconds = time_parts(learner, (height, width), n_regions(recipe), most_px=most_px)
    step_s = step_seconds(recipe, seconds, height * width)
    steps = None if n_scenes is None else -(-n_scenes // recipe.train.batch_size)
    epoch_s = None if steps is None else steps * step_s
    return Estimate(
        device=learner.fabric.device.type,
        height=height,
        width=width,
        micro_batch=micro_batch(recipe),
        n_parameters={
            name: sum(p.numel() for p in part.parameters())
            for name, part in parts_of(learner.net).items()
        },
        memory=memory,
        total_gib=memory.total_gib,
        available_gib=available_gib,
        fits=_fits(memory, available_gib),
        step_s=step_s,
        steps_per_epoch=steps,
        epoch_s=epoch_s,
        run_s=None if epoch_s is None else epoch_s * recipe.train.epochs,
        cpu_share=seconds.cpu_share,
        checkpoint_gib=need.weights.checkpoint(recipe) / GIB,
        disk_gib=need.weights.disk(recipe) / GIB,
        changes=changes,
    )


def step_seconds(recipe: Recipe, seconds: Seconds, n_px: int) -> float:
    """Add up the seconds of an optimiser step.

    Args:
        recipe: Of the training.
        seconds: Of the parts; the backward pass has in it what the recipe has computed again.
        n_px: Pixels of a picture as it is trained on.
    """
    train = recipe.train
    # With micro-batches, what the losses are means over is counted in a pass of its own.
    n_forward = 2 if train.accumulate > 1 else 1
    by_px = [*[seconds.trunk, seconds.proposals] * n_forward, seconds.backward]
    passes = [(line, train.batch_size * n_px) for line in by_px]
    passes.append((seconds.regions, train.batch_size * n_regions(recipe)))
    return seconds.update + sum(
        train.accumulate * line.fixed + line.each * size for line, size in passes
    )


class _Need:
    """Memory of a recipe, and of recipes that ask less of the same network.

    Args:
        learner: What the recipe trains.
        picture_size: Width and height of the pictures on disk.
        n_scenes: Training scenes.
    """

    def __init__(self, learner: Learner, picture_size: tuple[int, int], n_scenes: int) -> None:
        self.weights = Weights.of(learner.net)
        self._learner, self._picture_size, self._n_scenes = learner, picture_size, n_scenes
        self._kept: dict[str, Kept] = {}

    def kept(self, recipe: Recipe) -> Kept:
        """What autograd keeps in the precision of a recipe."""
        precision = recipe.train.precision
        if precision not in self._kept:
            autocast = connect(replace(self._learner.recipe.train, precision=precision)).autocast
            self._kept[precision] = kept_bytes(self._learner.net, autocast)
        return self._kept[precision]

    def memory(self, recipe: Recipe) -> Memory:
        """What a recipe takes."""
        return memory_of(
            recipe,
            self.weights,
            self.kept(recipe),
            picture_size=self._picture_size,
            n_scenes=self._n_scenes,
            device=self._learner.fabric.device.type,
        )

    def less(self, recipe: Recipe, available_gib: float) -> tuple[Change, ...]:
        """What to change until it fits, beginning with what costs least."""
        changes: list[Change] = []
        settings: Settings = {}
        for ways in _ways_out(recipe):
            for way in ways:  # from mild to strong: the first that suffices
                memory = self.memory(_changed(recipe, settings | way))
                if _fits(memory, available_gib):
                    break
            settings |= way
            words = tuple(f"{name}={_written(value)}" for name, value in settings.items())
            changes.append(Change(words, memory.total_gib, _fits(memory, available_gib)))
            if changes[-1].fits:
                break
        return tuple(changes)


def _ways_out(recipe: Recipe) -> Iterator[list[Settings]]:
    """Settings that need less memory; of each kind, from mild to strong."""
    model, train = recipe.model, recipe.train
    if train.accumulate < train.batch_size:
        more = range(train.accumulate + 1, train.batch_size + 1)
        yield [{"train.accumulate": n} for n in more]
    if train.precision == "32-true":
        yield [{"train.precision": "bf16-mixed"}]
    if not train.recompute_trunk and not train.compile:
        yield [{"train.recompute_trunk": True}]
    yield [
        {
            "model.short_side": [max(int(side * share), 1) for side in model.short_side],
            "model.long_side": max(int(model.long_side * share), 1),
        }
        for share in SMALLER
    ]


def _changed(recipe: Recipe, settings: Settings) -> Recipe:
    sections: dict[str, Settings] = {"model": {}, "train": {}}
    for name, value in settings.items():
        section, _, field = name.partition(".")
        sections[section][field] = tuple(value) if isinstance(value, list) else value
    return replace(
        recipe,
        model=replace(recipe.model, **sections["model"]),
        train=replace(recipe.train, **sections["train"]),
    )


def _written(value: object) -> str:
    """As a recipe or ``--set`` has it; a word needs no quotes there."""
    return value if isinstance(value, str) else json.dumps(value)


def _learner(recipe: Recipe, n_persons: int) -> Learner:
    """A network of the recipe with random weights, set up as a training would."""
    model = replace(recipe.model, backbone_weights="none")
    recipe = replace(recipe, model=model, train=replace(recipe.train, compile=False))
    return Learner(build_model(model, recipe.loss, n_persons), recipe, connect(recipe.train))


def _fits(memory: Memory, available_gib: float | None) -> bool:
    return available_gib is None or memory.total_gib <= available_gib


def _check(numbers: dict[str, int | None]) -> None:
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
