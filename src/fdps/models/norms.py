"""Batch norms whose statistics are those of all processes, or stay as they are.

Axes: N regions or pictures, C channels, H rows, W columns. What a norm averages over, N or N·H·W
values of each channel, is called rows here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fdps.errors import ModelError
from fdps.models.prototype_norm import PrototypeNorm


@dataclass(frozen=True)
class RowSums:
    """What mean and variance of rows follow from; sums of parts add up to those of the whole.

    They are in float64, where the difference of two large sums keeps all digits that float32 rows
    can have.
    """

    count: Float64[Tensor, ""]
    total: Float64[Tensor, " C"]
    squares: Float64[Tensor, " C"]

    @classmethod
    def of(cls, rows: Float[Tensor, "N C *HW"]) -> "RowSums":
        """Sum up rows, of which there may be none; no gradient flows through the sums."""
        rows = rows.detach()
        axes = (0, *range(2, rows.ndim))
        n = rows.numel() // rows.shape[1]
        # Sums about a rough mean are small, so that float32 is enough for the pass over the rows.
        rough = rows.sum(axes, keepdim=True, dtype=torch.float32) / max(n, 1)
        centred = rows - rough
        shift, rest = rough.flatten().double(), centred.sum(axes).double()
        squares = centred.square_().sum(axes).double()
        return cls(
            count=torch.full((), n, dtype=torch.float64, device=rows.device),
            total=rest + n * shift,
            squares=squares + 2 * shift * rest + n * shift.square(),
        )

    def over_processes(self) -> "RowSums":
        """Sums of the rows of all processes, in one collective that all of them must join."""
        if _n_processes() == 1:
            return self
        sums = torch.cat([self.count[None], self.total, self.squares])
        distributed.all_reduce(sums)
        return RowSums(sums[0], *sums[1:].chunk(2))

    def moments(self) -> tuple[Float64[Tensor, " C"], Float64[Tensor, " C"]]:
        """Mean and biased variance; zeros if there are no rows."""
        n = self.count.clamp(min=1)
        mean = self.total / n
        return mean, (self.squares / n - mean.square()).clamp(min=0)


class SyncedBatchNorm(nn.Module):
    """Batch norm over the rows of all processes: what one process computes from the whole batch.

    Parameters and buffers have the names of ``nn.BatchNorm2d``, so state dicts are interchangeable.
    A process may have no rows. Fewer than two rows over all processes have no variance: then the
    running statistics normalise and stay as they are. In training, every process must run forward
    and backward of every norm, in the same order, or the others wait for it. The gradients of
    weight and bias are the share of this process, to be summed over processes as all others are.

    Args:
        num_features: C.
        eps: Added to the variance.
        momentum: Weight of a new batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    @classmethod
    def from_batch_norm(cls, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> "SyncedBatchNorm":
        """Take over the tensors themselves, so that optimisers and ties stay valid.

        Raises:
            ValueError: The norm lacks weight and bias, running statistics or a fixed momentum.
        """
        if not (norm.affine and norm.track_running_stats and norm.momentum is not None):
            raise ValueError(f"{norm} must have weight, bias, running statistics and a momentum")
        synced = cls(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        for name in synced.state_dict():
            setattr(synced, name, getattr(norm, name))
        return synced.train(norm.training)

    def forward(self, x: Float[Tensor, "N C *HW"]) -> Float[Tensor, "N C *HW"]:
        """Normalise, in float32 at least; the dtype of ``x`` comes back."""
        running, affine = (self.running_mean, self.running_var), (self.weight, self.bias)
        is_alone = _n_processes() == 1
        if not self.training or (is_alone and x.numel() < 2 * x.shape[1]):
            return batch_norm(x, *running, *affine, eps=self.eps)
        if is_alone:
            self.num_batches_tracked.add_(1)
            return batch_norm(
                x, *running, *affine, training=True, momentum=self.momentum, eps=self.eps
            )
        sums = RowSums.of(x).over_processes()
        # The count is never looked at, only computed with: looking would wait for the GPU.
        is_batch = sums.count >= 2
        mean, var = (
            torch.where(is_batch, batch.to(kept.dtype), kept)
            for batch, kept in zip(sums.moments(), running, strict=True)
        )
        _move_statistics(self, sums)
        share = is_batch / sums.count.clamp(min=1)
        normed: Tensor = _Normalise.apply(x, *affine, mean, var, share, self.eps)
        return normed

    def extra_repr(self) -> str:
        """Show what ``nn.BatchNorm2d`` shows."""
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"


class _Normalise(torch.autograd.Function):
    r"""Normalise by statistics that came from the rows of all processes, as the gradient knows.

    With :math:`\hat x` the normalised rows and :math:`g` the gradient of the output, the input gets

    .. math:: \frac{w}{\sigma} \Bigl(g - \frac1n \sum g - \frac{\hat x}{n} \sum g \hat x\Bigr)

    with sums over all processes, each of which holds the gradient of its own share of the loss.
    ``share`` is :math:`1 / n`, or 0 where the statistics do not depend on the rows.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        share: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var, share)
        ctx.eps = eps
        return batch_norm(x, mean, var, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, share = ctx.saved_tensors
        inverse = torch.rsqrt(var + ctx.eps)
        if x.numel():
            # As of a norm with fixed statistics: the first term, the two sums over our own rows.
            direct, along_x, along_one = torch.ops.aten.native_batch_norm_backward(
                grad, x, weight, mean, var, mean, inverse, False, ctx.eps, [True, True, True]
            )
        else:  # which would divide by zero
            direct, along_x, along_one = (torch.zeros_like(like) for like in (x, weight, weight))
        sums = torch.stack([along_x, along_one])
        distributed.all_reduce(sums)
        slope, offset = -sums * share * weight * inverse
        rest = batch_norm(x, mean, var, slope, offset, eps=ctx.eps)
        return direct.add_(rest), along_x, along_one, None, None, None, None


def norm_rows(
    rows: Float[Tensor, "N D *L"], norm: nn.Module, person_ids: Int[Tensor, " N"] | None = None
) -> Float[Tensor, "N D *L"]:
    """Apply a batch norm to however many rows there are.

    One row has no variance, none has no mean: then the running statistics must do.

    Args:
        rows: One per region, or one per position of each region.
        norm: A ``BatchNorm1d``, a :class:`SyncedBatchNorm` or a :class:`PrototypeNorm`.
        person_ids: Whom each row shows, which only the last looks at.
    """
    if isinstance(norm, PrototypeNorm):
        return norm(rows, person_ids)  # type: ignore[no-any-return]
    if isinstance(norm, SyncedBatchNorm):
        return norm(rows)  # type: ignore[no-any-return]
    assert isinstance(norm, nn.BatchNorm1d)
    if norm.training and rows.numel() < 2 * rows.shape[1]:
        return batch_norm(
            rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
    normed: Tensor = norm(rows)
    return normed


class FixedBatchNorm1d(nn.BatchNorm1d):
    """A batch norm that always uses its running statistics and never moves them.

    Weight and bias are trained. What comes out of a row depends on no other row, so that a batch
    may come in parts and still teach the same.
    """

    def train(self, mode: bool = True) -> "FixedBatchNorm1d":
        """Stay in evaluation mode, whatever is asked for."""
        return super().train(False)


def freeze_norms(module: nn.Module) -> None:
    """Fix the statistics of every batch norm of rows below a module, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d):
            fixed = FixedBatchNorm1d(child.num_features, child.eps, child.momentum)
            for own in child.state_dict():
                setattr(fixed, own, getattr(child, own))
            setattr(module, name, fixed.eval())
        elif isinstance(child, PrototypeNorm):
            child.is_fixed = True
        else:
            freeze_norms(child)


def fold_norms(module: nn.Module) -> None:
    """Fold every batch norm of maps into the convolution before it, its statistics as they are.

    An activation that such a norm holds (``act``, as norms of timm do) stays in its place.

    Raises:
        ModelError: A norm does not follow a convolution of as many channels.
    """
    previous = ""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            previous = _last_of(module, previous)
            conv = module.get_submodule(previous) if previous else None
            if not isinstance(conv, nn.Conv2d) or conv.out_channels != child.num_features:
                raise ModelError(
                    f"norm = 'frozen' folds a batch norm into the convolution before it, but batch "
                    f"norm {name} of {type(module).__name__} follows {previous or 'nothing'}",
                    hint="use norm = 'train' or 'sync' with this backbone",
                )
            module.set_submodule(previous, fuse_conv_bn_eval(conv.eval(), child.eval()).train())
            setattr(module, name, getattr(child, "act", nn.Identity()))
        else:
            fold_norms(child)
        previous = name


def _last_of(module: nn.Module, name: str) -> str:
    """Name of a module below another, or of the last one in it if it is a sequence."""
    while name and isinstance(inner := module.get_submodule(name), nn.Sequential) and len(inner):
        name = f"{name}.{len(inner) - 1}"
    return name


def sync_norms(module: nn.Module) -> None:
    """Replace every batch norm below a module, in place; parameters and buffers stay the same."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, SyncedBatchNorm.from_batch_norm(child))
        else:
            sync_norms(child)


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Leave the running statistics of all batch norms in and below a module as they are.

    For a forward pass that is not one of training, such as the one in which
    ``torch.utils.checkpoint`` computes activations again. The norms move copies meanwhile: were
    they told to track nothing, they would save other tensors than in the first pass, which
    ``checkpoint`` refuses.
    """
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | SyncedBatchNorm | PrototypeNorm
    norms = [norm for norm in module.modules() if isinstance(norm, kinds)]
    kept = [(norm, dict(norm.named_buffers(recurse=False))) for norm in norms]
    try:
        for norm, buffers in kept:
            for name, buffer in buffers.items():
                setattr(norm, name, buffer.clone())
        yield
    finally:
        for norm, buffers in kept:
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)


@contextmanager
def statistics_used(module: nn.Module) -> Iterator[None]:
    """Let all batch norms in and below a module normalise by their running statistics, as in tests.

    For what passes a network in training beside the pictures, and is distributed differently. What
    comes out of a row depends on no other row, and no process waits for another.
    """
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | SyncedBatchNorm | PrototypeNorm
    norms = [norm for norm in module.modules() if isinstance(norm, kinds) and norm.training]
    try:
        for norm in norms:
            norm.training = False
        yield
    finally:
        for norm in norms:
            norm.training = True


def _move_statistics(norm: SyncedBatchNorm, sums: RowSums) -> None:
    """Move the running statistics of a norm as a training forward of all rows would.

    Fewer than two rows change nothing.
    """
    is_batch = sums.count >= 2
    mean, var = sums.moments()
    unbiased = var * (sums.count / (sums.count - 1).clamp(min=1))
    for running, batch in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        running.lerp_(torch.where(is_batch, batch.to(running.dtype), running), norm.momentum)
    norm.num_batches_tracked.add_(is_batch)


def _n_processes() -> int:
    is_grouped = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if is_grouped else 1
