"""Reproductions that take seconds: a few drawn scenes, tiny networks, one epoch."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.durable import write_file
from fdps.errors import FdpsError, ModelError
from fdps.predictions import Predictions, data_hash, save_predictions
from fdps.reproduce.bench import Bench
from fdps.reproduce.one_run import Order
from fdps.reproduce.plan import Choice
from fdps.structures import SceneSet

SCENES = SyntheticConfig(
    n_train_persons=6,
    n_test_persons=4,
    n_train_scenes=8,
    n_test_scenes=8,
    n_cameras=2,
    width=144,
    height=96,
)

TINY = (
    "model.short_side=[64]",
    "model.long_side=96",
    "model.anchor_sizes=[16,32]",
    "model.rpn_before_nms=[50,50]",
    "model.rpn_after_nms=[16,8]",
    "model.region_size=[8,4]",
    "model.regions_per_image=8",
    "model.embedding_dim=16",
    "model.backbone_weights=none",
    "train.epochs=2",
    "train.batch_size=4",
    "train.milestones=[1.5]",
    "train.log_every=1",
    "loss.queue_size=8",
)
"""Fields that make every small recipe tiny: two epochs of two steps."""


def tiny_bench(folder: Path, **change: int) -> Bench:
    """Draw the scenes below a folder; ``change`` goes to :class:`SyntheticConfig`."""
    drawing = replace(SCENES, **change)  # type: ignore[arg-type]
    draw_dataset(drawing, folder / "scenes")
    return Bench("tiny", "folder", folder / "scenes", folder / "cache", drawing)


def tiny_choice(*settings: str) -> Choice:
    return Choice("small", (*TINY, *settings))


def random_predictions(scenes: SceneSet, seed: int, *, noise: float = 0.5) -> Predictions:
    """Everybody found, embedded as a vector of the person plus noise."""
    rng = np.random.default_rng(seed)
    ids = np.concatenate([scene.person_ids for scene in scenes.scenes])
    own = np.random.default_rng(0).normal(size=(max(scenes.person_ids) + 1, 8))

    def embedded(people: np.ndarray) -> np.ndarray:
        rows = np.where(people[:, None] >= 0, own[people], 0)
        rows = rows + noise * rng.normal(size=rows.shape)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    counts = [len(scene.boxes) for scene in scenes.scenes]
    return Predictions(
        scenes=tuple(scene.name for scene in scenes.scenes),
        boxes=np.concatenate([scene.boxes for scene in scenes.scenes]),
        scores=rng.uniform(0.5, 1, len(ids)).astype(np.float32),
        embeddings=embedded(ids),
        scene=np.repeat(np.arange(len(counts)), counts).astype(np.int64),
        queries=scenes.queries,
        query_embeddings=embedded(np.array([query.person_id for query in scenes.queries])),
        data_hash=data_hash(scenes),
    )


def write_predictions(orders: "list[Order]", scenes: SceneSet, *, noise: float = 0.5) -> None:
    """Put predictions where the runs of a reproduction would, as if they had been trained."""
    for number, order in enumerate(orders):
        order.run.folder.mkdir(parents=True, exist_ok=True)
        for file in order.files:
            found = random_predictions(scenes, number, noise=noise)
            save_predictions(found, order.run.folder / file)


class Events:
    """A listener that remembers, and may press Ctrl-C at a step."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.begun: list[str] = []
        self.ended: dict[str, FdpsError | None] = {}
        self.steps: dict[str, list[int]] = {}
        self._interrupt_at = interrupt_at

    def begin(self, order: Order) -> None:
        self.begun.append(order.run.recipe.name)

    def advance(self, order: Order, stage: str, done: int, total: int) -> None:
        if stage == "train":
            self.steps.setdefault(order.run.recipe.name, []).append(done)
            if done == self._interrupt_at:
                os.kill(os.getpid(), signal.SIGINT)

    def end(self, order: Order, error: FdpsError | None) -> None:
        self.ended[order.run.recipe.name] = error


Tell = Callable[[str, int, int], None]


def note_order(order: Order, tell: Tell) -> None:
    """Work that takes no time: leaves a file, and fails for one variant."""
    order.run.folder.mkdir(parents=True, exist_ok=True)
    write_file(order.run.folder / "worked", str(time.time()).encode())
    tell("train", 1, 1)
    if order.run.variant.key == "nae":
        raise ModelError("this one fails", hint="as it should")


def wait_for_ever(order: Order, tell: Tell) -> None:
    """Work that ends only when it is asked to."""
    tell("train", 1, 2)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        order.run.folder.mkdir(parents=True, exist_ok=True)
        write_file(order.run.folder / "stopped", b"")
        raise
