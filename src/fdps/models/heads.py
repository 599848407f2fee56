"""The task heads: sub-features become box deltas, person logits and embeddings.

Axes: R regions, C channels, H rows, W columns, D embedding dimension.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm, normalize

from fdps.models.sub_features import SubFeatureModule


class HeadOutputs(NamedTuple):
    """What the heads say about R regions, N of which are embedded."""

    deltas: Float[Tensor, "R 4"]
    """``dx dy dw dh`` relative to the region, as :func:`fdps.boxes.encode` writes them."""
    logits: Float[Tensor, "R 2"]
    """Background and person, before the softmax."""
    embeddings: Float[Tensor, "N D"]
    """Unit rows of the regions that were to be embedded."""


class TaskHeads(nn.Module):
    """One linear layer per task on its own sub-feature (Figure 2).

    Boxes are regressed without regard to the class: there is one foreground class. The embedding
    is ``Linear (no bias) → BatchNorm → unit length``.

    Args:
        sub_features: How the tasks get their vectors; its ``dims`` size the layers.
        embedding_dim: Length of the embedding.
        box_norm: Put a batch norm on the four box outputs, which a box weight of 10 needs.
    """

    def __init__(
        self, sub_features: SubFeatureModule, embedding_dim: int, *, box_norm: bool
    ) -> None:
        super().__init__()
        self.sub_features = sub_features
        dims = sub_features.dims
        self.vertical = nn.Linear(dims.vertical, 2)
        self.horizontal = nn.Linear(dims.horizontal, 2)
        self.box_norm = nn.BatchNorm1d(4) if box_norm else nn.Identity()
        self.person = nn.Linear(dims.person, 2)
        self.embedding = nn.Linear(dims.reid, embedding_dim, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embedding_dim)
        for layer in (self.vertical, self.horizontal, self.person):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.embedding.weight, std=0.01)
        if isinstance(self.box_norm, nn.BatchNorm1d):
            # Targets have a deviation of a few tenths; a scale of 1 would start far outside.
            nn.init.normal_(self.box_norm.weight, std=0.01)

    def forward(
        self, features: Float[Tensor, "R C H W"], embedded: Bool[Tensor, " R"] | None = None
    ) -> HeadOutputs:
        """Predict boxes and classes of all regions and embed some, in float32.

        Args:
            features: Region maps.
            embedded: Which regions to embed, N of them; ``None`` embeds all. Training embeds the
                people alone: with background in its statistics, the batch norm would centre
                people against background and leave them all alike.
        """
        taken = self.sub_features(features)
        dy, dh = self.vertical(taken.vertical).float().unbind(1)
        dx, dw = self.horizontal(taken.horizontal).float().unbind(1)
        return HeadOutputs(
            deltas=self.box_norm(torch.stack([dx, dy, dw, dh], dim=1)),
            logits=self.person(taken.person).float(),
            embeddings=self._embedding(taken.reid if embedded is None else taken.reid[embedded]),
        )

    def embed(self, features: Float[Tensor, "R C H W"]) -> Float[Tensor, "R D"]:
        """Embed regions without looking at boxes and classes."""
        return self._embedding(self.sub_features(features).reid)

    def _embedding(self, reid: Float[Tensor, "N C"]) -> Float[Tensor, "N D"]:
        norm = self.embedding_norm
        projected = self.embedding(reid).float()
        # One person has no variance, none has no mean: then the running statistics must do.
        of_batch = self.training and len(projected) > 1
        normed = batch_norm(
            projected,
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
            training=of_batch,
            momentum=norm.momentum or 0.0,
            eps=norm.eps,
        )
        return normalize(normed, dim=1)
