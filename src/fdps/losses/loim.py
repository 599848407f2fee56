"""Localisation-aware OIM (LOIM): regions that fit their person well write more of the memory.

Source: Lee et al., OIMNet++: Prototypical normalization and localization-aware learning for person
search, ECCV 2022, and its public code.

Axes: N people in the batch, C embedding dimension.
"""

from jaxtyping import Float, Int
from torch import Tensor

from fdps.losses.oim import TEMPERATURE, OIMLoss

LEAST_OVERLAP = 0.7
"""A region that overlaps its person less counts as one that overlaps so much; as public code."""


def kept_shares(overlaps: Float[Tensor, " N"], least: float) -> Float[Tensor, " N"]:
    r"""Return the share of the old row that each region leaves.

    .. math:: m = 1 - \min\bigl(\max(\mathrm{IoU}, 0.7),\, 1 - \epsilon\bigr)

    Args:
        overlaps: Intersection over union of each region with its person, in [0, 1].
        least: :math:`\epsilon`, what even a perfect region leaves, in [0, 1).

    Returns:
        From ``least`` to 0.3; ``least`` throughout where it is more than that.
    """
    return (1 - overlaps.clamp(min=LEAST_OVERLAP)).clamp(min=least)


class LocalizedOIMLoss(OIMLoss):
    r"""OIM whose table moves the further, the better a region fits its person.

    .. math:: v_t \leftarrow \frac{m v_t + (1 - m) x}{\lVert m v_t + (1 - m) x \rVert}

    with :math:`m` of :func:`kept_shares`. What is minimised is that of OIM,
    :func:`~fdps.losses.oim.oim_loss`: regions count for more by what the table remembers of them.
    People without identity go into the queue, wherever their regions lie.

    Args:
        n_persons: Labelled identities of the training split (CUHK-SYSU 5532, PRW 483).
        queue_size: Slots for people without identity (CUHK-SYSU 5000, PRW 500).
        dim: Length of an embedding.
        temperature: Greater than 0.
        least_kept: How much of a row even a perfect region leaves at an update, in [0, 1).

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        n_persons: int,
        queue_size: int,
        dim: int,
        *,
        temperature: float = TEMPERATURE,
        least_kept: float = 0.1,
    ) -> None:
        super().__init__(n_persons, queue_size, dim, temperature=temperature, momentum=least_kept)

    def update(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        overlaps: Float[Tensor, " N"] | None = None,
    ) -> None:
        """Write a batch into the memory, each person by how well the region fits.

        Args:
            embeddings: Unit rows.
            person_ids: In 0..L-1, or ``UNLABELLED``.
            overlaps: Intersection over union of each region with its person, in [0, 1]; ``None``
                stands for regions that are the annotated boxes.
        """
        least = self.memory.table.momentum
        kept = None if overlaps is None else kept_shares(overlaps, least)
        self.memory.update(embeddings, person_ids, kept)
