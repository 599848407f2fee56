"""Forty ways in which numbers go wrong: training goes on, or stops and names the cause."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fake.runs import last_state, new_learner, tiny_recipe, write_scenes
from fdps.config import LossConfig, Recipe
from fdps.data.training.augment import Augmentation
from fdps.data.training.dataset import TrainingScenes, training_batches
from fdps.engine.step import Learner
from fdps.engine.train import train
from fdps.errors import TrainingDiverged
from fdps.structures import UNLABELLED, Scene, SceneSet, empty_boxes


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    return write_scenes(tmp_path_factory.mktemp("data"), n_scenes=4)


def with_loss(name: str, **train: Any) -> Recipe:
    recipe = tiny_recipe(**train)
    return replace(recipe, loss=replace(recipe.loss, name=name))


def ids(scene: Scene, number: int) -> Scene:
    return replace(scene, person_ids=np.full_like(scene.person_ids, number))


def deserted(scene: Scene) -> Scene:
    return replace(scene, boxes=empty_boxes(), person_ids=np.zeros(0, np.int64))


def whole_picture(scene: Scene) -> Scene:
    box = np.array([[0, 0, 96, 72]], np.float32)
    return replace(scene, boxes=box, person_ids=np.zeros(1, np.int64))


def speck(scene: Scene) -> Scene:
    """A person of less than a pixel."""
    box = np.array([[10, 10, 10.3, 10.4]], np.float32)
    return replace(scene, boxes=box, person_ids=np.zeros(1, np.int64))


def twice(scene: Scene) -> Scene:
    """The same person twice at the same place."""
    box = np.repeat(scene.boxes[:1], 2, axis=0)
    return replace(scene, boxes=box, person_ids=np.zeros(2, np.int64))


SCENES: dict[str, Callable[[Scene, int], Scene]] = {
    "no people but in the first": lambda s, i: s if i == 0 else deserted(s),
    "only unlabelled but in the first": lambda s, i: s if i == 0 else ids(s, UNLABELLED),
    "one identity": lambda s, i: ids(s, 0),
    "one identity among nobody": lambda s, i: ids(s, 0) if i == 0 else deserted(s),
    "people as large as the picture": lambda s, i: whole_picture(s),
    "people of less than a pixel": lambda s, i: speck(s),
    "the same person twice in one place": lambda s, i: twice(s),
}


@pytest.mark.long
@pytest.mark.parametrize("loss", ["oim", "boim"])
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("change", SCENES.values(), ids=SCENES.keys())
def test_odd_scenes_are_trained_on(
    change: Callable[[Scene, int], Scene],
    batch_size: int,
    loss: str,
    scenes: SceneSet,
    tmp_path: Path,
) -> None:
    odd = SceneSet("odd", tuple(change(s, i) for i, s in enumerate(scenes.scenes)))
    if len(odd.person_ids) > 1:
        odd = SceneSet("odd", tuple(replace(s) for s in odd.scenes))
    train(with_loss(loss, epochs=1, batch_size=batch_size), odd, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(records) == 4 // batch_size
    assert all(math.isfinite(value) for record in records for value in record.values())
    assert all(bool(v.isfinite().all()) for v in last_state(tmp_path).values())


def step(recipe: Recipe, scenes: SceneSet, change: Callable[[Learner, Tensor], None]) -> Learner:
    """Take two steps; a change is made to network or pictures before the second."""
    torch.manual_seed(0)
    learner = new_learner(recipe)
    dataset = TrainingScenes(scenes, Augmentation(), seed=1)
    shares = training_batches(dataset, [(0, 1), (2, 3)], epoch=0, workers=0)
    for number, (images, targets) in enumerate(shares):
        pictures = [image.float() / 255 for image in images]
        if number == 1:
            change(learner, pictures[0])
        values = learner.take_step((pictures, targets), number, 2)
        assert all(map(math.isfinite, values.values()))
    return learner


def fill_memory(value: float) -> Callable[[Learner, Tensor], None]:
    def fill(learner: Learner, picture: Tensor) -> None:
        memory = learner.criterion.memory
        memory.table.rows.fill_(value)
        memory.queue.rows.fill_(value)

    return fill


GOES_ON: dict[str, tuple[dict[str, Any], Callable[[Learner, Tensor], None]]] = {
    "an empty table": ({}, fill_memory(0.0)),
    "similarities far above one": ({}, fill_memory(1.0)),
    "similarities that are all the same": ({}, fill_memory(0.25)),
    "negative similarities": ({}, fill_memory(-0.25)),
    "no negative is hard": ({"sigma": 1e6}, lambda learner, picture: None),
    "every negative is hard": ({"sigma": 0.0, "beta": -1.0}, lambda learner, picture: None),
    "a temperature near zero": ({"temperature": 1e-4}, lambda learner, picture: None),
    "a high temperature": ({"temperature": 1e4}, lambda learner, picture: None),
    "no queue": ({"queue_size": 0}, lambda learner, picture: None),
    "an alpha that makes w vanish": ({"alpha": -50.0}, lambda learner, picture: None),
    "a black picture": ({}, lambda learner, picture: picture.zero_()),
    "a picture far too bright": ({}, lambda learner, picture: picture.fill_(1e6)),
}


@pytest.mark.parametrize("case", GOES_ON)
def test_it_goes_on(case: str, scenes: SceneSet) -> None:
    loss, change = GOES_ON[case]
    recipe = tiny_recipe()
    recipe = replace(recipe, loss=replace(recipe.loss, **loss))
    learner = step(recipe, scenes, change)
    assert all(bool(v.isfinite().all()) for v in learner.net.state_dict().values())


def poison(name: str, value: float) -> Callable[[Learner, Tensor], None]:
    def poisoned(learner: Learner, picture: Tensor) -> None:
        tensor = (learner.net.state_dict() | learner.criterion.state_dict())[name]
        tensor[(0,) * tensor.ndim] = value

    return poisoned


TABLE = "memory.table.rows"

STOPS: dict[str, tuple[Callable[[Learner, Tensor], None], str]] = {
    "a picture with NaN": (lambda learner, picture: picture[0, 3].fill_(torch.nan), "nan"),
    "a picture with infinity": (lambda learner, picture: picture[0, 3].fill_(torch.inf), "nan"),
    "a weight that is NaN": (poison("rpn.head.conv.weight", torch.nan), "rpn_score=nan"),
    "a weight that is infinite": (poison("roi_heads.heads.person.weight", torch.inf), "person="),
    "a table with NaN": (poison(TABLE, torch.nan), "reid=nan"),
    "a table with infinity": (poison(TABLE, torch.inf), "reid="),
    "a density that overflowed": (
        poison("dispersion.total", torch.inf),
        "reid=",
    ),
    "a gradient that overflows": (poison("rpn.head.cls_logits.weight", 3e38), ""),
}


@pytest.mark.long
@pytest.mark.parametrize("case", STOPS)
def test_it_stops_and_names_the_cause(case: str, scenes: SceneSet) -> None:
    change, named = STOPS[case]
    kept: dict[str, Tensor] = {}

    def remember(learner: Learner, picture: Tensor) -> None:
        change(learner, picture)
        memory = learner.criterion.state_dict()
        kept.update(memory)
        before.update({k: v.clone() for k, v in memory.items()})

    before: dict[str, Tensor] = {}
    with pytest.raises(TrainingDiverged, match="diverged at step 1: ") as caught:
        step(tiny_recipe(), scenes, remember)
    assert named in str(caught.value)
    assert caught.value.step == 1
    for name, value in before.items():  # nothing was remembered of that step
        torch.testing.assert_close(kept[name], value, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lr": 1e6, "warmup_epochs": 0.0}, "diverged"),
        ({"lr": 1e30, "warmup_epochs": 0.0}, "diverged"),
        ({"lr": 1e6, "warmup_epochs": 0.0, "optimizer": "adamw"}, "diverged"),
    ],
)
def test_a_learning_rate_out_of_this_world(
    change: dict[str, Any], named: str, scenes: SceneSet, tmp_path: Path
) -> None:
    recipe = tiny_recipe(**change, epochs=20, milestones=())
    with pytest.raises(TrainingDiverged, match=named) as caught:
        train(recipe, scenes, tmp_path)
    assert "lower train.lr" in caught.value.hint
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.long
def test_fp16_gradients_that_always_overflow_stop_in_the_end(scenes: SceneSet) -> None:
    recipe = tiny_recipe(precision="16-mixed")
    recipe = replace(recipe, loss=LossConfig(name="boim", queue_size=8, box_weight=1e30))
    torch.manual_seed(0)
    learner = new_learner(recipe)
    assert learner.scaler is not None
    learner.scaler.scale(torch.ones(()))
    learner.scaler.update(2.0**-11)
    dataset = TrainingScenes(scenes, Augmentation(), seed=1)
    ((images, targets),) = training_batches(dataset, [(0, 1)], epoch=0, workers=0)
    pictures = [image.float() / 255 for image in images]
    with pytest.raises(TrainingDiverged, match="diverged at step 0"):
        learner.take_step((pictures, targets), 0, 2)
