"""In training a second branch embeds people cut out of the picture; tests know nothing of it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fake.ranks import run_on_ranks
from fake.runs import tiny_recipe, write_scenes
from fake.tiny import CONFIG, N_PERSONS, picture, target
from fdps.config import LossConfig, ModelConfig, Recipe
from fdps.data.training.augment import Augmentation
from fdps.data.training.dataset import TrainingScenes, training_batches
from fdps.engine.processes import connect
from fdps.engine.step import Learner
from fdps.errors import ConfigError
from fdps.losses import Criterion
from fdps.models import build_system
from fdps.models.outputs import RegionOutputs
from fdps.models.systems import system_of
from fdps.models.systems.binet import (
    BINetOptions,
    InteractingNet,
    cut_out,
    feature_distance,
    mean_of_people,
    prediction_distance,
)
from fdps.models.weights import load_weights, save_weights
from fdps.structures import SceneSet

PEOPLE = target((5, 5, 30, 60, 0), (40, 8, 62, 60, 2), (60, 20, 78, 60, -1))
BINET = replace(CONFIG, system="binet", options={"patch_size": [48, 32]})
OURS = InteractingNet.FURTHER_LOSSES


def build(config: ModelConfig = BINET, **loss: Any) -> tuple[InteractingNet, Criterion]:
    torch.manual_seed(0)
    sizes = {"queue_size": 4, "background_size": 6}
    net, criterion = build_system(config, LossConfig(**(sizes | loss)), N_PERSONS)
    assert isinstance(net, InteractingNet)
    return net, criterion


def filled(criterion: Criterion) -> Criterion:
    rows = normalize(torch.randn(5, 16), dim=1)
    criterion.update(rows, torch.tensor([0, 1, 2, -1, -1]))
    return criterion


def seeded(*seeds: int) -> list[dict[str, Tensor]]:
    return [PEOPLE | {"seed": torch.tensor(seed)} for seed in seeds]


# --- the formulas


def test_values_equal_plain_loops() -> None:
    rng = np.random.default_rng(0)
    scene, instance = (rng.normal(size=(7, 5)) for _ in range(2))
    a, b = (rng.normal(size=(7, 9)) * 5 for _ in range(2))
    who = [0, 2, 2, 2, 3, 0, 3]  # nobody sampled person 1 and 4
    expected = [0.0, 0.0]
    for person in set(who):
        mine = [r for r in range(7) if who[r] == person]
        for r in mine:
            expected[0] += sum((scene[r] - instance[r]) ** 2) / len(mine) / 5
            p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (a[r], b[r]))
            both = sum(p * np.log(p / q)) + sum(q * np.log(q / p))
            expected[1] += both / len(mine) / 5
    given = [torch.from_numpy(x) for x in (scene, instance, a, b)]
    values = feature_distance(*given[:2]), prediction_distance(*given[2:])
    found = [mean_of_people(each, torch.tensor(who), 5).item() for each in values]
    assert found == pytest.approx(expected, rel=1e-10)


def test_limit_branches_that_agree_teach_nothing() -> None:
    x = normalize(torch.randn(4, 6, dtype=torch.float64), dim=1).requires_grad_()
    logits = 30 * x @ torch.randn(6, 9, dtype=torch.float64)
    value = (feature_distance(x, x) + prediction_distance(logits, logits)).sum()
    assert value.item() == 0
    value.backward()
    assert x.grad is not None
    assert x.grad.abs().max() < 1e-12


def test_limit_opposite_predictions_stay_finite_with_their_gradient() -> None:
    a = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    b = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    prediction_distance(a, b).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.isfinite().all()
    assert b.grad.isfinite().all()


def test_a_target_gets_no_gradient_so_each_branch_learns_its_own_divergence() -> None:
    a, b = (torch.randn(3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    prediction_distance(a, b).sum().backward()
    p, q = a.softmax(dim=1).detach(), b.softmax(dim=1).detach()
    # The gradient of KL(q || p) with respect to the logits of p.
    torch.testing.assert_close(a.grad, p - q)
    torch.testing.assert_close(b.grad, q - p)


def test_gradients_are_checked() -> None:
    a, b = (torch.randn(3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    who = torch.tensor([1, 0, 1])
    assert torch.autograd.gradcheck(
        lambda x, y: mean_of_people(feature_distance(x, y), who, 3), (a, b)
    )


def test_a_patch_shows_the_person_and_nothing_else() -> None:
    rows = torch.arange(64.0)[:, None].expand(64, 80)
    columns = torch.arange(80.0).expand(64, 80)
    pictures = torch.stack([torch.stack([rows, columns, torch.zeros(64, 80)])] * 2)
    boxes = [torch.zeros(0, 4), torch.tensor([[16.0, 8, 48, 40], [0, 0, 0, 0]])]
    patches = cut_out(pictures, boxes, BINetOptions(patch_size=(16, 32)))
    assert patches.shape == (2, 3, 16, 32)
    # A pixel of a picture has its value half a pixel behind its corner.
    torch.testing.assert_close(patches[0, 0, :, 0], 8 + 2 * torch.arange(16.0) + 0.5)
    torch.testing.assert_close(patches[0, 1, 0], 16 + torch.arange(32.0))
    assert not patches[1].any()


# --- in the network


def test_it_teaches_its_named_losses_and_reaches_every_weight() -> None:
    net, criterion = build()
    out = net.train()([picture(), picture()], seeded(1, 2), filled(criterion))
    assert list(out.losses)[-3:] == [*OURS]
    assert [int(out.losses[name].n_samples) for name in OURS] == [4, 6, 6]
    assert all(out.losses[name].value > 0 for name in OURS)
    torch.stack([out.losses[name].value for name in OURS]).sum().backward()
    without = {n.split(".")[0] for n, p in net.named_parameters() if p.grad is None}
    assert without == {"backbone", "rpn", "roi_heads"}
    still = [n for n, p in net.named_parameters() if p.requires_grad and p.grad is None]
    # What detects learns nothing from the instance branch; what embeds does, throughout.
    allowed = ("rpn.", "roi_heads.heads.vertical", "roi_heads.heads.horizontal")
    allowed += ("roi_heads.heads.person", "roi_heads.heads.box_norm")
    assert [n for n in still if not n.startswith(allowed)] == []


def test_losses_of_the_network_equal_a_plain_computation() -> None:
    net, criterion = build()
    filled(criterion)
    patches, ids = torch.randn(4, 3, 48, 32), torch.tensor([1, -1, 0, 2])
    boxes = torch.tensor([[0.0, 0, 32, 48]])
    embeddings = normalize(torch.randn(5, 16), dim=1).requires_grad_()
    regions = RegionOutputs(
        {}, {}, embeddings, torch.zeros(5), torch.ones(5), torch.tensor([3, 0, -1, 0, 2])
    )
    targets = [{"boxes": boxes, "person_ids": ids[i : i + 1]} for i in range(4)]
    losses = net.train().further_losses(patches, targets, regions, criterion)
    with torch.no_grad():
        instances = net.embed_patches(patches)
        rows = torch.cat([criterion.memory.table.rows, criterion.memory.queue.rows]).double()
        feature = prediction = named = 0.0
        for person in range(4):
            instance = instances[person].double()
            log_i = (rows @ instance * 30).log_softmax(0)
            if ids[person] >= 0:
                named -= float(log_i[ids[person]]) / 3
            mine = [r for r in range(5) if regions.people[r] == person]
            for r in mine:
                scene = embeddings[r].double()
                log_s = (rows @ scene * 30).log_softmax(0)
                feature += float((scene - instance).square().sum()) / len(mine) / 4
                both = (log_i.exp() - log_s.exp()) * (log_i - log_s)
                prediction += float(both.sum()) / len(mine) / 4
    found = [losses[name].value.item() for name in OURS]
    assert found == pytest.approx([named, feature, prediction], rel=1e-4)


def test_limit_people_embedded_alike_interact_by_nothing() -> None:
    net, criterion = build()
    filled(criterion)
    patches = torch.randn(2, 3, 48, 32)
    whole = [target((0, 0, 32, 48, 1)), target((0, 0, 32, 48, 0))]
    with torch.no_grad():
        same = net.train().embed_patches(cut_out(patches, [t["boxes"] for t in whole], net.options))
    shown = RegionOutputs({}, {}, same, torch.tensor([1, 0]), torch.ones(2), torch.tensor([0, 1]))
    losses = net.further_losses(patches, whole, shown, criterion)
    assert losses["feature_interaction"].value < 1e-10
    assert losses["prediction_interaction"].value < 1e-10
    assert losses["instance_reid"].value > 0


def test_weights_are_options() -> None:
    values = []
    for factor in (1.0, 3.0):
        weights = {f"{name}_weight": factor for name in ("instance", "feature", "prediction")}
        net, criterion = build(replace(BINET, options=BINET.options | weights))
        torch.manual_seed(1)
        net.train()
        filled(criterion)
        torch.manual_seed(2)
        out = net([picture()], seeded(1), criterion)
        values.append(torch.stack([out.losses[name].value for name in OURS]))
    torch.testing.assert_close(values[1], 3 * values[0])


def test_patches_pass_norms_as_in_tests_and_move_no_statistics() -> None:
    net, _ = build()
    patches = torch.randn(3, 3, 48, 32)
    before = {name: value.clone() for name, value in net.named_buffers()}
    net.train()
    together = net.embed_patches(patches)
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    alone = torch.cat([net.embed_patches(patch[None]) for patch in patches])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert all(module.training for module in net.modules())


def test_a_recomputed_trunk_teaches_the_same() -> None:
    gradients = []
    for is_recomputed in (False, True):
        net, criterion = build()
        net.train().backbone.is_recomputed = is_recomputed
        filled(criterion)
        torch.manual_seed(3)
        out = net([picture()], seeded(1), criterion)
        torch.stack([loss.value for loss in out.losses.values()]).sum().backward()
        gradients.append(next(net.backbone.stages[2].parameters()).grad)
        assert net.backbone.is_recomputed == is_recomputed
    torch.testing.assert_close(gradients[0], gradients[1])


def test_counting_gives_the_counts_of_training() -> None:
    (net, criterion), pictures = build(), [picture(), picture(80, 64), picture()]
    targets = [*seeded(1, 2), target() | {"seed": torch.tensor(3)}]
    counts = net.train().count(pictures, targets, criterion)
    losses = net(pictures, targets, criterion).losses
    assert {k: int(n) for k, n in counts.items()} == {
        k: int(m.n_samples) for k, m in losses.items()
    }


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"person_score": "norm", "reid_features": "res4+res5", "stages": "two"},
        {"person_score": "memory", "reid_features": "res4+res5"},
        {"norm": "frozen"},
        {"norm": "sync"},
    ],
    ids=["OIM", "SeqNet", "HOIM", "frozen", "sync"],
)
@pytest.mark.parametrize("loss", ["oim", "boim"])
def test_every_mix_of_labels_trains(change: dict[str, Any], loss: str) -> None:
    net, criterion = build(replace(BINET, **change), name=loss)
    optimizer = torch.optim.SGD(net.train().parameters(), lr=1e-3)
    known, nobody = target((5, 5, 30, 60, 0)), target()
    unknown = target((10, 10, 40, 50, -1), (30, 5, 60, 60, -1))
    mixes = [[known, unknown], [nobody, nobody], [unknown, nobody], [known, known], []]
    for targets in mixes:
        out = net([picture() for _ in targets], targets, criterion)
        assert list(out.losses)[-3:] == [*OURS]
        values = torch.stack([loss.value for loss in out.losses.values()])
        assert values.isfinite().all()
        if targets:
            values.sum().backward()
        assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
        optimizer.step()
        optimizer.zero_grad()
        criterion.update(*out.people)
    assert [float(values[-3:].sum())] == [0]


# --- in tests


def test_tests_are_those_of_oim_base_with_the_same_weights(tmp_path: Path) -> None:
    net, _ = build()
    plain, _ = build_system(replace(CONFIG, system="oim_base"), LossConfig(queue_size=4), N_PERSONS)
    assert list(net.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(net.state_dict())
    image, boxes = picture(), PEOPLE["boxes"]
    (ours,), (theirs,) = net.eval().detect([image]), plain.eval().detect([image])
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert torch.equal(net.embed([image], [boxes])[0], plain.embed([image], [boxes])[0])
    save_weights(net, BINET, LossConfig(queue_size=4), 3, path := tmp_path / "weights")
    loaded, _ = load_weights(path)
    assert torch.equal(loaded.detect([image])[0]["embeddings"], ours["embeddings"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"patch_size": [192, 8]}, r"patch_size must be height and width in 16..1024.*\[192, 8\]"),
        ({"patch_size": [192]}, r"patch_size must be a list of int \(2\)"),
        ({"feature_weight": -1.0}, "feature_weight must be at least 0, got -1.0"),
        ({"instance_weight": float("nan")}, "instance_weight must be at least 0, got nan"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        system_of(ModelConfig(system="binet", options=options))


# --- the same step, however a batch is spread

BATCHES = ((0, 1, 2, 3), (4, 5, 0), (3,))


def recipe_of_parts(accumulate: int) -> Recipe:
    recipe = tiny_recipe(
        batch_size=4, warmup_epochs=0.0, lr=1e-5, max_grad_norm=0.1, accumulate=accumulate
    )
    model = replace(recipe.model, system="binet", options={"patch_size": [48, 32]}, norm="frozen")
    return replace(recipe, model=model, loss=replace(recipe.loss, temperature=0.2))


def learnt(
    recipe: Recipe, scenes: SceneSet, *, rank: int = 0, n: int = 1
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """Weights, memory and logged losses after these batches."""
    torch.manual_seed(1)
    net, criterion = build_system(recipe.model, recipe.loss, 2)
    learner = Learner(net, criterion, recipe, connect(recipe.train))
    dataset = TrainingScenes(scenes, Augmentation(flip=0.5), seed=1)
    logged = []
    shares = training_batches(dataset, BATCHES, epoch=0, workers=0, rank=rank, n_processes=n)
    for step, (images, targets) in enumerate(shares):
        pictures = [image.float() / 255 for image in images]
        logged.append(learner.take_step((pictures, targets), step, len(BATCHES)))
    state = {k: v.clone() for k, v in (net.state_dict() | criterion.state_dict()).items()}
    return state, logged


def on_rank(rank: int, n: int, recipe: Recipe, scenes: SceneSet) -> Any:
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test",
        "LOCAL_WORLD_SIZE": str(n),
        "WORLD_SIZE": str(n),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
    }
    return learnt(recipe, scenes, rank=rank, n=n)


def assert_same_steps(one: Any, other: Any) -> None:
    (state, logged), (expected, told) = one, other
    assert max(float((state[k].double() - expected[k].double()).abs().max()) for k in state) < 1e-5
    for name in OURS:
        values = pytest.approx([v[name] for v in told], rel=1e-3, abs=1e-7)
        assert [v[name] for v in logged] == values


@pytest.mark.long
def test_micro_batches_take_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path)
    whole = learnt(recipe_of_parts(1), scenes)
    assert_same_steps(learnt(recipe_of_parts(3), scenes), whole)
    assert all(whole[1][0][name] > 0 for name in OURS[:2])


@pytest.mark.slow
def test_processes_take_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path)
    whole = learnt(recipe_of_parts(1), scenes)
    for one in run_on_ranks(on_rank, 2, recipe_of_parts(1), scenes):
        assert_same_steps(one, whole)
