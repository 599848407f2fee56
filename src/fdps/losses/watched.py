"""Figures of the embeddings that a training run watches beside its losses.

Axes: N people in the batch, C embedding dimension, L identities.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fdps.losses.memory import is_written, similarity
from fdps.structures import UNLABELLED

BLOCK = 1024  # rows at once; all 5532 of CUHK-SYSU would take 122 MB


@torch.no_grad()
def watched_similarities(
    embeddings: Float[Tensor, "N C"], person_ids: Int[Tensor, " N"], lut: Float[Tensor, "L C"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Similarity of labelled people to their own row, and to the nearest row of somebody else.

    Means over the labelled people; rows that were never written count for nothing. The first should
    rise while the second stays behind: the axes of Fig. 3b of FDPS.

    Args:
        embeddings: Unit rows.
        person_ids: In 0..L-1, or ``UNLABELLED``: such people do not count here.
        lut: One row per identity.

    Returns:
        Own and nearest, each in [-1, 1]; 0 where nobody or nothing is there to compare.
    """
    labelled = person_ids != UNLABELLED
    own_row = person_ids[labelled].long()[:, None]
    to_all = similarity(embeddings[labelled], lut)
    others = is_written(lut).expand_as(to_all).scatter(1, own_row, False)
    nearest = to_all.masked_fill(~others, -torch.inf).amax(dim=1)
    nearest = torch.where(others.any(dim=1), nearest, 0)
    n = max(len(own_row), 1)
    return to_all.gather(1, own_row).sum() / n, nearest.sum() / n


@torch.no_grad()
def hardness(lut: Float[Tensor, "L C"]) -> Float[Tensor, " L"]:
    """Return for each identity the similarity of the nearest other one, by their rows.

    Args:
        lut: One row per identity; rows that were never written are near to nobody.

    Returns:
        In [0, 1]; 0 for an identity without a neighbour on its side.
    """
    rows = torch.arange(len(lut), device=lut.device)
    nearest = []
    for block in torch.split(rows, BLOCK):
        to_all = similarity(lut[block], lut)
        to_all[torch.arange(len(block), device=lut.device), block] = 0
        nearest.append(to_all.amax(dim=1))
    return torch.cat(nearest).clamp(0, 1)
