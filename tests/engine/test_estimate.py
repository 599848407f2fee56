import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fake.runs import TINY, tiny_recipe
from fake.tiny import picture, target
from fdps.config import LossConfig, Recipe, load_recipe, to_toml
from fdps.engine import trial
from fdps.engine.estimate import Estimate, estimate, step_seconds
from fdps.engine.footprint import (
    GIB,
    OVERHEAD,
    PROGRAM_GIB,
    Memory,
    Weights,
    maps_of,
    memory_of,
    micro_batch,
    padded_size,
)
from fdps.engine.processes import connect
from fdps.engine.trial import Kept, KeptTensors, Line, Seconds, kept_bytes
from fdps.errors import ResourceError, UsageError
from fdps.models import PersonSearchNet, build_model

WEIGHTS = Weights(parameters=1000, trained=600, remembered=50)
KEPT = Kept(
    stages=(Line(10.0, 3.0), Line(0.0, 2.0)),
    inputs=(Line(0.0, 0.5), Line(0.0, 0.25)),
    proposals=Line(0.0, 1.0),
    regions=Line(5.0, 7.0),
)
SIZE = (96, 64)
"""Width and height of pictures that :data:`TINY` leaves as they are."""
PX = 96 * 64


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "REPEATED_S", 0.0)


def memory(recipe: Recipe, *, device: str = "cpu", n_scenes: int = 10) -> Memory:
    return memory_of(recipe, WEIGHTS, KEPT, picture_size=SIZE, n_scenes=n_scenes, device=device)


def tiny_estimate(
    available_gib: float | None = None, n_scenes: int | None = 6, **train: object
) -> Estimate:
    return estimate(
        tiny_recipe(**train),
        n_scenes=n_scenes,
        n_persons=2,
        picture_size=SIZE,
        available_gib=available_gib,
    )


def network(norm: str = "train") -> PersonSearchNet:
    model = replace(TINY, norm=norm)
    return build_model(model, LossConfig(name="boim", queue_size=8), 2).train()


# What autograd keeps


def kept_of(module: nn.Module, run: Callable[[], object]) -> int:
    kept = KeptTensors(module)
    with kept:
        run()
    return kept.n_bytes


def test_a_convolution_keeps_its_input() -> None:
    conv, x = nn.Conv2d(3, 8, 3, padding=1), torch.rand(2, 3, 16, 20)
    assert kept_of(conv, lambda: conv(x)) == 2 * 3 * 16 * 20 * 4


def test_a_tensor_that_two_operations_keep_counts_once() -> None:
    conv, x = nn.Conv2d(3, 8, 1), torch.rand(1, 3, 4, 4)
    # relu and square keep the same map
    assert kept_of(conv, lambda: conv(x).relu_().square()) == (3 + 8) * 16 * 4


def test_without_gradients_nothing_is_kept() -> None:
    conv, x = nn.Conv2d(3, 8, 1), torch.rand(1, 3, 4, 4)
    assert kept_of(conv, lambda: conv(x).detach()) > 0
    assert kept_of(conv, torch.no_grad()(lambda: conv(x))) == 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("norm", ["train", "frozen"])
def test_small_passes_tell_what_a_large_one_keeps(norm: str, precision: str) -> None:
    """The straight line against the whole network on three larger pictures."""
    recipe = tiny_recipe(batch_size=3, precision=precision)
    recipe = replace(recipe, model=replace(TINY, norm=norm, short_side=(128,), long_side=160))
    net = build_model(recipe.model, recipe.loss, 2).train()
    autocast = connect(recipe.train).autocast
    expected = maps_of(recipe, kept_bytes(net, autocast), (160, 128), recomputed=False)

    images = [picture(128, 160) for _ in range(3)]
    targets = [target((10, 10, 60, 100, 0), (80, 20, 130, 110, 1)) for _ in images]
    kept = KeptTensors(net)
    with kept, autocast():
        net(images, targets)
    assert expected == pytest.approx(kept.n_bytes, rel=0.02)


def test_frozen_stages_keep_nothing() -> None:
    for frozen, n_trained in ((0, 4), (2, 2), (4, 0)):
        model = replace(TINY, frozen_stages=frozen)
        net = build_model(model, LossConfig(queue_size=8), 2).train()
        kept = kept_bytes(net, connect(tiny_recipe().train).autocast)
        assert len(kept.stages) == len(kept.inputs) == n_trained


# Lines


@pytest.mark.parametrize(
    ("measured", "line"),
    [
        ([(4, 6.0)], Line(0, 1.5)),  # one size: nothing is known to be fixed
        ([(10, 7.0), (20, 12.0)], Line(2, 0.5)),
        ([(1, 99.0), (10, 7.0), (20, 12.0)], Line(2, 0.5)),  # the last two count
        ([(10, 5.0), (20, 5.0)], Line(5, 0)),  # the same time whatever the size
        ([(10, 6.0), (20, 5.0)], Line(5, 0)),  # noise
        ([(10, 1.0), (20, 5.0)], Line(0, 0.25)),  # faster than proportional: noise, too
    ],
)
def test_a_line_goes_through_what_was_measured(
    measured: list[tuple[int, float]], line: Line
) -> None:
    assert Line.through(*measured) == line


# Memory


def test_memory_computed_by_hand() -> None:
    recipe = tiny_recipe()  # two pictures, 16 regions each
    maps = (10 + 3 * 2 * PX) + 2 * 2 * PX + 2 * PX + (5 + 7 * 32)
    pictures = 2 * PX * 3 * (1 + 4) + 2 * PX * 3 * 4
    assert memory(recipe) == Memory(
        program_gib=PROGRAM_GIB["cpu"],
        parameters_gib=1000 / GIB,
        gradients_gib=600 / GIB,
        optimizer_gib=600 / GIB,
        average_gib=0.0,
        reid_gib=50 / GIB,
        pictures_gib=pictures / GIB,
        maps_gib=maps / GIB,
        overhead_gib=(OVERHEAD * (maps + pictures) + 1000 + 600 + 50) / GIB,
    )


def test_the_total_is_the_sum() -> None:
    found = memory(tiny_recipe())
    assert found.total_gib == pytest.approx(sum(asdict(found).values()))


@pytest.mark.parametrize(
    ("train", "kind", "n_bytes"),
    [
        ({}, "optimizer_gib", 600),
        ({"optimizer": "adamw"}, "optimizer_gib", 1200),
        ({"sgd_momentum": 0.0}, "optimizer_gib", 0),
        ({"ema": 0.99}, "average_gib", 1000),
        ({}, "average_gib", 0),
        # 10 decoded pictures of 18432 bytes, beside the two of the step
        ({"decoded_gib": 1.0}, "pictures_gib", 2 * PX * 27 + 10 * PX * 3),
        ({"decoded_gib": 1e-5}, "pictures_gib", 2 * PX * 27),  # they do not fit
    ],
)
def test_every_choice_has_its_share(train: dict[str, object], kind: str, n_bytes: int) -> None:
    assert getattr(memory(tiny_recipe(**train)), kind) == n_bytes / GIB


def test_a_gpu_holds_no_decoded_pictures_and_writes_no_checkpoint() -> None:
    found = memory(tiny_recipe(decoded_gib=1.0), device="cuda")
    assert found.pictures_gib == 2 * PX * 27 / GIB
    assert found.overhead_gib == pytest.approx(OVERHEAD * (found.maps_gib + found.pictures_gib))


def test_more_pictures_at_once_take_more() -> None:
    totals = [memory(tiny_recipe(batch_size=n)).total_gib for n in range(1, 6)]
    assert totals == sorted(set(totals))


def test_micro_batches_take_the_maps_of_the_largest_of_them() -> None:
    recipes = [tiny_recipe(batch_size=5, accumulate=n) for n in (1, 2, 3, 5)]
    assert [micro_batch(recipe) for recipe in recipes] == [5, 3, 2, 1]
    maps = [memory(recipe).maps_gib for recipe in recipes]
    assert maps == sorted(set(maps), reverse=True)
    assert maps[3] == memory(tiny_recipe(batch_size=1)).maps_gib


def test_a_trunk_computed_again_keeps_inputs_and_one_stage_at_a_time() -> None:
    recipe = tiny_recipe()
    n_px = 2 * PX
    inputs, largest = 0.75 * n_px, 10 + 3 * n_px
    after = n_px + 5 + 7 * 32
    assert largest > after
    assert maps_of(recipe, KEPT, SIZE, recomputed=True) == inputs + largest
    many = replace(recipe, model=replace(recipe.model, regions_per_image=10_000))
    many = replace(many, model=replace(many.model, rpn_after_nms=(10_000, 10)))
    after = n_px + 5 + 7 * 2 * 10_000
    assert maps_of(many, KEPT, SIZE, recomputed=True) == inputs + after


def test_recomputation_lowers_the_maps() -> None:
    kept, again = (memory(tiny_recipe(recompute_trunk=on)) for on in (False, True))
    assert again.maps_gib < kept.maps_gib
    assert again.total_gib < kept.total_gib


def test_no_more_regions_than_proposals() -> None:
    recipe = tiny_recipe()
    few = replace(recipe, model=replace(recipe.model, rpn_after_nms=(4, 4)))
    difference = (memory(recipe).maps_gib - memory(few).maps_gib) * GIB
    assert difference == pytest.approx(7 * 2 * (16 - 4))


def test_weights_of_a_network() -> None:
    net = network()
    weights = Weights.of(net)
    # Two identities and eight slots of 16 numbers; queue position, dispersion and its counter.
    assert 10 * 16 * 4 < weights.remembered < 10 * 16 * 4 + 200
    assert weights.trained == 4 * sum(p.numel() for p in net.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in net.backbone.stages[0].parameters())
    assert weights.trained == 4 * (sum(p.numel() for p in net.parameters()) - frozen)


@pytest.mark.parametrize(
    ("train", "checkpoint", "disk"),
    [
        ({}, 1650, 3 * 1650 + 1050),  # two that are kept, one that is written, the weights
        ({"keep_last": 5}, 1650, 6 * 1650 + 1050),
        ({"optimizer": "adamw", "ema": 0.9}, 3250, 3 * 3250 + 1050),
    ],
)
def test_disk_computed_by_hand(train: dict[str, object], checkpoint: int, disk: int) -> None:
    recipe = tiny_recipe(**train)
    assert WEIGHTS.checkpoint(recipe) == checkpoint
    assert WEIGHTS.disk(recipe) == disk


@pytest.mark.parametrize(
    ("size", "model"),
    [
        ((96, 72), {}),
        ((72, 96), {}),  # upright
        ((1920, 1080), {"short_side": (64, 128), "long_side": 160}),  # the larger of two sides
        ((500, 20), {}),  # the long side is the limit
    ],
)
def test_pictures_come_out_as_in_training(size: tuple[int, int], model: dict[str, object]) -> None:
    recipe = replace(tiny_recipe(), model=replace(TINY, **model))
    largest = replace(recipe.model, short_side=(max(recipe.model.short_side),))
    net = build_model(largest, LossConfig(queue_size=8), 2).train()
    batch, _ = net.transform([picture(size[1], size[0])], [{"boxes": torch.zeros(0, 4)}])
    assert padded_size(recipe, size) == tuple(batch.tensors.shape[-2:])


# Time


def test_a_step_computed_by_hand() -> None:
    seconds = Seconds(
        trunk=Line(0.1, 1e-4),
        proposals=Line(0.2, 2e-4),
        backward=Line(0.3, 3e-4),
        regions=Line(0.4, 0.01),
        update=0.5,
        cpu_share=1.0,
    )
    whole = step_seconds(tiny_recipe(batch_size=4), seconds, 100)
    by_size = 4 * (100 * 6e-4 + 16 * 0.01)
    assert whole == pytest.approx(0.1 + 0.2 + 0.3 + 0.4 + by_size + 0.5)
    # Two micro-batches: everything fixed twice, and one more pass through trunk and proposals.
    halves = step_seconds(tiny_recipe(batch_size=4, accumulate=2), seconds, 100)
    more = 2 * 0.3 + 4 * 100 * 3e-4
    assert halves == pytest.approx(2 * 1.0 + more + by_size + 0.5)


# The whole


@pytest.fixture
def tiny() -> Estimate:
    return tiny_estimate(available_gib=100.0)


def test_an_estimate_says_what_the_training_does(tiny: Estimate) -> None:
    assert (tiny.device, tiny.height, tiny.width, tiny.micro_batch) == ("cpu", 64, 96, 2)
    assert tiny.steps_per_epoch == 3
    assert tiny.epoch_s == pytest.approx(3 * tiny.step_s)
    assert tiny.run_s == pytest.approx(6 * tiny.step_s)
    assert 0 < tiny.step_s < math.inf
    assert 0 < tiny.cpu_share <= 1
    assert tiny.n_parameters == {
        "trunk": sum(p.numel() for p in network().backbone.parameters()),
        "rpn": sum(p.numel() for p in network().rpn.parameters()),
        "heads": sum(p.numel() for p in network().roi_heads.parameters()),
    }
    assert tiny.total_gib == tiny.memory.total_gib
    assert (tiny.fits, tiny.is_close, tiny.changes) == (True, False, ())


def test_the_last_batch_of_an_epoch_is_a_step() -> None:
    assert tiny_estimate(n_scenes=7).steps_per_epoch == 4


def test_without_scenes_there_is_no_epoch() -> None:
    found = tiny_estimate(n_scenes=None)
    assert (found.steps_per_epoch, found.epoch_s, found.run_s) == (None, None, None)
    assert found.step_s > 0


def test_memory_that_nobody_knows_suffices() -> None:
    found = tiny_estimate(available_gib=None)
    assert (found.fits, found.is_close, found.changes) == (True, False, ())


def test_what_fits_by_little_is_close(tiny: Estimate) -> None:
    found = tiny_estimate(available_gib=tiny.total_gib * 1.1)
    assert (found.fits, found.is_close, found.changes) == (True, True, ())


def test_what_to_change_begins_with_what_costs_least(tiny: Estimate) -> None:
    found = tiny_estimate(available_gib=0.1)
    assert not found.fits
    last = [change.settings[-1] for change in found.changes]
    assert last == [
        "train.accumulate=2",
        "train.precision=bf16-mixed",
        "train.recompute_trunk=true",
        "model.long_side=48",
    ]
    totals = [tiny.total_gib, *(change.total_gib for change in found.changes)]
    assert totals == sorted(set(totals), reverse=True)
    assert not found.changes[-1].fits
    # Each brings those before it along.
    assert found.changes[1].settings[0] == "train.accumulate=2"


def test_changes_end_with_the_first_that_suffices(tiny: Estimate) -> None:
    (first, *_) = tiny_estimate(available_gib=0.1).changes
    between = (tiny.total_gib + first.total_gib) / 2
    found = tiny_estimate(available_gib=between)
    assert [change.fits for change in found.changes] == [True]


def test_a_change_leads_to_the_recipe_that_it_promises(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(to_toml(tiny_recipe()))
    last = tiny_estimate(available_gib=0.1).changes[-1]
    changed = estimate(
        load_recipe(path, last.settings),
        n_scenes=6,
        n_persons=2,
        picture_size=SIZE,
        available_gib=None,
    )
    assert changed.total_gib == pytest.approx(last.total_gib, rel=1e-4)


def test_random_numbers_go_on_as_if_nobody_had_asked() -> None:
    def draw(ask: Callable[[], object]) -> Tensor:
        torch.manual_seed(3)
        ask()
        return torch.rand(4)

    assert torch.equal(draw(tiny_estimate), draw(lambda: None))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"n_scenes": 0}, "n_scenes must be at least 1, got 0"),
        ({"n_persons": -1}, "n_persons must be at least 1, got -1"),
        ({"picture_size": (100, 0)}, "picture_size must be at least 1, got 0"),
    ],
)
def test_numbers_below_one_are_refused(numbers: dict[str, object], words: str) -> None:
    asked: dict[str, object] = {"n_scenes": 6, "n_persons": 2, "picture_size": SIZE}
    with pytest.raises(UsageError, match=words):
        estimate(tiny_recipe(), available_gib=None, **(asked | numbers))  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ResourceError, match="torch sees no GPU"):
        tiny_estimate(device="cuda")
