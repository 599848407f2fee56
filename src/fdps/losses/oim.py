"""Online instance matching (OIM): classify a person among everybody remembered.

Source: Xiao et al., Joint detection and identification feature learning for person search, in the
notation of FDPS, Eqs. 6 and 7.

Axes: N people in the batch, C embedding dimension, L identities, Q queue slots.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from fdps.losses.criterion import Criterion
from fdps.losses.memory import PersonMemory, check_person_ids, similarity
from fdps.losses.watched import watched_similarities
from fdps.structures import UNLABELLED

TEMPERATURE = 1 / 30


def oim_loss(
    embeddings: Float[Tensor, "N C"],
    person_ids: Int[Tensor, " N"],
    lut: Float[Tensor, "L C"],
    queue: Float[Tensor, "Q C"],
    *,
    temperature: float = TEMPERATURE,
) -> Float[Tensor, ""]:
    r"""Cross-entropy of each labelled person against the table and the queue.

    .. math::
        p_t = \frac{\exp(v_t^\top x / \tau)}
        {\sum_{j=1}^{L} \exp(v_j^\top x / \tau) + \sum_{k=1}^{Q} \exp(u_k^\top x / \tau)},
        \qquad L_\mathrm{OIM} = -\log p_t

    Source: FDPS, Eqs. 6 and 7 (the numerator of Eq. 6 lost its :math:`x` in print). The mean is
    over labelled people; the paper does not say over whom. Rows and slots that were never written
    are zero and stay in the denominator with :math:`\exp(0)`, as in the public code of the field.

    Args:
        embeddings: Unit rows.
        person_ids: In 0..L-1, or ``UNLABELLED``: such people do not count here.
        lut: One row per identity.
        queue: People without identity; may have no slots.
        temperature: Greater than 0.

    Returns:
        At least 0; 0 with a zero gradient when nobody is labelled.

    Raises:
        ValueError: An id is outside its range.

    Example:
        >>> x = torch.tensor([[1.0, 0.0]])
        >>> lut, queue = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.zeros(1, 2)
        >>> oim_loss(x, torch.tensor([0]), lut, queue, temperature=1.0).item()  # ln(1 + 2/e)
        0.5514446496963501
    """
    check_person_ids(person_ids, len(lut))
    labelled = person_ids != UNLABELLED
    x, t = embeddings[labelled], person_ids[labelled].long()
    logits = torch.cat([similarity(x, lut), similarity(x, queue)], dim=1) / temperature
    return cross_entropy(logits, t, reduction="sum") / max(len(t), 1)


class OIMTerms(NamedTuple):
    """The OIM loss by its terms; ``_asdict()`` names them for a log.

    Args:
        oim: Eq. 7.
        positive_similarity: See :func:`~fdps.losses.watched.watched_similarities`.
        negative_similarity: Likewise, of the nearest other identity.
    """

    oim: Float[Tensor, ""]
    positive_similarity: Float[Tensor, ""]
    negative_similarity: Float[Tensor, ""]

    @property
    def loss(self) -> Float[Tensor, ""]:
        """The value to minimise."""
        return self.oim


class OIMLoss(Criterion):
    """:func:`oim_loss` with its memory.

    ``forward`` and ``terms`` change nothing; ``update`` writes the memory, before or after the
    backward pass, once per step.

    Args:
        n_persons: Labelled identities of the training split (CUHK-SYSU 5532, PRW 483).
        queue_size: Slots for people without identity (CUHK-SYSU 5000, PRW 500).
        dim: Length of an embedding.
        temperature: Greater than 0.
        momentum: How much of a row stays at an update, in [0, 1).

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
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be greater than 0, got {temperature}")
        self.temperature = temperature
        self.memory = PersonMemory(n_persons, queue_size, dim, momentum=momentum)

    def terms(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        overlaps: Float[Tensor, " N"] | None = None,
    ) -> OIMTerms:
        """Return the loss by its terms; see :func:`oim_loss`."""
        rows, slots = self.memory.table.rows, self.memory.queue.rows
        oim = oim_loss(embeddings, person_ids, rows, slots, temperature=self.temperature)
        return OIMTerms(oim, *watched_similarities(embeddings, person_ids, rows))

    def update(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        overlaps: Float[Tensor, " N"] | None = None,
    ) -> None:
        """Write a batch into the memory; see :meth:`PersonMemory.update`."""
        self.memory.update(embeddings, person_ids)
