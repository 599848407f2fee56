"""The triplet loss with the hardest positive and negative of the batch.

Source: Hermans et al., In defense of the triplet loss for person re-identification, 2017.

Axes: N people in the batch, C embedding dimension, A anchors.
"""

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from fdps.losses.memory import similarity


def batch_hard_loss(
    embeddings: Float[Tensor, "N C"], person_ids: Int[Tensor, " N"], *, margin: float
) -> Float[Tensor, ""]:
    r"""Push the nearest other person farther away than the farthest view of the same one.

    .. math::
        L = \frac{1}{|A|} \sum_{a \in A} \max\Bigl(0,\; m
        + \max_{p} \lVert x_a - x_p \rVert - \min_{n} \lVert x_a - x_n \rVert \Bigr)

    over the anchors :math:`A`: labelled people of whom the batch has another view, and somebody
    else who is labelled. Distances are those of unit embeddings, between 0 and 2.

    Args:
        embeddings: Unit rows.
        person_ids: At least 0, or negative for people who take no part.
        margin: Distance that should lie between, above 0.

    Returns:
        At least 0; 0 with a zero gradient where there is no anchor.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> loss = batch_hard_loss(x, torch.tensor([0, 0, 1]), margin=0.3)
        >>> round(loss.item(), 4)  # (0.3 + √2 − 2 < 0, and 0.3 + √2 − √2) / 2
        0.15
    """
    is_same, is_other = _pairs(person_ids)
    is_anchor = is_same.any(dim=1) & is_other.any(dim=1)
    if not is_anchor.any():
        return 0 * embeddings.sum()
    # The root has no slope at 0, where two rows are equal.
    distances = (2 - 2 * similarity(embeddings, embeddings)).clamp(min=1e-12).sqrt()
    farthest = distances.masked_fill(~is_same, -torch.inf).amax(dim=1)
    nearest = distances.masked_fill(~is_other, torch.inf).amin(dim=1)
    return (margin + farthest - nearest)[is_anchor].clamp(min=0).mean()


def count_anchors(person_ids: Int[Tensor, " N"]) -> Int64[Tensor, ""]:
    """Count what :func:`batch_hard_loss` is a mean over."""
    is_same, is_other = _pairs(person_ids)
    return (is_same.any(dim=1) & is_other.any(dim=1)).sum()


def _pairs(person_ids: Int[Tensor, " N"]) -> tuple[Bool[Tensor, "N N"], Bool[Tensor, "N N"]]:
    """Mark the pairs of different views of one person, and those of two people."""
    is_labelled = person_ids >= 0
    both = is_labelled[:, None] & is_labelled[None]
    is_equal = person_ids[:, None] == person_ids[None]
    itself = torch.eye(len(person_ids), dtype=torch.bool, device=person_ids.device)
    return both & is_equal & ~itself, both & ~is_equal
