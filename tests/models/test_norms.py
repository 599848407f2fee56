import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from fake.ranks import run_on_ranks
from fdps.models.norms import (
    RowSums,
    SyncedBatchNorm,
    freeze_norms,
    statistics_kept,
    sync_norms,
)

C = 3


def used_norm(kind: type[nn.Module] = nn.BatchNorm2d) -> nn.Module:
    """A norm that has learnt something; eps and momentum are not the usual ones."""
    norm = kind(C, eps=1e-2, momentum=0.3)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.copy_(torch.randn(C))
    norm.running_var.uniform_(0.5, 2)
    norm.num_batches_tracked.fill_(7)
    return norm


Forward = Callable[[nn.Module, Tensor], Tensor]


def plainly(net: nn.Module, x: Tensor) -> Tensor:
    return net(x)


def recomputed(net: nn.Module, x: Tensor) -> Tensor:
    """As a net runs whose activations are computed again in the backward pass."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), statistics_kept(net)

    return checkpoint(net, x, use_reentrant=False, context_fn=contexts)


def train_once(
    norm: nn.Module, x: Tensor, grad: Tensor, forward: Forward = plainly
) -> dict[str, Tensor]:
    """What one forward and backward give."""
    x = x.clone().requires_grad_()
    y = forward(norm, x)
    y.backward(grad)
    gradients = {"d x": x.grad, "d weight": norm.weight.grad, "d bias": norm.bias.grad}
    return {"y": y.detach(), **gradients, **dict(norm.named_buffers())}


def train_part(
    rank: int, n: int, norm: nn.Module, parts: list[Tensor], grads: list[Tensor], forward: Forward
) -> dict[str, Tensor]:
    return train_once(SyncedBatchNorm.from_batch_norm(norm), parts[rank], grads[rank], forward)


def train_parts(
    norm: nn.Module, x: Tensor, grad: Tensor, sizes: list[int], forward: Forward = plainly
) -> dict[str, Tensor]:
    """As `train_once`, by processes that have so many pictures each."""
    ranks = run_on_ranks(train_part, len(sizes), norm, x.split(sizes), grad.split(sizes), forward)
    for name, _ in norm.named_buffers():
        assert all(torch.equal(rank[name], ranks[0][name]) for rank in ranks), name
    whole = {name: torch.cat([rank[name] for rank in ranks]) for name in ("y", "d x")}
    # The engine sums gradients of parameters over processes.
    summed = {name: sum(rank[name] for rank in ranks) for name in ("d weight", "d bias")}
    return ranks[0] | whole | summed


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert got.keys() == expected.keys()
    for name, value in got.items():
        assert value.isfinite().all(), name
        assert_close(
            value.double(),
            expected[name].double(),
            atol=tolerance,
            rtol=tolerance,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.BatchNorm1d, ()), (nn.BatchNorm2d, (4, 3))], ids=["rows", "maps"]
)
class TestOneProcess:
    def test_training_is_that_of_torch(self, kind: type[nn.Module], shape: tuple[int, ...]) -> None:
        norm = used_norm(kind)
        x, grad = torch.randn(2, 5, C, *shape)
        expected = train_once(copy.deepcopy(norm), x, grad)
        assert_same(train_once(SyncedBatchNorm.from_batch_norm(norm), x, grad), expected, 1e-6)

    def test_evaluation_is_that_of_torch(
        self, kind: type[nn.Module], shape: tuple[int, ...]
    ) -> None:
        norm = used_norm(kind).eval()
        x, grad = torch.randn(2, 5, C, *shape)
        expected = train_once(copy.deepcopy(norm), x, grad)
        assert_same(train_once(SyncedBatchNorm.from_batch_norm(norm), x, grad), expected, 0)

    @pytest.mark.parametrize("n", [0, 1])
    def test_fewer_than_two_rows_are_normed_by_the_running_statistics(
        self, kind: type[nn.Module], shape: tuple[int, ...], n: int
    ) -> None:
        norm = used_norm(kind)
        x, grad = torch.randn(2, n, C, *(1 for _ in shape))
        expected = train_once(copy.deepcopy(norm).eval(), x, grad)
        assert_same(train_once(SyncedBatchNorm.from_batch_norm(norm), x, grad), expected, 0)


@pytest.mark.parametrize(
    ("shape", "sizes", "forward"),
    [
        ((), [5, 3], plainly),  # rows
        ((4, 3), [1, 2], plainly),  # maps
        ((4, 3), [0, 2], plainly),  # a process that has none
        ((), [1, 1], plainly),  # no process has a variance of its own
        ((), [1, 0, 1], plainly),  # three processes
        ((4, 3), [1, 2], recomputed),  # statistics are shared again, but move once
    ],
)
def test_several_processes_norm_as_one_that_has_the_whole_batch(
    shape: tuple[int, ...], sizes: list[int], forward: Forward
) -> None:
    norm = used_norm(nn.BatchNorm2d if shape else nn.BatchNorm1d).double()
    # Every picture has another mean: statistics of a part would be far off.
    shift = torch.arange(sum(sizes)).reshape(-1, *(1 for _ in (C, *shape)))
    x, grad = torch.randn(2, sum(sizes), C, *shape, dtype=torch.float64) + shift
    expected = train_once(copy.deepcopy(norm), x, grad)
    assert_same(train_parts(norm, x, grad, sizes, forward), expected, 1e-9)


@pytest.mark.parametrize("sizes", [[1, 0], [0, 0]])
def test_fewer_than_two_rows_in_all_are_normed_by_the_running_statistics(sizes: list[int]) -> None:
    norm = used_norm(nn.BatchNorm1d)
    x, grad = torch.randn(2, sum(sizes), C)
    expected = train_once(copy.deepcopy(norm).eval(), x, grad)
    got = train_parts(norm, x, grad, sizes)
    assert_same(got, expected, 1e-7)
    for name, buffer in norm.named_buffers():
        assert torch.equal(got[name], buffer), name


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_mean_of_a_thousand_deviations_costs_no_accuracy(layout: torch.memory_format) -> None:
    norm = used_norm()
    x = (torch.randn(4, C, 40, 60) + 1000).to(memory_format=layout)
    # Of a sum that is not zero, so that an inexact mean shows in the gradient as well.
    grad = torch.randn_like(x) + 1
    expected = train_once(copy.deepcopy(norm).double(), x.double(), grad.double())
    got = train_parts(norm, x, grad, [1, 3])
    for results in (got, expected):
        for name in ("d weight", "d bias"):
            results[name] /= x.numel() / C  # sums over the rows, to be compared per row
    assert_same(got, expected, 1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back_but_statistics_are_of_float32(dtype: torch.dtype) -> None:
    norm = used_norm()
    x, grad = torch.randn(2, 4, C, 8, 9).to(dtype)
    expected = train_once(copy.deepcopy(norm), x.float(), grad.float())
    got = train_parts(norm, x, grad, [1, 3])
    assert got["y"].dtype == got["d x"].dtype == dtype
    assert_same(got, expected, 2e-2)
    statistics = {"running_mean", "running_var"}
    precise = {name: got[name] for name in statistics}
    assert_same(precise, {name: expected[name] for name in statistics}, 1e-6)


def test_state_dicts_are_interchangeable_with_those_of_torch() -> None:
    norm = used_norm()
    synced = SyncedBatchNorm(C, eps=norm.eps)
    synced.load_state_dict(norm.state_dict())
    x = torch.randn(2, C, 4, 4)
    assert torch.equal(synced.eval()(x), norm.eval()(x))
    back = nn.BatchNorm2d(C, eps=norm.eps)
    back.load_state_dict(synced.state_dict())
    assert torch.equal(back.eval()(x), norm(x))


def test_a_new_one_is_a_new_one_of_torch() -> None:
    new, of_torch = SyncedBatchNorm(C), nn.BatchNorm2d(C)
    assert new.extra_repr() == "3, eps=1e-05, momentum=0.1"
    assert new.state_dict().keys() == of_torch.state_dict().keys()
    x, grad = torch.randn(2, 2, C, 4, 4)
    assert_same(train_once(new, x, grad), train_once(of_torch, x, grad), 0)


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(C, affine=False),
        nn.BatchNorm2d(C, track_running_stats=False),
        nn.BatchNorm2d(C, momentum=None),
    ],
    ids=["no weight", "no statistics", "no momentum"],
)
def test_a_norm_that_lacks_something_is_refused(norm: nn.BatchNorm2d) -> None:
    with pytest.raises(ValueError, match=r"BatchNorm2d\(3, .* must have weight, bias, running"):
        SyncedBatchNorm.from_batch_norm(norm)


def nested_net() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(C, C, 1), used_norm(), nn.ReLU())
    return nn.Sequential(block, nn.ModuleList([used_norm().eval()]), nn.Flatten(), used_norm())


def test_syncing_replaces_norms_alone_and_keeps_tensors_and_modes() -> None:
    net = nested_net()
    net[0][1].weight.requires_grad_(requires_grad=False)
    modules, tensors = dict(net.named_modules()), net.state_dict(keep_vars=True)
    sync_norms(net)
    synced = dict(net.named_modules())
    assert list(synced) == list(modules)
    for name, module in modules.items():
        if isinstance(module, nn.BatchNorm2d):
            assert isinstance(synced[name], SyncedBatchNorm)
            assert synced[name].training == module.training
        else:
            assert synced[name] is module
    for name, tensor in net.state_dict(keep_vars=True).items():
        assert tensor is tensors[name]
    assert not net[0][1].weight.requires_grad


def synced(net: nn.Module) -> nn.Module:
    sync_norms(net)
    return net


def as_it_is(net: nn.Module) -> nn.Module:
    return net


@pytest.mark.parametrize("change", [as_it_is, synced])
class TestStatisticsKept:
    def test_batch_statistics_norm_and_running_ones_stay(
        self, change: Callable[[nn.Module], nn.Module]
    ) -> None:
        net = change(nn.Sequential(nn.Sequential(used_norm()), nn.ReLU(), used_norm()))
        x = torch.randn(2, C, 4, 4)
        expected = copy.deepcopy(net)(x)
        before, tensors = copy.deepcopy(net.state_dict()), net.state_dict(keep_vars=True)
        with statistics_kept(net):
            assert torch.equal(net(x), expected)
            assert torch.equal(net(x), expected)
        for name, tensor in net.state_dict(keep_vars=True).items():
            assert tensor is tensors[name]
            assert torch.equal(tensor, before[name]), name
        net(x)
        assert net[2].num_batches_tracked == 8, "they move again"

    def test_they_stay_when_an_error_leaves_the_block(
        self, change: Callable[[nn.Module], nn.Module]
    ) -> None:
        net = change(nn.Sequential(used_norm()))
        before = copy.deepcopy(net.state_dict())
        right, wrong = torch.randn(2, C, 4, 4), torch.randn(2, C + 1, 4, 4)
        with pytest.raises(RuntimeError, match="4 elements not 3"), statistics_kept(net):
            [net(x) for x in (right, wrong)]
        assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)

    def test_a_pass_whose_activations_are_recomputed_moves_them_once(
        self, change: Callable[[nn.Module], nn.Module]
    ) -> None:
        net = change(nn.Sequential(nn.Conv2d(C, C, 3), used_norm(), nn.ReLU(), used_norm()))
        plain = copy.deepcopy(net)
        x = torch.randn(2, C, 6, 6)
        recomputed(net, x).square().sum().backward()
        plain(x).square().sum().backward()
        for name, parameter in plain.named_parameters():
            assert_close(net.get_parameter(name).grad, parameter.grad)
        for name, buffer in plain.named_buffers():
            assert torch.equal(net.get_buffer(name), buffer), name


@pytest.mark.parametrize("mean", [0, 1000])
@pytest.mark.parametrize("shape", [(), (3, 2)], ids=["rows", "maps"])
def test_sums_are_exact_far_from_zero_too(shape: tuple[int, ...], mean: float) -> None:
    rows = torch.randn(20, C, *shape) + mean
    sums, exact = RowSums.of(rows), rows.double().movedim(1, -1).flatten(0, -2)
    assert sums.count == len(exact)
    assert_close(sums.total, exact.sum(dim=0), rtol=1e-9, atol=1e-4)
    assert_close(sums.squares, exact.square().sum(dim=0), rtol=1e-9, atol=1e-4)
    got_mean, got_var = sums.moments()
    assert_close(got_mean, exact.mean(dim=0), rtol=1e-6, atol=1e-6)
    assert_close(got_var, exact.var(dim=0, correction=0), rtol=1e-6, atol=1e-6)


def test_no_rows_have_moments_of_zero() -> None:
    mean, var = RowSums.of(torch.zeros(0, C)).moments()
    assert mean.tolist() == var.tolist() == [0] * C


def test_equal_rows_have_no_variance_below_zero() -> None:
    # Of so many, some would fall below by the rounding of the sums.
    _, var = RowSums.of(torch.rand(1000).mul(1000).expand(999, -1)).moments()
    assert (var >= 0).all()
    assert_close(var, torch.zeros(1000, dtype=torch.float64), atol=1e-6, rtol=0)


def sums_of_part(rank: int, n: int, parts: list[Tensor]) -> RowSums:
    return RowSums.of(parts[rank]).over_processes()


def test_sums_over_processes_are_those_of_the_whole_on_each() -> None:
    rows = torch.randn(8, C)
    whole = RowSums.of(rows)
    for sums in run_on_ranks(sums_of_part, 2, rows.split([5, 3])):
        assert sums.count == 8
        assert_close(sums.total, whole.total, atol=1e-6, rtol=1e-6)
        assert_close(sums.squares, whole.squares, atol=1e-6, rtol=1e-6)
    assert whole.over_processes() is whole


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_frozen_norm_never_moves_and_never_looks_at_other_rows(n: int) -> None:
    net = nn.Sequential(used_norm(nn.BatchNorm1d)).eval()
    rows = torch.randn(n, C)
    expected, before = net(rows), copy.deepcopy(net.state_dict())
    freeze_norms(net)
    assert_close(net.train()(rows), expected)
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())
