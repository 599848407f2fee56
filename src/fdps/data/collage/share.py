"""Give people and backgrounds to the splits, and cast the scenes of a split."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fdps.data.collage.backgrounds import Background
from fdps.data.collage.config import SPLITS, CollageConfig, stream
from fdps.data.collage.cutouts import Person
from fdps.errors import UsageError


@dataclass(frozen=True, slots=True)
class Share:
    """What one split is made of; no other split has these people.

    Args:
        people: Those with an identity: its number is the position.
        strangers: Those whose identity is kept back.
        backgrounds: At least one.
    """

    people: tuple[Person, ...]
    strangers: tuple[Person, ...]
    backgrounds: tuple[Background, ...]


def share_out(
    config: CollageConfig, people: Sequence[Person], backgrounds: Sequence[Background]
) -> dict[str, Share]:
    """Divide people and backgrounds among the splits that have pictures.

    Every split gets at least one person. Backgrounds are divided too, unless there are fewer of
    them than splits: then all splits have all of them.

    Raises:
        UsageError: There are fewer people than splits, or no background.
    """
    splits = config.splits
    if len(people) < len(splits):
        raise UsageError(
            f"{len(people)} people cannot be divided among {', '.join(splits)}, "
            "which have nobody in common",
            hint="give more cut-outs, or --val-scenes 0",
        )
    if not backgrounds:
        raise UsageError(
            "no background to paste people into", hint="give --backgrounds or both kinds"
        )
    rng = stream(config.seed, "share")
    wanted = [config.shares[SPLITS.index(split)] for split in splits]
    groups = _dealt(rng.permutation(len(people)).tolist(), wanted)
    order = rng.permutation(len(backgrounds)).tolist()
    scenery = [order] * len(splits) if len(order) < len(splits) else _dealt(order, wanted)
    shares = {}
    for split, group, places in zip(splits, groups, scenery, strict=True):
        n_strangers = min(round(config.unlabelled_share * len(group)), len(group) - 1)
        members = [people[i] for i in group]
        shares[split] = Share(
            people=tuple(members[n_strangers:]),
            strangers=tuple(members[:n_strangers]),
            backgrounds=tuple(backgrounds[i] for i in places),
        )
    return shares


def cast_of_scene(config: CollageConfig, split: str, share: Share, index: int) -> tuple[int, ...]:
    """Return who is cast for a scene: positions in ``people + strangers``, all different."""
    n_people = len(share.people) + len(share.strangers)
    return _schedule(config, split, n_people)[index]


@lru_cache(maxsize=8)
def _schedule(config: CollageConfig, split: str, n_people: int) -> tuple[tuple[int, ...], ...]:
    """Cast all scenes of a split.

    People are dealt like cards from a pack that is shuffled anew when it is used up, so all appear
    equally often. Neighbouring scenes have different looks, so the appearances of a person spread
    over the looks too.
    """
    rng = stream(config.seed, "schedule", SPLITS.index(split))
    pack: list[int] = []
    schedule = []
    for _ in range(config.n_scenes(split)):
        fewest, most = config.people_per_scene
        n_wanted = min(int(rng.integers(fewest, most + 1)), n_people)
        cast: list[int] = []
        while len(cast) < n_wanted:
            # Somebody who is here already goes to the bottom of the pack.
            card = next((i for i in reversed(range(len(pack))) if pack[i] not in cast), None)
            if card is None:
                pack = rng.permutation(n_people).tolist() + pack
            else:
                cast.append(pack.pop(card))
        schedule.append(tuple(cast))
    return tuple(schedule)


def _dealt(things: list[int], wanted: Sequence[float]) -> list[list[int]]:
    """Cut a list into parts of the wanted proportions, none of them empty."""
    ends = np.cumsum(wanted) / sum(wanted) * len(things)
    parts, start = [], 0
    for k, end in enumerate(ends):
        left_for_others = len(wanted) - 1 - k
        stop = min(max(round(float(end)), start + 1), len(things) - left_for_others)
        parts.append(things[start:stop])
        start = stop
    return parts
