"""From the peaks of region maps to a unit embedding.

Axes: N regions, C channels, D embedding dimension.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm, normalize

from fdps.models.norms import SyncedBatchNorm


class PeakEmbedding(nn.Module):
    """``Linear (no bias) → BatchNorm`` per peak, side by side, scaled to unit length.

    Args:
        channels: Channels of each peak: one (res5), or two (res4 and res5, as in NAE), which then
            get half of the embedding each.
        dim: Length of the embedding.
        running_norm: Norm by running statistics while training too; see :func:`norm_rows`.
    """

    def __init__(self, channels: tuple[int, ...], dim: int, *, running_norm: bool = False) -> None:
        super().__init__()
        self.dim, self.running_norm = dim, running_norm
        share = dim // len(channels)
        self.projections = nn.ModuleList(nn.Linear(c, share, bias=False) for c in channels)
        self.norms = nn.ModuleList(nn.BatchNorm1d(share) for _ in channels)
        for projection in self.projections:
            nn.init.normal_(projection.weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, peaks: list[Float[Tensor, "N _"]]) -> Float[Tensor, "N D"]:
        """Embed regions, in float32.

        Args:
            peaks: As many as there are ``channels``.
        """
        return self.norm(self.project(peaks))

    def project(self, peaks: list[Float[Tensor, "N _"]]) -> list[Float[Tensor, "N _"]]:
        """The first half of ``forward``: what goes into each norm."""
        return [
            projection(peak).float()
            for projection, peak in zip(self.projections, peaks, strict=True)
        ]

    def norm(self, projected: list[Float[Tensor, "N _"]]) -> Float[Tensor, "N D"]:
        """The second half of ``forward``."""
        parts = [
            norm_rows(rows, norm, running=self.running_norm)
            for rows, norm in zip(projected, self.norms, strict=True)
        ]
        return normalize(torch.cat(parts, dim=1), dim=1)


def norm_rows(
    rows: Float[Tensor, "N D"], norm: nn.Module, *, running: bool = False
) -> Float[Tensor, "N D"]:
    """Apply a batch norm to however many rows there are.

    One row has no variance, none has no mean: then the running statistics must do.

    Args:
        rows: One per region.
        norm: A ``BatchNorm1d``, or a :class:`~fdps.models.norms.SyncedBatchNorm`.
        running: Use the running statistics while training too and leave them as they are: what
            comes out of a row then depends on no other row, so that a batch may come in parts.
            :func:`~fdps.models.norms.move_statistics` moves them, once per step.
    """
    if isinstance(norm, SyncedBatchNorm):
        return norm(rows)  # type: ignore[no-any-return]
    assert isinstance(norm, nn.BatchNorm1d)
    if norm.training and (running or len(rows) < 2):
        return batch_norm(
            rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
    normed: Tensor = norm(rows)
    return normed
