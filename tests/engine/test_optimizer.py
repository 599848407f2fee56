from dataclasses import replace

import pytest
import torch
from torch import nn

from fake.runs import TINY
from fdps.config import LossConfig, TrainConfig
from fdps.engine.optimizer import (
    all_finite,
    build_optimizer,
    clip_gradients,
    learning_rate,
    reid_ramp,
    set_learning_rate,
)
from fdps.models import build_model

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
        (0, 0.0, 1.0),  # no ramp
    ],
)
def test_the_weight_of_reid_rises_in_a_line(step: int, epochs: float, expected: float) -> None:
    assert reid_ramp(step, replace(SCHEDULE, reid_warmup_epochs=epochs), 10) == expected


def test_the_learning_rate_reaches_the_optimizer() -> None:
    layer = nn.Linear(2, 1, bias=False)
    plain = TrainConfig(sgd_momentum=0.0, weight_decay=0.0)
    optimizer = build_optimizer({"heads": layer}, plain)
    before = layer.weight.detach().clone()
    set_learning_rate(optimizer, 0.5)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before - 0.5)


def test_the_trunk_learns_at_its_own_rate() -> None:
    parts = {"trunk": nn.Linear(1, 1), "heads": nn.Linear(1, 1)}
    optimizer = build_optimizer(parts, TrainConfig(trunk_lr_scale=0.1))
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.5])


def test_every_parameter_that_trains_is_optimised_and_clipped_once() -> None:
    net = build_model(replace(TINY, frozen_stages=2), LossConfig(), n_persons=2)
    parts = {"trunk": net.backbone, "rpn": net.rpn, "heads": net.roi_heads}
    groups = build_optimizer(parts, TrainConfig()).param_groups
    trained = [id(p) for p in net.parameters() if p.requires_grad]
    assert [id(p) for group in groups for p in group["params"]] == trained
    frozen = {id(p) for p in net.backbone.stages[:2].parameters()}
    assert frozen
    assert not frozen & set(trained)
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


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_loss_that_is_no_number_is_enough(bad: float) -> None:
    good = {"box": torch.tensor(1.0), "reid": torch.tensor(0.0)}
    assert all_finite(good)
    assert not all_finite(good | {"person": torch.tensor(bad)})


def test_reid_weight_rises_from_zero_to_one_over_its_warm_up() -> None:
    config = TrainConfig(reid_warmup_epochs=1.5)
    shares = [reid_ramp(step, config, steps_per_epoch=10) for step in (0, 3, 15, 100)]
    assert shares == [0.0, 0.2, 1.0, 1.0]


def test_without_a_warm_up_reid_counts_in_full_from_the_first_step() -> None:
    assert reid_ramp(0, TrainConfig(reid_warmup_epochs=0.0), steps_per_epoch=10) == 1.0
