"""Training runs that take a second: a tiny network, drawn scenes, sessions cut short on purpose."""

import hashlib
import io
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from fake.coco import write_coco
from fdps.config import DataConfig, LossConfig, ModelConfig, Recipe, Source, TrainConfig
from fdps.data import load_scenes
from fdps.data.identities import contiguous
from fdps.engine.checkpoint import STATE, newest_checkpoint, sealed
from fdps.engine.processes import connect
from fdps.engine.step import Learner
from fdps.models import build_criterion, build_model
from fdps.structures import SceneSet

TINY = ModelConfig(
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


def tiny_recipe(root: Path | None = None, **train: Any) -> Recipe:
    """Two epochs of three steps under the balanced loss, every step logged.

    Args:
        root: Where the recipe finds its scenes.
        train: Fields of :class:`TrainConfig` to change.
    """
    short = TrainConfig(
        epochs=2,
        batch_size=2,
        milestones=(1.0,),
        warmup_epochs=0.5,
        device="cpu",
        workers=0,
        log_every=1,
    )
    return Recipe(
        name="tiny",
        data=DataConfig(train=(Source("coco", str(root)),) if root else ()),
        model=TINY,
        loss=LossConfig(name="boim", queue_size=8),
        train=replace(short, **train),
    )


def new_learner(recipe: Recipe) -> Learner:
    """Set up the training of a recipe on two people, from random weights."""
    criterion = build_criterion(recipe.loss, 2, recipe.model.embedding_dim)
    return Learner(build_model(recipe.model), criterion, recipe, connect(recipe.train))


def write_scenes(root: Path, *, n_scenes: int = 6) -> SceneSet:
    """Scenes of two people with identity and one without; also left on disk as COCO."""
    write_coco(root, n_images=n_scenes, person_ids=(4, 9, -1), size=(96, 72))
    return contiguous(load_scenes("coco", root, "train"))


class SignalAt(io.StringIO):
    """A stream that sends a signal to this very process as soon as a step is shown.

    Args:
        step: The step.
        number: The signal.
    """

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.step, self.number = step, number

    def write(self, text: str) -> int:
        if text.startswith(f"step {self.step}/"):
            os.kill(os.getpid(), self.number)
        return super().write(text)


def last_state(run: Path) -> dict[str, torch.Tensor]:
    """All that the newest checkpoint of a run holds, random numbers too, by ``file/name``."""
    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None
    state = {f"{f}/{k}": v for f, tensors in checkpoint.tensors.items() for k, v in tensors.items()}
    for rank, text in enumerate(checkpoint.state["random"]):
        state[f"random/{rank}"] = torch.frombuffer(bytearray(text, "utf-8"), dtype=torch.uint8)
    position = {k: v for k, v in checkpoint.state["progress"].items() if k != "seconds"}
    state["progress"] = torch.tensor([*position.values()], dtype=torch.float64)
    return state


def rewrite_checkpoint(run: Path, file: str, tensors: dict[str, torch.Tensor]) -> None:
    """Put other tensors into the newest checkpoint, with hashes that fit."""
    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None
    content = save(tensors)
    (checkpoint.path / f"{file}.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    checkpoint.state["sha256"][f"{file}.safetensors"] = digest
    (checkpoint.path / STATE).write_bytes(sealed(checkpoint.state))
