from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from fake.tiny import picture, target, tiny_criterion, tiny_network
from fdps.engine.ema import WeightAverage


def layer(*weights: float) -> nn.Linear:
    made = nn.Linear(len(weights), 1, bias=False)
    set_weights(made, *weights)
    return made


@torch.no_grad()
def set_weights(made: nn.Linear, *weights: float) -> None:
    made.weight.copy_(torch.tensor([weights]))


def bits(state: dict[str, Tensor]) -> dict[str, bytes]:
    return {name: value.contiguous().numpy().tobytes() for name, value in state.items()}


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Not even by the sign of a zero."""
    before = bits(module.state_dict())
    yield
    assert bits(module.state_dict()) == before


def test_value_by_hand() -> None:
    net = layer(1.0, 4.0)
    average = WeightAverage(net, 0.999)
    set_weights(net, 2.0, 4.0)
    average.update(net, 0)  # keeps 1/10
    torch.testing.assert_close(average.mean["weight"], torch.tensor([[1.9, 4.0]]))
    set_weights(net, 0.8, -7.0)
    average.update(net, 1)  # keeps 2/11
    expected = torch.tensor([[1.9 * 2 / 11 + 0.8 * 9 / 11, 4 * 2 / 11 - 7 * 9 / 11]])
    torch.testing.assert_close(average.mean["weight"], expected)


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (0, 1 / 10),  # the random start is soon forgotten
        (8, 9 / 18),
        (80, 81 / 90),
        (81, 0.9),  # 82/91 would be more than the decay
        (10_000, 0.9),
    ],
)
def test_the_decay_warms_up(step: int, kept: float) -> None:
    net = layer(1.0)
    average = WeightAverage(net, 0.9)
    set_weights(net, 0.0)
    average.update(net, step)
    assert average.mean["weight"].item() == pytest.approx(kept, rel=1e-6)


def test_limit_without_decay_the_mean_is_the_newest() -> None:
    net = layer(1.0, 1e-30)
    average = WeightAverage(net, 0.0)
    set_weights(net, 1 / 3, 1e30)
    average.update(net, 5)
    assert torch.equal(average.mean["weight"], net.weight)


def test_limit_weights_that_stay_are_their_own_mean() -> None:
    net = layer(1 / 3, -0.1)
    average = WeightAverage(net, 0.99)
    for step in range(200):
        average.update(net, step)
    assert torch.equal(average.mean["weight"], net.weight)


def test_norm_statistics_are_averaged_counters_are_not() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = WeightAverage(net, 0.9)
    assert list(average.mean) == [
        *("0.weight", "0.bias"),
        *("1.weight", "1.bias", "1.running_mean", "1.running_var"),
    ]
    net(torch.randn(4, 2) + 5)
    average.update(net, 0)
    torch.testing.assert_close(average.mean["1.running_mean"], 0.9 * net[1].running_mean)


def test_a_mean_is_no_view_of_the_weights() -> None:
    net = layer(1.0)
    average = WeightAverage(net, 0.9)
    set_weights(net, 5.0)
    assert average.mean["weight"].item() == 1
    assert not average.mean["weight"].requires_grad


def test_applied_uses_the_mean_and_gives_the_weights_back() -> None:
    net = layer(1.0, 2.0)
    average = WeightAverage(net, 0.9)
    set_weights(net, -0.0, torch.nan)
    weight = net.weight
    with unchanged(net), average.applied(net):
        assert net(torch.tensor([[1.0, 10.0]])).item() == 21
        set_weights(net, 7.0, 7.0)  # what happens to them inside is lost
    assert net.weight is weight  # an optimiser holds it
    assert weight.requires_grad
    assert average.mean["weight"].tolist() == [[1, 2]]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_applied_gives_the_weights_back_after_an_error(error: type[BaseException]) -> None:
    net = layer(1.0)
    average = WeightAverage(net, 0.9)
    set_weights(net, 1 / 3)
    with unchanged(net), pytest.raises(error), average.applied(net):
        raise error


def test_a_whole_network_detects_by_its_mean_and_trains_on_by_its_weights() -> None:
    net, image = tiny_network(), picture()
    (before,) = net.detect([image])
    average = WeightAverage(net, 0.9)
    targets = [target((5, 5, 30, 60, 0)), target()]
    net.train()([picture(), picture()], targets, tiny_criterion())  # moves statistics
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    net.eval()
    with unchanged(net), average.applied(net):
        (found,) = net.detect([image])
    assert all(torch.equal(found[name], before[name]) for name in before)
    (own,) = net.detect([image])
    assert not torch.equal(own["scores"][:1], before["scores"][:1])


def test_a_mean_that_was_saved_comes_back() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average, other = (WeightAverage(net, 0.9) for _ in range(2))
    net(torch.randn(4, 2))
    average.update(net, 3)
    saved = {name: value.clone() for name, value in average.mean.items()}
    other.load(saved | {"unknown": torch.zeros(1)})
    assert bits(other.mean) == bits(average.mean)
    other.update(net, 4)
    assert bits(saved) == bits(average.mean)  # what was loaded is no view of it


def test_raises_a_mean_that_lacks_a_name() -> None:
    average = WeightAverage(nn.Linear(2, 3), 0.9)
    before = bits(average.mean)
    with pytest.raises(KeyError, match="bias"):
        average.load({"weight": torch.zeros(3, 2)})
    assert bits(average.mean) == before


@pytest.mark.parametrize("shape", [(3, 3), (1, 2), (3, 1), ()])
def test_raises_a_mean_of_another_shape(shape: tuple[int, ...]) -> None:
    average = WeightAverage(nn.Linear(2, 3), 0.9)
    before = bits(average.mean)
    with pytest.raises(RuntimeError, match=r"weight is \[3, 2\] here, \[.*\] there"):
        average.load({"weight": torch.zeros(shape), "bias": torch.zeros(3)})
    assert bits(average.mean) == before
