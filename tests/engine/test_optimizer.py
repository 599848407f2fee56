import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from fake.runs import TINY
from fdps.config import TrainConfig
from fdps.engine.optimizer import (
    build_optimizer,
    clip_gradients,
    learning_rate,
    parts_of,
    reid_ramp,
    set_learning_rate,
)
from fdps.models import PersonSearchNet, build_model

SCHEDULE = TrainConfig(lr=0.01, warmup_epochs=2.0, milestones=(3.0, 4.5), decay=0.1)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.01 * 0.001),  # the first step of the warm-up
        (10, 0.01 * 0.5005),  # half way: 0.001 + 0.999 / 2
        (19, 0.01 * (0.001 + 0.999 * 19 / 20)),  # its last step
        (20, 0.01),  # two epochs of ten steps are over
        (29, 0.01),  # the last step before the first milestone
        (30, 0.001),
        (44, 0.001),
        (45, 0.0001),  # a milestone in the middle of an epoch
    ],
)
def test_learning_rate_at_points_of_the_schedule(step: int, expected: float) -> None:
    assert learning_rate(step, SCHEDULE, 10) == pytest.approx(expected, rel=1e-12)


def test_without_warm_up_the_first_step_is_a_whole_one() -> None:
    assert learning_rate(0, replace(SCHEDULE, warmup_epochs=0.0), 10) == 0.01


def test_a_warm_up_below_one_step_is_none() -> None:
    assert learning_rate(1, replace(SCHEDULE, warmup_epochs=0.05), 10) == 0.01


def test_a_milestone_within_the_warm_up_counts() -> None:
    config = replace(SCHEDULE, milestones=(1.0,))
    assert learning_rate(10, config, 10) == pytest.approx(0.001 * 0.5005)


@pytest.mark.parametrize(
    ("step", "epochs", "expected"),
    [
        (0, 2.0, 0.0),  # at first people meet an empty table
        (5, 2.0, 0.25),
        (20, 2.0, 1.0),
        (99, 2.0, 1.0),
        (3, 1.5, 0.2),  # an epoch and a half
        (0, 0.0, 1.0),  # no ramp
    ],
)
def test_the_weight_of_reid_rises_in_a_line(step: int, epochs: float, expected: float) -> None:
    assert reid_ramp(step, replace(SCHEDULE, reid_warmup_epochs=epochs), 10) == expected


COSINE = replace(SCHEDULE, schedule="cosine", epochs=6)
"""Two epochs up and four down, of ten steps each; milestones do not count."""


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.01 * 0.001),
        (10, 0.01 * 0.5005),  # the warm-up is that of the other schedule
        (20, 0.01),  # the top
        (30, 0.01 * (2 + math.sqrt(2)) / 4),  # a quarter of the way down: (1 + cos 45°) / 2
        (40, 0.005),  # half way
        (50, 0.01 * (2 - math.sqrt(2)) / 4),
        (59, 0.01 * (1 - math.cos(math.pi / 40)) / 2),  # the last step is not wasted
        (60, 0.0),  # would be the next
    ],
)
def test_learning_rate_along_half_a_cosine(step: int, expected: float) -> None:
    assert learning_rate(step, COSINE, 10) == pytest.approx(expected, rel=1e-12, abs=1e-18)


def test_a_cosine_never_rises_after_the_warm_up() -> None:
    rates = [learning_rate(step, COSINE, 10) for step in range(60)]
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_a_cosine_without_warm_up_starts_at_the_top() -> None:
    config = replace(COSINE, warmup_epochs=0.0)
    assert [learning_rate(step, config, 10) for step in (0, 30)] == pytest.approx([0.01, 0.005])


def test_a_cosine_that_is_all_warm_up_only_rises() -> None:
    config = replace(COSINE, warmup_epochs=6.0)
    rates = [learning_rate(step, config, 10) for step in range(60)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.01 * (0.001 + 0.999 * 59 / 60))


@pytest.fixture(scope="module")
def net() -> PersonSearchNet:
    return build_model(replace(TINY, frozen_stages=2))


def set_gradients(net: PersonSearchNet, value: float) -> None:
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, value) if parameter.requires_grad else None


def steps(net: PersonSearchNet, gradients: list[float], **train: Any) -> dict[str, torch.Tensor]:
    """The parameters, all of them 2 at first, after steps at the rate 0.5 with given gradients."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(2)
    optimizer = build_optimizer(net, TrainConfig(**train))
    set_learning_rate(optimizer, 0.5)
    for gradient in gradients:
        set_gradients(net, gradient)
        optimizer.step()
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def values_of(parameters: dict[str, torch.Tensor], beginning: str) -> list[float]:
    """The smallest and the largest value, if they differ, of parameters whose names begin so."""
    some = [p.flatten() for name, p in parameters.items() if name.startswith(beginning)]
    return sorted({value.item() for value in torch.cat(some).aminmax()})


def test_sgd_by_hand(net: PersonSearchNet) -> None:
    after = steps(net, [1.0, 1.0], sgd_momentum=0.5, weight_decay=0.25)
    # First: velocity 1 + 0.25 · 2 = 1.5, weight 2 - 0.75 = 1.25.
    # Second: velocity 0.75 + 1 + 0.25 · 1.25 = 2.0625, weight 1.25 - 1.03125.
    for learning in ("backbone.stages.2.", "rpn.", "roi_heads."):
        assert values_of(after, learning) == [0.21875]
    assert values_of(after, "backbone.stages.1.") == [2]  # frozen


def test_adamw_by_hand(net: PersonSearchNet) -> None:
    betas = (0.5, 0.75)
    after = steps(net, [4.0, 1.0], optimizer="adamw", adam_betas=betas, weight_decay=0.125)
    # The decay is no part of the moments: it takes 0.5 · 0.125 = 1/16 of the weight, each time.
    # First: both moments, freed of their bias, are those of the gradient: 2 · 15/16 - 0.5.
    first = 2 * 15 / 16 - 0.5
    # Second: means (0.5 · 2 + 0.5) / 0.75 and (0.75 · 4 + 0.25) / (1 - 0.5625).
    mean, square = 1.5 / 0.75, 3.25 / 0.4375
    expected = first * 15 / 16 - 0.5 * mean / math.sqrt(square)
    for learning in ("backbone.stages.2.", "rpn.", "roi_heads."):
        assert values_of(after, learning) == pytest.approx([expected], rel=1e-6)
    assert values_of(after, "backbone.stages.1.") == [2]


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_trunk_stages_learn_at_their_own_rates(kind: str) -> None:
    net = build_model(replace(TINY, frozen_stages=1))
    config = TrainConfig(optimizer=kind, trunk_lr_scale=0.4, layer_decay=0.5)
    optimizer = build_optimizer(net, config)
    set_learning_rate(optimizer, 0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}

    def rate(module: nn.Module) -> list[float]:
        return sorted({rates[id(p)] for p in module.parameters()})

    stages = [rate(stage) for stage in net.backbone.stages[1:]]
    assert stages == [pytest.approx([r]) for r in (0.01, 0.02, 0.04)]
    assert rate(net.rpn) == rate(net.roi_heads) == [0.1]
    assert not {id(p) for p in net.backbone.stages[0].parameters()} & rates.keys()


def test_the_rate_of_a_step_replaces_the_one_before(net: PersonSearchNet) -> None:
    optimizer = build_optimizer(net, TrainConfig(trunk_lr_scale=0.5))
    for lr in (0.1, 0.2):
        set_learning_rate(optimizer, lr)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1, 0.2}


def test_a_trunk_that_is_frozen_as_a_whole_has_no_group() -> None:
    net = build_model(replace(TINY, frozen_stages=9))
    assert len(build_optimizer(net, TrainConfig()).param_groups) == 2


def test_every_parameter_that_trains_is_optimised_and_clipped_once(net: PersonSearchNet) -> None:
    trained = [id(p) for p in net.parameters() if p.requires_grad]
    for kind in ("sgd", "adamw"):
        groups = build_optimizer(net, TrainConfig(optimizer=kind)).param_groups
        assert [id(p) for group in groups for p in group["params"]] == trained
    frozen = {id(p) for p in net.backbone.stages[:2].parameters()}
    assert frozen
    assert not frozen & set(trained)
    parts = parts_of(net)
    assert list(parts) == ["trunk", "rpn", "heads"]
    in_parts = [id(p) for part in parts.values() for p in part.parameters()]
    assert sorted(in_parts) == sorted(id(p) for p in net.parameters())


def two_layers() -> dict[str, nn.Module]:
    """Gradients (3, 4) and (0, 5, 12): lengths 5 and 13, together sqrt(194)."""
    layers = {"a": nn.Linear(2, 1, bias=False), "b": nn.Linear(3, 1, bias=False)}
    layers["a"].weight.grad = torch.tensor([[3.0, 4.0]])
    layers["b"].weight.grad = torch.tensor([[0.0, 5.0, 12.0]])
    return layers


def test_parts_are_clipped_each_by_its_own_length() -> None:
    layers = two_layers()
    norms = clip_gradients(layers, 6.5, whole=False)
    assert norms == pytest.approx({"a": 5.0, "b": 13.0})
    torch.testing.assert_close(layers["a"].weight.grad, torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(layers["b"].weight.grad, torch.tensor([[0.0, 2.5, 6.0]]))


def test_the_whole_is_clipped_by_the_common_length() -> None:
    layers = two_layers()
    norms = clip_gradients(layers, 6.5, whole=True)
    assert norms == pytest.approx({"all": 194**0.5})
    scale = 6.5 / 194**0.5
    torch.testing.assert_close(layers["a"].weight.grad, scale * torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(layers["b"].weight.grad, scale * torch.tensor([[0.0, 5.0, 12.0]]))


def test_a_part_without_gradient_has_length_zero() -> None:
    layers = two_layers()
    layers["b"].weight.grad = None
    assert clip_gradients(layers, 6.5, whole=False) == pytest.approx({"a": 5.0, "b": 0.0})


def test_nothing_without_any_gradient_has_a_length() -> None:
    assert clip_gradients({"a": nn.Linear(2, 1)}, 6.5, whole=True) == {"all": 0.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("whole", [True, False])
def test_a_gradient_that_is_no_number_shows_in_the_length(bad: float, whole: bool) -> None:
    layers = two_layers()
    layers["b"].weight.grad[0, 1] = bad
    norms = clip_gradients(layers, 6.5, whole=whole)
    assert not math.isfinite(norms["all" if whole else "b"])
