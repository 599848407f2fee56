"""HOIM: the memory of the re-ID loss scores the boxes.

Source: Chen et al., Hierarchical online instance matching for person search. The loss and its
memory are in :mod:`fdps.losses.hoim`; a network needs the memory to search, too.

Axes: R regions, C length of the sub-feature, D embedding dimension.
"""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from fdps.losses.hoim import HierarchicalMemory, hierarchical_detection_loss
from fdps.models.scores import PersonScore


class MemoryScore(PersonScore):
    """Score a region by the share of people in a softmax over everything that is remembered.

    Args:
        memory: Of the criterion, which writes it.
    """

    reads_embeddings = True

    def __init__(self, memory: HierarchicalMemory) -> None:
        super().__init__()
        self.memory = memory

    def forward(
        self, person: Float[Tensor, "R C"], rows: Float[Tensor, "R D"] | None
    ) -> Float[Tensor, "R 2"]:
        """Compare unit rows with the memory."""
        assert rows is not None
        return self.memory.logits(normalize(rows, dim=1))

    def loss(
        self, logits: Float[Tensor, "R 2"], is_person: Bool[Tensor, " R"]
    ) -> Float[Tensor, ""]:
        """Compare logits with the annotations: a focal loss, mean over the regions."""
        return hierarchical_detection_loss(logits, is_person)
