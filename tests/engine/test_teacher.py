"""A network learns from a teacher, with identities and without any."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fake.ranks import run_on_ranks
from fake.runs import SignalAt, last_state, tiny_recipe, write_scenes
from fdps.config import Recipe
from fdps.data.training.augment import Augmentation, Sample, mirror, zoom
from fdps.data.training.dataset import TrainingScenes, training_batches
from fdps.engine.processes import connect
from fdps.engine.step import Learner
from fdps.engine.train import train
from fdps.errors import AnnotationError, MissingDataError, ModelError
from fdps.losses import Distillation, teacher_basis
from fdps.models import build_system
from fdps.models.weights import load_weights
from fdps.structures import SceneSet

DIM = 24  # not that of the tiny network


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def taught(scenes: SceneSet, *, named: bool = True) -> SceneSet:
    """Three people who look to the teacher alike wherever they are; one is unknown to it once."""
    looks = np.random.default_rng(0).normal(size=(3, DIM)).astype(np.float32) + 1
    rows = []
    for number, scene in enumerate(scenes.scenes):
        teacher = looks[scene.person_ids]
        if number == 1:
            teacher[0] = np.nan
        ids = scene.person_ids if named else np.full_like(scene.person_ids, -1)
        ignored = np.array([[2, 2, 30, 60]], np.float32)
        rows.append(replace(scene, teacher=teacher, person_ids=ids, ignored=ignored))
    return SceneSet(scenes.name, tuple(rows), teacher_hash="fake")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    return write_scenes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def scenes(plain: SceneSet) -> SceneSet:
    return taught(plain)


def teacher_recipe(weight: float = 1.0, **change: Any) -> Recipe:
    recipe = tiny_recipe(**change)
    return replace(recipe, loss=replace(recipe.loss, teacher_weight=weight, teacher_queue_size=7))


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_a_stopped_run_ends_as_one_that_never_stopped(scenes: SceneSet, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(teacher_recipe(), scenes, whole)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(teacher_recipe(), scenes, cut, stream=SignalAt(4))
    assert caught.value.args == (signal.SIGINT,)
    train(teacher_recipe(), scenes, cut)
    ours, theirs = last_state(cut), last_state(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert {"oim/teacher.queue.rows", "oim/teacher.mean", "oim/teacher.basis"} <= ours.keys()
    assert ours["oim/teacher.queue.rows"].norm(dim=1).tolist() == pytest.approx([1] * 7)
    weights = [(run / "weights.safetensors").read_bytes() for run in (whole, cut)]
    assert weights[0] == weights[1]
    assert b"teacher.queue" not in weights[0]
    for record in log(whole):
        assert {"teacher_direction", "teacher_similarity", "oim"} <= record.keys()


@pytest.mark.long
def test_without_identities_the_teacher_alone_teaches(plain: SceneSet, tmp_path: Path) -> None:
    nobody = taught(plain, named=False)
    with pytest.raises(AnnotationError, match="no labelled person"):
        train(tiny_recipe(), nobody, tmp_path / "refused")
    train(teacher_recipe(), nobody, tmp_path / "run")
    records = log(tmp_path / "run")
    assert all(record["reid"] == 0 for record in records)
    assert all(record["teacher_direction"] > 0 for record in records)


def test_a_teacher_that_says_nothing_is_refused(plain: SceneSet, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no embeddings of a teacher"):
        train(teacher_recipe(), plain, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_weight_zero_is_the_training_of_today(
    plain: SceneSet, scenes: SceneSet, tmp_path: Path
) -> None:
    recipe = tiny_recipe(epochs=1)
    with_rows = [replace(scene, ignored=None) for scene in scenes.scenes]
    train(recipe, plain, tmp_path / "plain")
    train(recipe, replace(scenes, scenes=tuple(with_rows)), tmp_path / "rows")
    ours, theirs = last_state(tmp_path / "rows"), last_state(tmp_path / "plain")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def new_learner(recipe: Recipe, scenes: SceneSet) -> Learner:
    torch.manual_seed(1)
    rows = np.concatenate([s.teacher for s in scenes.scenes if s.teacher is not None])
    basis = teacher_basis(rows[~np.isnan(rows).any(axis=1)], recipe.model.embedding_dim)
    teacher = Distillation(*basis, queue_size=7)
    return Learner(
        *build_system(recipe.model, recipe.loss, 2, teacher), recipe, connect(recipe.train)
    )


def learnt(recipe: Recipe, scenes: SceneSet, n_epochs: int) -> tuple[Learner, list[Any]]:
    learner, values = new_learner(recipe, scenes), []
    dataset = TrainingScenes(scenes, Augmentation(flip=0.5), seed=1, teacher_dim=DIM)
    for epoch in range(n_epochs):
        for images, targets in training_batches(
            dataset, [(0, 1, 2, 3), (4, 5)], epoch=epoch, workers=0
        ):
            pictures = [image.float() / 255 for image in images]
            values.append(learner.take_step((pictures, targets), len(values), 2))
    return learner, values


@pytest.mark.long
def test_steps_bring_the_network_nearer_to_its_teacher(plain: SceneSet) -> None:
    scenes = taught(plain, named=False)
    recipe = teacher_recipe(warmup_epochs=0.0, lr=0.003, milestones=(), optimizer="adamw")
    recipe = replace(recipe, loss=replace(recipe.loss, box_weight=1.0))
    learner = new_learner(recipe, scenes)
    dataset = TrainingScenes(scenes, Augmentation(), seed=1, teacher_dim=DIM)
    ((images, targets),) = training_batches(dataset, [(0, 2, 3)], epoch=0, workers=0)
    pictures = [image.float() / 255 for image in images]
    values = [learner.take_step((pictures, targets), step, 20) for step in range(20)]
    directions = [value["teacher_direction"] for value in values]
    assert min(directions[:2]) > 0.6
    assert max(directions[-3:]) < 0.5 * directions[0], directions


@pytest.mark.long
def test_micro_batches_are_the_batch(scenes: SceneSet) -> None:
    def end(accumulate: int) -> dict[str, Tensor]:
        recipe = teacher_recipe(
            accumulate=accumulate, batch_size=4, warmup_epochs=0.0, lr=1e-5, max_grad_norm=0.1
        )
        recipe = replace(
            recipe,
            model=replace(recipe.model, norm="frozen"),
            loss=replace(recipe.loss, temperature=0.2, teacher_temperature=0.2),
        )
        learner, _ = learnt(recipe, scenes, 2)
        return state(learner)

    whole, parts = end(1), end(3)
    assert whole.keys() == parts.keys()
    assert torch.equal(whole["teacher.queue.rows"], parts["teacher.queue.rows"])
    assert max(float((whole[k].double() - parts[k].double()).abs().max()) for k in whole) < 1e-5


BATCHES = ((0, 1, 2, 3), (4,), (5, 0))  # one of them has no picture for the second process


def on_rank(rank: int, n: int, scenes: SceneSet) -> dict[str, Tensor]:
    """State after these batches, as one of several processes has it."""
    if n > 1:
        os.environ |= {
            "TORCHELASTIC_RUN_ID": "test",
            "LOCAL_WORLD_SIZE": str(n),
            "WORLD_SIZE": str(n),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
        }
    recipe = teacher_recipe(batch_size=4, warmup_epochs=0.0, lr=1e-5, max_grad_norm=0.1)
    recipe = replace(
        recipe,
        model=replace(recipe.model, norm="frozen"),
        loss=replace(recipe.loss, temperature=0.2, teacher_temperature=0.2),
    )
    learner = new_learner(recipe, scenes)
    dataset = TrainingScenes(scenes, Augmentation(flip=0.5), seed=1, teacher_dim=DIM)
    shares = training_batches(dataset, BATCHES, epoch=0, workers=0, rank=rank, n_processes=n)
    for step, (images, targets) in enumerate(shares):
        learner.take_step(([image.float() / 255 for image in images], targets), step, len(BATCHES))
    return {k: v.clone() for k, v in state(learner).items()}


def state(learner: Learner) -> dict[str, Tensor]:
    return learner.net.state_dict() | learner.criterion.state_dict()


@pytest.mark.long
def test_processes_are_one(scenes: SceneSet) -> None:
    whole, states = on_rank(0, 1, scenes), run_on_ranks(on_rank, 2, scenes)
    for found in states:
        assert found.keys() == whole.keys()
        apart = {k: float((whole[k].double() - found[k].double()).abs().max()) for k in whole}
        assert max(apart.values()) < 1e-5
    assert all(torch.equal(states[0][k], states[1][k]) for k in whole)


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ({"stages": "two"}, {}),
        ({"person_score": "memory"}, {"name": "oim"}),
        ({"system": "apnet"}, {"name": "oim"}),
        ({"system": "qeeps"}, {}),
        ({"system": "binet"}, {}),
        ({"system": "nae_plus", "person_score": "norm"}, {"name": "oim"}),
    ],
    ids=["seqnet", "hoim", "apnet", "qeeps", "binet", "nae_plus"],
)
def test_every_system_can_have_a_teacher(
    model: dict[str, Any], loss: dict[str, Any], scenes: SceneSet
) -> None:
    recipe = teacher_recipe(accumulate=2)
    recipe = replace(
        recipe, model=replace(recipe.model, **model), loss=replace(recipe.loss, **loss)
    )
    learner = new_learner(recipe, scenes)
    dataset = TrainingScenes(scenes, Augmentation(), seed=1, teacher_dim=DIM)
    for images, targets in training_batches(dataset, [(0, 1), (2,)], epoch=0, workers=0):
        pictures = [image.float() / 255 for image in images]
        values = learner.take_step((pictures, targets), 0, 1)
        assert values["teacher_direction"] > 0
    assert values["teacher_similarity"] > 0


# --- targets go with their people


def sample() -> Sample:
    target = {
        "boxes": torch.tensor([[10.0, 10, 30, 70], [70, 10, 95, 70], [40, 5, 60, 60]]),
        "person_ids": torch.tensor([0, 1, -1]),
        "teacher": torch.tensor([[0.0, 1], [1, 0], [torch.nan, torch.nan]]),
        "ignored": torch.tensor([[0.0, 0, 12, 72], [90, 0, 100, 30]]),
    }
    return torch.arange(3 * 80 * 100, dtype=torch.uint8).reshape(3, 80, 100), target


def test_a_mirrored_picture_has_mirrored_regions() -> None:
    _, target = mirror(*sample())
    assert target["boxes"][0].tolist() == [70, 10, 90, 70]
    assert target["ignored"].tolist() == [[88, 0, 100, 72], [0, 0, 10, 30]]
    assert torch.equal(target["teacher"][:2], sample()[1]["teacher"][:2])


@pytest.mark.parametrize("factor", [0.6, 1.5, 2.5])
def test_whoever_is_cut_away_takes_their_row_along(factor: float) -> None:
    numbers: set[int] = set()
    for seed in range(20):
        image, target = sample()
        image, moved = zoom(image, target, factor, np.random.default_rng(seed))
        kept = [target["person_ids"].tolist().index(i) for i in moved["person_ids"].tolist()]
        assert torch.equal(moved["teacher"].nan_to_num(9), target["teacher"][kept].nan_to_num(9))
        assert len(moved["boxes"]) == len(kept)
        sides = moved["ignored"][:, 2:] - moved["ignored"][:, :2]
        assert (sides > 0).all()
        assert (moved["ignored"][:, 2:] <= torch.tensor(image.shape[:0:-1])).all()
        numbers.add(len(kept))
    assert (len(numbers) > 1) == (factor > 1)


def test_sets_without_a_teacher_say_so_row_by_row(plain: SceneSet) -> None:
    dataset = TrainingScenes(plain, Augmentation(), seed=1, teacher_dim=DIM)
    ((_, targets),) = training_batches(dataset, [(0, 1)], epoch=0, workers=0)
    assert [t["teacher"].shape for t in targets] == [(3, DIM)] * 2
    assert all(t["teacher"].isnan().all() for t in targets)
    without = TrainingScenes(plain, Augmentation(), seed=1)
    ((_, targets),) = training_batches(without, [(0, 1)], epoch=0, workers=0)
    assert all({"teacher", "ignored"}.isdisjoint(t) for t in targets)


# --- adapt a network that there is


@pytest.mark.long
def test_a_run_can_begin_from_the_weights_of_another(scenes: SceneSet, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    train(tiny_recipe(epochs=1), scenes, first)
    again = teacher_recipe(epochs=1, lr=1e-9, warmup_epochs=0.0, start_from=str(first))
    train(again, scenes, second)
    before, after = (load_weights(run / "weights.safetensors")[0] for run in (first, second))
    given = dict(before.named_parameters())
    for name, parameter in after.named_parameters():
        assert torch.allclose(parameter, given[name], atol=1e-6), name


def test_a_network_of_another_shape_is_no_beginning(scenes: SceneSet, tmp_path: Path) -> None:
    recipe = teacher_recipe(start_from="drawn-people")
    with pytest.raises(ModelError, match="a run cannot begin from drawn-people"):
        train(recipe, scenes, tmp_path / "run")
    with pytest.raises(MissingDataError):
        train(teacher_recipe(start_from=str(tmp_path / "no")), scenes, tmp_path / "other")
