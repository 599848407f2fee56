"""The task heads: sub-features become box deltas, person logits and embeddings.

Axes: R regions, N of them embedded, B channels of P rows and Q columns before the region head, C
channels of H rows and W columns after it, D embedding dimension.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fdps.models.embedding import PeakEmbedding, norm_rows
from fdps.models.sub_features import SubFeatureModule


class HeadOutputs(NamedTuple):
    """What the heads say about R regions, N of which are embedded."""

    deltas: Float[Tensor, "R 4"]
    """``dx dy dw dh`` of the region, as :func:`fdps.models.box_coder.encode` writes them."""
    logits: Float[Tensor, "R 2"]
    """Background and person, before the softmax."""
    embeddings: Float[Tensor, "N D"]
    """Unit rows of the regions that were to be embedded."""


class TaskHeads(nn.Module):
    """One linear layer per task on its own sub-feature (Figure 2).

    Boxes are regressed without regard to the class: there is one foreground class.

    Args:
        sub_features: How the tasks get their vectors; its ``dims`` size the layers.
        embedding: Re-ID vectors to unit embeddings. If it takes two, the second is the re-ID
            vector and the first the peak of the aligned region before the region head (res4).
        box_norm: Put a batch norm on the four box outputs, which a box weight of 10 needs.
    """

    def __init__(
        self, sub_features: SubFeatureModule, embedding: PeakEmbedding, *, box_norm: bool
    ) -> None:
        super().__init__()
        self.sub_features, self.embedding = sub_features, embedding
        dims = sub_features.dims
        self.vertical = nn.Linear(dims.vertical, 2)
        self.horizontal = nn.Linear(dims.horizontal, 2)
        self.box_norm = nn.BatchNorm1d(4) if box_norm else None
        self.person = nn.Linear(dims.person, 2)
        for layer in (self.vertical, self.horizontal, self.person):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        if self.box_norm is not None:
            # Targets have a deviation of a few tenths; a scale of 1 would start far outside.
            nn.init.normal_(self.box_norm.weight, std=0.01)

    def forward(
        self,
        aligned: Float[Tensor, "R B P Q"],
        features: Float[Tensor, "R C H W"],
        embedded: Bool[Tensor, " R"] | None = None,
    ) -> HeadOutputs:
        """Predict boxes and classes of all regions and embed some, in float32.

        Args:
            aligned: Region maps before the region head.
            features: Region maps after it.
            embedded: Which regions to embed, N of them; ``None`` embeds all. Training embeds the
                people alone: with background in its statistics, the batch norm would centre
                people against background and leave them all alike.
        """
        taken = self.sub_features(features)
        dy, dh = self.vertical(taken.vertical).float().unbind(1)
        dx, dw = self.horizontal(taken.horizontal).float().unbind(1)
        deltas = torch.stack([dx, dy, dw, dh], dim=1)
        chosen = slice(None) if embedded is None else embedded
        if self.box_norm is not None:
            deltas = norm_rows(deltas, self.box_norm)
        return HeadOutputs(
            deltas=deltas,
            logits=self.person(taken.person).float(),
            embeddings=self.embedding(self._peaks(aligned[chosen], taken.reid[chosen])),
        )

    def embed(
        self, aligned: Float[Tensor, "R B P Q"], features: Float[Tensor, "R C H W"]
    ) -> Float[Tensor, "R D"]:
        """Embed regions without looking at boxes and classes."""
        embedded: Tensor = self.embedding(self._peaks(aligned, self.sub_features(features).reid))
        return embedded

    def _peaks(
        self, aligned: Float[Tensor, "N B P Q"], reid: Float[Tensor, "N C"]
    ) -> list[Float[Tensor, "N _"]]:
        both = len(self.embedding.projections) == 2
        return [aligned.amax(dim=(2, 3)), reid] if both else [reid]
