"""How sure a network is that a region shows a person: one module per way of scoring.

Every way ends in two logits per region, background and person, whose softmax is the score.

Axes: R regions, C length of the sub-feature, D embedding dimension.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear

from fdps.losses.detection import classification_loss
from fdps.models.norms import norm_rows


class PersonScore(nn.Module, ABC):
    """What all ways of scoring have in common; each writes its own :meth:`forward`.

    Attributes:
        reads_embeddings: Whether the score follows from the embedding of a region. Every region is
            embedded then, in training too, and not the people alone.
    """

    reads_embeddings: ClassVar[bool] = False

    def begin(self) -> None:
        """Set the weights that a training begins with; by default those of the layers stay."""

    @abstractmethod
    def forward(
        self, person: Float[Tensor, "R C"], rows: Float[Tensor, "R D"] | None
    ) -> Float[Tensor, "R 2"]:
        """Compute the logits of background and person, in float32.

        Args:
            person: The sub-feature that serves person/background.
            rows: Embeddings before they are brought to unit length, where the score reads them.
        """

    def loss(
        self, logits: Float[Tensor, "R 2"], is_person: Bool[Tensor, " R"]
    ) -> Float[Tensor, ""]:
        """Compare logits with the annotations: cross-entropy, mean over the regions."""
        return classification_loss(logits, is_person)


class SoftmaxScore(PersonScore):
    """Score a region by a linear layer on the sub-feature of person/background (FDPS, Figure 2).

    Args:
        channels: Length of that sub-feature.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layer = nn.Linear(channels, 2)
        self.weight, self.bias = layer.weight, layer.bias

    def begin(self) -> None:
        """Begin undecided."""
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)

    def forward(
        self, person: Float[Tensor, "R C"], rows: Float[Tensor, "R D"] | None
    ) -> Float[Tensor, "R 2"]:
        """Apply the layer."""
        return linear(person, self.weight, self.bias).float()


class NormScore(PersonScore):
    r"""Score a region by the length of its embedding.

    .. math:: \mathrm{logit}(x) = \mathrm{BatchNorm}(\lVert x \rVert_2)

    The logit of background is 0: the softmax of both is then the sigmoid of the logit, and the
    cross-entropy the binary one.

    Source: Chen et al., Norm-aware embedding for efficient person search (NAE), section 3.2.

    Args:
        channels: Not used; the sub-feature of person/background is not looked at.
    """

    reads_embeddings = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rescaler = nn.BatchNorm1d(1)

    def forward(
        self, person: Float[Tensor, "R C"], rows: Float[Tensor, "R D"] | None
    ) -> Float[Tensor, "R 2"]:
        """Measure the rows and rescale their lengths."""
        assert rows is not None
        lengths = norm_rows(torch.linalg.vector_norm(rows, dim=1, keepdim=True), self.rescaler)
        return torch.cat([torch.zeros_like(lengths), lengths], dim=1)
