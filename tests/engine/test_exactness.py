"""A step is the same however its batch is spread over processes and micro-batches."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fake.ranks import run_on_ranks
from fake.runs import last_state, new_learner, tiny_recipe, write_scenes
from fdps.config import LossConfig, Recipe, Source, to_toml
from fdps.data import load_scenes
from fdps.data.readers.coco_writer import write_coco
from fdps.data.training.augment import Augmentation
from fdps.data.training.dataset import TrainingScenes, training_batches
from fdps.engine.processes import Processes
from fdps.engine.step import split
from fdps.engine.train import train
from fdps.errors import ConfigError, TrainingDiverged
from fdps.structures import SceneSet

Batches = tuple[tuple[int, ...], ...]

BATCHES: Batches = (
    (0, 1, 2, 3),
    (4, 5, 0),
    (3,),
    (5, 4, 2, 1),
    (1, 3, 5),
)  # also fewer than processes


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def gentle_recipe(norm: str, **change: Any) -> Recipe:
    """Rates so small that rounding is not magnified, and pictures of two sizes in a batch."""
    recipe = tiny_recipe(batch_size=4, warmup_epochs=0.0, lr=1e-5, max_grad_norm=0.1, **change)
    return replace(
        recipe,
        model=replace(recipe.model, norm=norm, short_side=(48, 64)),
        loss=replace(recipe.loss, temperature=0.2),
    )


def learnt(
    recipe: Recipe, scenes: SceneSet, batches: Batches = BATCHES, *, rank: int = 0, n: int = 1
) -> dict[str, Tensor]:
    """State after two epochs of these batches, as this process has it."""
    torch.manual_seed(1)
    learner = new_learner(recipe)
    assert learner.processes.n == n
    dataset = TrainingScenes(scenes, Augmentation(flip=0.5), seed=1)
    for epoch in range(2):
        shares = training_batches(
            dataset, batches, epoch=epoch, workers=0, rank=rank, n_processes=n
        )
        for step, (images, targets) in enumerate(shares):
            pictures = [image.float() / 255 for image in images]
            learner.take_step((pictures, targets), epoch * len(batches) + step, len(batches))
    remembered = {f"criterion.{k}": v for k, v in learner.criterion.state_dict().items()}
    return {k: v.clone() for k, v in (learner.net.state_dict() | remembered).items()}


def on_rank(
    rank: int, n: int, recipe: Recipe, scenes: SceneSet, batches: Batches, without: str = ""
) -> dict[str, Tensor]:
    """:func:`learnt` as one of several processes; ``without`` names a part that does nothing."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test",
        "LOCAL_WORLD_SIZE": str(n),
        "WORLD_SIZE": str(n),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
    }
    if without:
        setattr(Processes, without, lambda self, given: given)
    return learnt(recipe, scenes, batches, rank=rank, n=n)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    return write_scenes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(scenes: SceneSet) -> dict[str, Tensor]:
    return learnt(gentle_recipe("frozen"), scenes)


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> tuple[float, str]:
    assert one.keys() == other.keys()
    return max((float((one[k].double() - other[k].double()).abs().max()), k) for k in one)


def test_the_batches_teach_something(scenes: SceneSet, whole: dict[str, Tensor]) -> None:
    recipe = gentle_recipe("frozen")
    torch.manual_seed(1)
    begun = new_learner(recipe)
    start = begun.net.state_dict()
    start |= {f"criterion.{k}": v for k, v in begun.criterion.state_dict().items()}
    moved = {k for k in whole if not torch.equal(whole[k], start[k])}
    assert any(name.startswith("backbone.stages.3") for name in moved)
    assert {"rpn.head.conv.weight", "roi_heads.heads.embedding.norms.0.bias"} <= moved
    assert {f"criterion.memory.{k}" for k in ("table.rows", "queue.rows")} <= moved
    assert largest_difference(whole, start)[0] > 1e-2


@pytest.mark.long
@pytest.mark.parametrize("parts", [2, pytest.param(3, marks=pytest.mark.slow), 4])
def test_micro_batches_are_the_batch(
    parts: int, scenes: SceneSet, whole: dict[str, Tensor]
) -> None:
    found = learnt(gentle_recipe("frozen", accumulate=parts), scenes)
    assert largest_difference(found, whole) < (1e-5, "")


@pytest.mark.long
@pytest.mark.parametrize(
    ("n", "parts"),
    [
        (2, 1),
        pytest.param(2, 2, marks=pytest.mark.slow),
        pytest.param(3, 1, marks=pytest.mark.slow),
    ],
)
def test_processes_are_one(n: int, parts: int, scenes: SceneSet, whole: dict[str, Tensor]) -> None:
    states = run_on_ranks(on_rank, n, gentle_recipe("frozen", accumulate=parts), scenes, BATCHES)
    for state in states:
        assert largest_difference(state, whole) < (1e-5, "")
    for state in states[1:]:
        assert largest_difference(state, states[0])[0] == 0  # one network, to the last bit


@pytest.mark.long
@pytest.mark.parametrize("without", ["concatenate", "sum_gradients", "sum"])
def test_a_part_that_is_missing_is_noticed(
    without: str, scenes: SceneSet, whole: dict[str, Tensor]
) -> None:
    states = run_on_ranks(on_rank, 2, gentle_recipe("frozen"), scenes, BATCHES, without)
    assert largest_difference(states[0], whole)[0] > 1e-3


@pytest.mark.slow
def test_synchronised_norms_are_those_of_the_whole_batch(scenes: SceneSet) -> None:
    recipe = gentle_recipe("sync")
    fitting = tuple(rows for rows in BATCHES if len(rows) > 1)
    whole = learnt(recipe, scenes, fitting)
    states = run_on_ranks(on_rank, 2, recipe, scenes, fitting)
    for state in states:
        assert largest_difference(state, whole) < (5e-3, "")  # norms magnify rounding
    one_each = run_on_ranks(on_rank, 2, gentle_recipe("train"), scenes, fitting)
    assert largest_difference(one_each[0], whole)[0] > 0.5  # which is what they are for


def test_batches_too_small_for_synchronised_norms_are_refused(
    scenes: SceneSet, tmp_path: Path
) -> None:
    recipe = gentle_recipe("sync", accumulate=3)
    with pytest.raises(ConfigError, match="smallest batch of an epoch has 2 pictures") as caught:
        train(recipe, scenes, tmp_path / "run")
    assert "at least 3 of 6 scenes" in caught.value.hint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("n", "n_parts", "sizes"),
    [(5, 2, [2, 3]), (4, 4, [1, 1, 1, 1]), (2, 3, [1, 1]), (0, 2, [0])],
)
def test_a_share_is_cut_into_consecutive_parts(n: int, n_parts: int, sizes: list[int]) -> None:
    images = [torch.full((1,), i) for i in range(n)]
    targets = [{"i": image} for image in images]
    parts = split((images, targets), n_parts)
    assert [len(images) for images, _ in parts] == sizes
    assert [int(i) for images, _ in parts for i in images] == list(range(n))
    assert [int(t["i"]) for _, targets in parts for t in targets] == list(range(n))


def test_embeddings_of_the_unlabelled_are_watched_too(
    scenes: SceneSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = gentle_recipe("frozen")
    learner = new_learner(recipe)
    forward = learner.net.forward

    def poisoned(*arguments: Any) -> Any:
        out = forward(*arguments)
        out.people.embeddings[out.people.person_ids == -1] = torch.nan
        return out

    monkeypatch.setattr(learner.net, "forward", poisoned)
    dataset = TrainingScenes(scenes, Augmentation(), seed=1)
    ((images, targets),) = training_batches(dataset, [(0, 1)], epoch=0, workers=0)
    before = {k: v.clone() for k, v in learner.net.state_dict().items()}
    with pytest.raises(TrainingDiverged, match="embeddings=nan"):
        learner.take_step(([i.float() / 255 for i in images], targets), 0, 1)
    after = learner.net.state_dict()
    assert [k for k in before if not torch.equal(before[k], after[k])] == []


# --- the whole command, on real frames


def write_crowded_frames(shared: Path, root: Path) -> None:
    """Forty frames of a camera that show several people each."""
    frames = load_scenes("prw", shared / "prw_c6", "train")
    crowded = [scene for scene in frames.scenes if len(scene.boxes) > 1][:40]
    write_coco(root, {"train": SceneSet("crowded", tuple(crowded))})


def real_recipe(shared: Path) -> Recipe:
    """Pretrained weights: features that tell people apart, which rounding does not blur."""
    recipe = tiny_recipe(
        epochs=5,
        batch_size=4,
        lr=1e-5,
        trunk_lr_scale=0.1,
        max_grad_norm=1.0,
        milestones=(),
        log_every=10,
    )
    model = replace(
        recipe.model,
        norm="frozen",
        short_side=(160, 192),
        long_side=320,
        anchor_ratios=(2.0, 3.0),
        embedding_dim=32,
        backbone_weights=str(shared / "models" / "mobilenet_v2_imagenet.safetensors"),
    )
    loss = LossConfig(name="boim", queue_size=16, temperature=0.5)
    source = Source("coco", "scenes")
    return replace(recipe, model=model, loss=loss, data=replace(recipe.data, train=(source,)))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_steps_of_two_processes_are_those_of_one(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(to_toml(real_recipe(shared_data)))
    write_crowded_frames(shared_data, tmp_path / "scenes")
    command = ["-m", "fdps", "train", "r.toml", "--quiet", "--out"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for words in (
        [*command, "one"],
        [*command, "parts", "--set", "train.accumulate=2"],
        [*launch, *command, "two"],
    ):
        subprocess.run([sys.executable, *words], check=True, env=environment)
    one = last_state(tmp_path / "one")
    assert float(one["progress"][0]) == 50
    remembered = [k for k in one if k.partition("/")[0] in ("model", "oim")]
    assert one["oim/memory.table.rows"].norm(dim=1).min() > 0.99
    for name in ("two", "parts"):
        other = last_state(tmp_path / name)
        ours, theirs = ({k: state[k] for k in remembered} for state in (one, other))
        # A sum over all pairs of identities, about 1 each.
        totals = [float(state.pop("oim/dispersion.total")) for state in (ours, theirs)]
        assert totals[0] == pytest.approx(totals[1], rel=1e-5)
        assert largest_difference(ours, theirs) < (1e-5, "")
