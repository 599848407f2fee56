"""From the peaks of region maps to a unit embedding.

Axes: N regions, C channels, D embedding dimension.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdps.models.norms import norm_rows


class PeakEmbedding(nn.Module):
    """``Linear (no bias) → BatchNorm`` per peak, side by side, scaled to unit length.

    Args:
        channels: Channels of each peak: one (res5), or two (res4 and res5, as in NAE), which then
            get half of the embedding each.
        dim: Length of the embedding.
        is_small: Begin with norms of small weights, so that rows begin short: what NAE does, whose
            score is their length.
    """

    def __init__(self, channels: tuple[int, ...], dim: int, *, is_small: bool = False) -> None:
        super().__init__()
        self.dim = dim
        share = dim // len(channels)
        self.projections = nn.ModuleList(nn.Linear(c, share, bias=False) for c in channels)
        self.norms = nn.ModuleList(nn.BatchNorm1d(share) for _ in channels)
        for projection in self.projections:
            nn.init.normal_(projection.weight, std=0.01)  # type: ignore[arg-type]
        for norm in self.norms if is_small else ():
            nn.init.normal_(norm.weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, peaks: list[Float[Tensor, "N _"]]) -> Float[Tensor, "N D"]:
        """Embed regions, in float32; unit rows.

        Args:
            peaks: As many as there are ``channels``.
        """
        return normalize(self.project(peaks), dim=1)

    def project(self, peaks: list[Float[Tensor, "N _"]]) -> Float[Tensor, "N D"]:
        """Embed regions without bringing the rows to unit length."""
        parts = [
            norm_rows(projection(peak).float(), norm)
            for peak, projection, norm in zip(peaks, self.projections, self.norms, strict=True)
        ]
        return torch.cat(parts, dim=1)
