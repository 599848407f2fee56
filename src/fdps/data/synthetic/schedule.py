"""Decide who appears in which scene."""

from functools import lru_cache

from fdps.data.synthetic.config import SPLITS, SyntheticConfig, stream
from fdps.structures import UNLABELLED


def cast_of_scene(config: SyntheticConfig, split: str, index: int) -> tuple[int, ...]:
    """Return the cast of a scene: distinct person ids, and UNLABELLED for each stranger."""
    return _schedule(config, split)[index]


@lru_cache(maxsize=8)
def _schedule(config: SyntheticConfig, split: str) -> tuple[tuple[int, ...], ...]:
    """Cast all scenes of a split.

    Identities are dealt like cards from a pack that is shuffled anew when it is used up, so all
    appear equally often. Neighbouring scenes belong to different cameras, so the appearances of
    a person spread over the cameras too.
    """
    rng = stream(config.seed, "schedule", SPLITS.index(split))
    n_persons = config.n_persons(split)
    pack: list[int] = []
    schedule = []
    for _ in range(config.n_scenes(split)):
        fewest, most = config.people_per_scene
        n_people = int(rng.integers(fewest, most + 1))
        n_known = min(n_people - int(rng.binomial(n_people, config.unlabelled_share)), n_persons)
        known: list[int] = []
        while len(known) < n_known:
            if not pack:
                pack = rng.permutation(n_persons).tolist()
            # Somebody who is here already goes to the bottom of the pack.
            card = next((i for i in reversed(range(len(pack))) if pack[i] not in known), None)
            if card is None:
                pack = rng.permutation(n_persons).tolist() + pack
                continue
            known.append(pack.pop(card))
        schedule.append(tuple(known + [UNLABELLED] * (n_people - n_known)))
    return tuple(schedule)
