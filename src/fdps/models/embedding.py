"""From the peaks of region maps to a unit embedding.

Axes: N regions, C channels, D embedding dimension.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdps.models.norms import norm_rows
from fdps.models.prototype_norm import PrototypeNorm


class PeakEmbedding(nn.Module):
    """``Linear (no bias) → norm`` per peak, side by side, scaled to unit length.

    Args:
        channels: Channels of each peak: one (res5), or two (res4 and res5, as in NAE), which then
            get half of the embedding each.
        dim: Length of the embedding.
        is_small: Begin with norms of small weights, so that rows begin short: what NAE does, whose
            score is their length.
        norm: Builds a norm from the number of its features; small ones have a ``weight``.
        sees_background: Whether regions that show nobody count in the statistics of a batch norm.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        dim: int,
        *,
        is_small: bool = False,
        norm: Callable[[int], nn.Module] = nn.BatchNorm1d,
        sees_background: bool = False,
    ) -> None:
        super().__init__()
        self.dim, self.sees_background = dim, sees_background
        share = dim // len(channels)
        self.projections = nn.ModuleList(nn.Linear(c, share, bias=False) for c in channels)
        self.norms = nn.ModuleList(norm(share) for _ in channels)
        for projection in self.projections:
            nn.init.normal_(projection.weight, std=0.01)  # type: ignore[arg-type]
        for built in self.norms if is_small else ():
            nn.init.normal_(built.weight, std=0.01)  # type: ignore[arg-type]

    @property
    def needs_background(self) -> bool:
        """Whether the norm counts on regions that show nobody; they are one more prototype."""
        return self.sees_background or any(isinstance(n, PrototypeNorm) for n in self.norms)

    def forward(
        self, peaks: list[Float[Tensor, "N _"]], person_ids: Int[Tensor, " N"] | None = None
    ) -> Float[Tensor, "N D"]:
        """Embed regions, in float32; unit rows.

        Args:
            peaks: As many as there are ``channels``.
            person_ids: Whom each region shows, as far as it is known.
        """
        return normalize(self.project(peaks, person_ids), dim=1)

    def project(
        self, peaks: list[Float[Tensor, "N _"]], person_ids: Int[Tensor, " N"] | None = None
    ) -> Float[Tensor, "N D"]:
        """Embed regions without bringing the rows to unit length."""
        parts = [
            norm_rows(projection(peak).float(), norm, person_ids)
            for peak, projection, norm in zip(peaks, self.projections, self.norms, strict=True)
        ]
        return torch.cat(parts, dim=1)
