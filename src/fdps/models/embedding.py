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
    """

    def __init__(self, channels: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.dim = dim
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
        parts = [
            norm_rows(projection(peak).float(), norm)
            for peak, projection, norm in zip(peaks, self.projections, self.norms, strict=True)
        ]
        return normalize(torch.cat(parts, dim=1), dim=1)


def norm_rows(rows: Float[Tensor, "N D"], norm: nn.Module) -> Float[Tensor, "N D"]:
    """Apply a batch norm to however many rows there are.

    One row has no variance, none has no mean: then the running statistics must do.

    Args:
        rows: One per region.
        norm: A ``BatchNorm1d``, or a :class:`~fdps.models.norms.SyncedBatchNorm`.
    """
    if isinstance(norm, SyncedBatchNorm):
        return norm(rows)  # type: ignore[no-any-return]
    assert isinstance(norm, nn.BatchNorm1d)
    if norm.training and len(rows) < 2:
        return batch_norm(
            rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
    normed: Tensor = norm(rows)
    return normed
