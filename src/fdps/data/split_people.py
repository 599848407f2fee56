"""Divide a scene set so that nobody is in two parts.

People who appear together are tied: the ties make groups, and a group stays together while it is
small. A group larger than the largest part, a crowd where everybody meets everybody, is divided by
person; each of its scenes then goes where most of its people are, and the others in it lose their
identity, so that a part never knows a person of another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fdps.errors import UsageError
from fdps.structures import UNLABELLED, Scene, SceneSet


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """The parts of a scene set, and the cost of dividing it.

    Args:
        parts: Scene set of each part.
        n_unnamed: Number of boxes that lost their identity.
    """

    parts: dict[str, SceneSet]
    n_unnamed: int


def split_by_person(scenes: SceneSet, shares: Mapping[str, float], seed: int) -> Division:
    """Divide by person; equal seeds give equal parts.

    Args:
        scenes: Scenes to divide; their queries are dropped.
        shares: Share of the identities of each part; they need not add up to 1.
        seed: Seed of the order in which groups are dealt out.

    Raises:
        UsageError: There is no part, a share is not positive, or there are fewer identities than
            parts.
    """
    if not shares or min(shares.values()) <= 0:
        raise UsageError(f"every part needs a positive share, got {dict(shares)}")
    if len(scenes.person_ids) < len(shares):
        raise UsageError(
            f"{len(scenes.person_ids)} identities cannot be divided into {len(shares)} parts"
        )
    rng = np.random.default_rng(seed)
    part_of = _deal(_groups(scenes.scenes), shares, rng)
    names = list(shares)
    weights = np.array([shares[name] for name in names]) / sum(shares.values())
    parts: dict[str, list[Scene]] = {name: [] for name in names}
    n_unnamed = 0
    for scene in scenes.scenes:
        votes = [part_of[i] for i in scene.person_ids.tolist() if i != UNLABELLED]
        if votes:
            chosen = max(names, key=votes.count)  # the first one of equals
        else:
            chosen = names[int(rng.choice(len(names), p=weights))]
        foreign = [i != UNLABELLED and part_of[i] != chosen for i in scene.person_ids.tolist()]
        n_unnamed += sum(foreign)
        ids = np.where(np.array(foreign, dtype=bool), UNLABELLED, scene.person_ids)
        parts[chosen].append(replace(scene, person_ids=ids.astype(np.int64)))
    base = scenes.name.partition("/")[0]
    sets = {
        name: SceneSet(f"{base}/{name}", tuple(rows), teacher_hash=scenes.teacher_hash)
        for name, rows in parts.items()
    }
    return Division(sets, n_unnamed)


def _groups(scenes: Sequence[Scene]) -> list[list[int]]:
    """Group identities that are tied by common scenes, smallest number first."""
    parent: dict[int, int] = {}

    def root(person: int) -> int:
        while parent[person] != person:
            parent[person] = person = parent[parent[person]]
        return person

    for scene in scenes:
        people = [i for i in scene.person_ids.tolist() if i != UNLABELLED]
        for person in people:
            parent.setdefault(person, person)
            parent[root(person)] = root(people[0])
    groups: dict[int, list[int]] = {}
    for person in sorted(parent):
        groups.setdefault(root(person), []).append(person)
    return list(groups.values())


def _deal(
    groups: list[list[int]], shares: Mapping[str, float], rng: np.random.Generator
) -> dict[int, str]:
    """Give groups to parts, the largest first, each to the part that misses most."""
    n_people = sum(map(len, groups))
    targets = {name: share / sum(shares.values()) * n_people for name, share in shares.items()}
    units: list[list[int]] = []
    for group in groups:
        fits = len(group) <= max(targets.values()) and len(groups) >= len(shares)
        units += [group] if fits else [[person] for person in group]
    order = [units[k] for k in rng.permutation(len(units))]
    order.sort(key=len, reverse=True)  # stable: equals stay shuffled
    part_of: dict[int, str] = {}
    filled = dict.fromkeys(targets, 0)
    for unit in order:
        # Measured in shares of its target, so that a small part is filled as surely as a large one.
        name = min(targets, key=lambda part: filled[part] / targets[part])
        filled[name] += len(unit)
        part_of.update(dict.fromkeys(unit, name))
    return part_of
