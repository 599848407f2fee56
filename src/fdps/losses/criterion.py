"""What every re-identification loss with a memory has in common.

Axes: N people in the batch, C embedding dimension.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from fdps.losses.distillation import Distillation
from fdps.losses.memory import similarity
from fdps.structures import UNLABELLED


@runtime_checkable
class Terms(Protocol):
    """A loss by its terms: a named tuple of scalars, whose names a log takes over."""

    @property
    def loss(self) -> Float[Tensor, ""]:
        """The value to minimise."""

    def _asdict(self) -> dict[str, Any]: ...


class Criterion(nn.Module, ABC):
    """A re-identification loss with its memory.

    ``terms`` compares a batch with what is remembered and changes nothing; ``update`` remembers the
    batch, once per step. A loss of your own writes both, and keeps its memory in buffers, so that
    a checkpoint holds it.

    Attributes:
        sees_background: Whether the loss is given the regions that show nobody as well, with
            ``BACKGROUND_ID`` as their identity.
        memory: What is remembered; its ``table`` has one row per identity.
        temperature: Divisor of similarities.
        teacher: What is learnt beside the identities, or without any; with its own memory. ``None``
            where a recipe has no teacher.
    """

    sees_background: ClassVar[bool] = False
    memory: Any
    temperature: float
    teacher: Distillation | None

    def __init__(self) -> None:
        super().__init__()
        self.teacher = None

    def forward(
        self, embeddings: Float[Tensor, "N C"], person_ids: Int[Tensor, " N"]
    ) -> Float[Tensor, ""]:
        """Return the loss."""
        return self.terms(embeddings, person_ids).loss

    def n_samples(self, person_ids: Int[Tensor, " P"]) -> Int64[Tensor, ""]:
        """Count what the loss is a mean over: the labelled people."""
        return (person_ids != UNLABELLED).sum()

    def logits(self, embeddings: Float[Tensor, "N C"]) -> Float[Tensor, "N M"]:
        """Compare with all people remembered, in float32 or better; their softmax names a person.

        A loss whose memory is more than a table and a queue overrides this.

        Args:
            embeddings: Unit rows.
        """
        rows = torch.cat([self.memory.table.rows, self.memory.queue.rows])
        return similarity(embeddings, rows) / self.temperature

    @abstractmethod
    def terms(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        overlaps: Float[Tensor, " N"] | None = None,
    ) -> Terms:
        """Return the loss by its terms.

        Args:
            embeddings: Unit rows.
            person_ids: In 0..L-1, ``UNLABELLED`` or, if background is seen, ``BACKGROUND_ID``.
            overlaps: Intersection over union of each region with its person, in [0, 1]. Most losses
                do not look at it; ``None`` stands for regions that are the annotated boxes.
        """

    @abstractmethod
    def update(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        overlaps: Float[Tensor, " N"] | None = None,
    ) -> None:
        """Write a batch into the memory; the arguments are those of :meth:`terms`."""
