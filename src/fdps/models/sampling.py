"""Match proposals to annotated people and sample the regions that a picture trains on.

Axes: R regions, N annotated people.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchvision.ops import box_iou

BACKGROUND, PERSON, IGNORED = 0, 1, -1


class Match(NamedTuple):
    """Which person each region shows."""

    label: Int64[Tensor, " R"]
    """:data:`PERSON`, :data:`BACKGROUND` or :data:`IGNORED`."""
    person: Int64[Tensor, " R"]
    """Row of the person with the largest overlap; 0 where there is nobody."""


def match(
    regions: Float[Tensor, "R 4"],
    people: Float[Tensor, "N 4"],
    *,
    foreground_iou: float,
    background_iou: float,
) -> Match:
    """Label every region by its largest overlap with a person.

    Args:
        regions: Proposals.
        people: Annotated boxes; may be empty, then everything is background.
        foreground_iou: At least this overlap makes a person.
        background_iou: Less than this overlap makes background; in between is ignored.
    """
    if len(people) == 0:
        nobody = regions.new_zeros(len(regions), dtype=torch.int64)
        return Match(nobody, nobody)
    overlap, person = box_iou(regions, people).max(dim=1)
    label = torch.full_like(person, IGNORED)
    label[overlap < background_iou] = BACKGROUND
    label[overlap >= foreground_iou] = PERSON
    return Match(label, person)


def sample(
    label: Int64[Tensor, " R"], n_regions: int, positive_fraction: float
) -> Int64[Tensor, " S"]:
    """Draw regions at random, people up to their share and background for the rest.

    Args:
        label: From :func:`match`.
        n_regions: Most regions to draw; fewer come where there are fewer.
        positive_fraction: Largest share of people.

    Returns:
        Rows of the drawn regions: people first.
    """
    positive = _shuffled(label == PERSON)[: int(n_regions * positive_fraction)]
    negative = _shuffled(label == BACKGROUND)[: n_regions - len(positive)]
    return torch.cat([positive, negative])


def _shuffled(chosen: Bool[Tensor, " R"]) -> Int64[Tensor, " S"]:
    rows = chosen.nonzero().squeeze(1)
    return rows[torch.randperm(len(rows), device=rows.device)]
