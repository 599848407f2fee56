"""The task heads: sub-features become box deltas, person logits and embeddings.

Axes: R regions, N of them embedded, B channels of P rows and Q columns before the region head, C
channels of H rows and W columns after it, D embedding dimension.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdps.models.embedding import PeakEmbedding
from fdps.models.norms import norm_rows
from fdps.models.scores import PersonScore, SoftmaxScore
from fdps.models.sub_features import SubFeatureModule, SubFeatures


class HeadOutputs(NamedTuple):
    """What the heads say about R regions, N of which are embedded."""

    deltas: Float[Tensor, "R 4"]
    """``dx dy dw dh`` of the region, as :func:`fdps.models.box_coder.encode` writes them."""
    logits: Float[Tensor, "R 2 *HW"]
    """Background and person, before the softmax; NAE+ says it of every position of the map."""
    embeddings: Float[Tensor, "N D"]
    """Unit rows of the regions that were to be embedded; those of NAE+ are shorter in training."""


class BoxHeads(nn.Module):
    """Find people in regions: deltas and logits from sub-features (Figure 2), no embedding.

    Boxes are regressed without regard to the class: there is one foreground class.

    Args:
        sub_features: How the tasks get their vectors; its ``dims`` size the layers.
        score: Builds the module that scores regions, from the length of its sub-feature.
        box_norm: Put a batch norm on the four box outputs, which a box weight of 10 needs.
        embedding: Of heads that embed as well (:class:`TaskHeads`).
    """

    def __init__(
        self,
        sub_features: SubFeatureModule,
        score: Callable[[int], PersonScore] = SoftmaxScore,
        *,
        box_norm: bool,
        embedding: PeakEmbedding | None = None,
    ) -> None:
        super().__init__()
        self.sub_features = sub_features
        if embedding is not None:  # here: the order of parameters decides over the last bits
            self.embedding = embedding
        dims = sub_features.dims
        self.vertical = nn.Linear(dims.vertical, 2)
        self.horizontal = nn.Linear(dims.horizontal, 2)
        self.box_norm = nn.BatchNorm1d(4) if box_norm else None
        self.person = score(dims.person)
        for layer in (self.vertical, self.horizontal):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.person.begin()
        if self.box_norm is not None:
            # Targets have a deviation of a few tenths; a scale of 1 would start far outside.
            nn.init.normal_(self.box_norm.weight, std=0.01)

    def deltas(self, taken: SubFeatures) -> Float[Tensor, "R 4"]:
        """Predict where the boxes lie, in float32."""
        dy, dh = self.vertical(taken.vertical).float().unbind(1)
        dx, dw = self.horizontal(taken.horizontal).float().unbind(1)
        deltas = torch.stack([dx, dy, dw, dh], dim=1)
        return deltas if self.box_norm is None else norm_rows(deltas, self.box_norm)


class TaskHeads(BoxHeads):
    """:class:`BoxHeads` that also embed.

    Args:
        sub_features: How the tasks get their vectors; its ``dims`` size the layers.
        embedding: Re-ID vectors to unit embeddings. If it takes two, the second is the re-ID
            vector and the first the peak of the aligned region before the region head (res4).
        score: Builds the module that scores regions, from the length of its sub-feature.
        box_norm: Put a batch norm on the four box outputs, which a box weight of 10 needs.
    """

    def __init__(
        self,
        sub_features: SubFeatureModule,
        embedding: PeakEmbedding,
        score: Callable[[int], PersonScore] = SoftmaxScore,
        *,
        box_norm: bool,
    ) -> None:
        super().__init__(sub_features, score, box_norm=box_norm, embedding=embedding)

    def forward(
        self,
        aligned: Float[Tensor, "R B P Q"],
        features: Float[Tensor, "R C H W"],
        embedded: Bool[Tensor, " R"] | None = None,
        person_ids: Int[Tensor, " R"] | None = None,
    ) -> HeadOutputs:
        """Predict boxes and classes of all regions and embed some, in float32.

        Args:
            aligned: Region maps before the region head.
            features: Region maps after it.
            embedded: Which regions to embed, N of them; ``None`` embeds all. Training embeds the
                people alone: with background in its statistics, the batch norm would centre
                people against background and leave them all alike. Only a score that reads the
                embedding (NAE, HOIM), a norm that gives every identity the same weight
                (OIMNet++) and a norm over all regions have all of them embedded in any case.
            person_ids: Whom each region shows; background has an identity of its own.
        """
        taken = self.sub_features(features)
        deltas = self.deltas(taken)
        rows = None
        if self.person.reads_embeddings or self.embedding.needs_background:
            rows = self.embedding.project(self._peaks(aligned, taken.reid), person_ids)
        logits = self.person(taken.person, rows)
        chosen = slice(None) if embedded is None else embedded
        if rows is None:
            embeddings = self.embedding(self._peaks(aligned[chosen], taken.reid[chosen]))
        else:
            embeddings = normalize(rows[chosen], dim=1)
        return HeadOutputs(deltas, logits, embeddings)

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
