"""Match regions to annotated people and sample the ones that a picture trains on.

Regions are the anchors of the proposal network, or proposals.

Axes: R regions, N annotated people, S sampled regions.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchvision.ops import box_iou

BACKGROUND, PERSON, IGNORED = 0, 1, -1
ANCHORS, REGIONS, SIZE, REFINED, CUTS, PARTNERS = 0, 1, 2, 3, 4, 5  # streams of random numbers


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
    best_of_each: bool = False,
    ignored: Float[Tensor, "M 4"] | None = None,
) -> Match:
    """Label every region by its largest overlap with a person.

    The same labels and people as torchvision's ``Matcher``. With ``best_of_each`` a region may be
    the best of one person while it overlaps another more; ``person`` is still the other. A person
    whom no region touches makes all regions people, for 0 is then the largest overlap.

    Args:
        regions: Anchors or proposals.
        people: Annotated boxes; may be empty, then everything is background.
        foreground_iou: At least this overlap makes a person.
        background_iou: Less than this overlap makes background; in between is ignored.
        best_of_each: Whether the regions that overlap a person most, ties included, are people
            even below ``foreground_iou``.
        ignored: Boxes of which nobody knows whether they are people: regions that overlap them as
            much as would keep them from being background beside a person are ignored too.
    """
    if ignored is not None and len(ignored) and len(regions):
        found = match(
            regions,
            people,
            foreground_iou=foreground_iou,
            background_iou=background_iou,
            best_of_each=best_of_each,
        )
        is_near = box_iou(ignored, regions).amax(dim=0) >= background_iou
        is_open = is_near & (found.label == BACKGROUND)
        return found._replace(label=found.label.masked_fill(is_open, IGNORED))
    if len(people) == 0 or len(regions) == 0:
        nobody = regions.new_zeros(len(regions), dtype=torch.int64)
        return Match(nobody, nobody)
    overlaps = box_iou(people, regions)
    overlap, person = overlaps.max(dim=0)
    label = torch.full_like(person, IGNORED)
    label[overlap < background_iou] = BACKGROUND
    label[overlap >= foreground_iou] = PERSON
    if best_of_each:
        label[(overlaps == overlaps.amax(dim=1, keepdim=True)).any(dim=0)] = PERSON
    return Match(label, person)


def sample(
    label: Int64[Tensor, " R"],
    n_regions: int,
    positive_fraction: float,
    generator: torch.Generator | None = None,
) -> Int64[Tensor, " S"]:
    """Draw regions at random, people up to their share and background for the rest.

    Args:
        label: From :func:`match`.
        n_regions: Most regions to draw; fewer come where there are fewer.
        positive_fraction: Largest share of people.
        generator: On the CPU (:func:`seeded`); labels on any device then give the same draw.
            Without it, torch's global generator of the device of ``label`` draws.

    Returns:
        Rows of the drawn regions: people first.
    """
    positive = _drawn(label == PERSON, int(n_regions * positive_fraction), generator)
    negative = _drawn(label == BACKGROUND, n_regions - len(positive), generator)
    return torch.cat([positive, negative])


def seeded(seed: Int64[Tensor, ""] | None, stream: int) -> torch.Generator | None:
    """Make the generator of one picture and one purpose, on the CPU.

    Args:
        seed: Of the picture, any whole number, best on the CPU; None makes no generator.
        stream: :data:`ANCHORS`, :data:`REGIONS`, :data:`SIZE`, :data:`REFINED`, :data:`CUTS` or
            :data:`PARTNERS`; what one draws tells nothing about another.
    """
    if seed is None:
        return None
    # torch's CPU generator keeps the lower 32 bits of a seed: mix all 64 and the stream into them.
    mixed = np.random.SeedSequence(int(seed) % 2**64, spawn_key=(stream,)).generate_state(1)
    return torch.Generator().manual_seed(int(mixed[0]))


def _drawn(
    chosen: Bool[Tensor, " R"], n_most: int, generator: torch.Generator | None
) -> Int64[Tensor, " S"]:
    rows = chosen.nonzero().squeeze(1)
    device = rows.device if generator is None else generator.device
    order = torch.randperm(len(rows), generator=generator, device=device)
    return rows[order[:n_most].to(rows.device)]
