"""The people to draw: build, hair, clothes and what they carry."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fdps.data.synthetic.config import SPLITS, SyntheticConfig, stream

Colour = tuple[int, int, int]

PATTERNS = ("plain", "hoops", "pinstripes", "checks", "dots", "logo", "two_tone", "sash", "panels")
UPPER_KINDS = ("tshirt", "jumper", "coat", "vest")
LOWER_KINDS = ("trousers", "shorts", "skirt", "wide")
HAIR_STYLES = ("short", "long", "bun", "ponytail", "bald", "curly")
BAGS = ("none", "backpack", "handbag", "strap")
HATS = ("none", "none", "cap", "beanie", "brim")

# There are few colours, so that strangers wear the same ones.
_UPPER_COLOURS: tuple[Colour, ...] = (
    (226, 224, 218), (38, 38, 42), (128, 130, 134), (44, 62, 112), (168, 40, 44), (86, 104, 66),
    (196, 172, 132), (108, 152, 192), (206, 160, 48), (104, 56, 104),
)  # fmt: skip
_LOWER_COLOURS: tuple[Colour, ...] = (
    (34, 34, 38), (46, 60, 96), (92, 116, 152), (112, 112, 116), (150, 132, 100), (84, 62, 46),
)  # fmt: skip
_SKINS: tuple[Colour, ...] = (
    (242, 208, 182), (226, 182, 148), (196, 148, 112), (148, 102, 72), (98, 66, 48),
)  # fmt: skip
_HAIR: tuple[Colour, ...] = (
    (28, 24, 22), (62, 42, 28), (112, 74, 42), (196, 164, 98), (150, 146, 142), (138, 60, 36),
)  # fmt: skip
_ACCESSORY: tuple[Colour, ...] = (
    (36, 34, 36), (120, 78, 46), (176, 48, 52), (52, 84, 140), (214, 206, 192), (78, 110, 74),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Build:
    """Proportions of a body; 1 is average.

    Args:
        height: Height of the whole body.
        girth: Width of trunk and limbs.
        shoulders: Width of the shoulders beside that of the trunk.
        legs: Share of the height below the hip.
    """

    height: float
    girth: float
    shoulders: float
    legs: float


@dataclass(frozen=True, slots=True)
class Garment:
    """A piece of clothing.

    Args:
        kind: Kind of cut, one of :data:`UPPER_KINDS` or :data:`LOWER_KINDS`.
        pattern: Pattern, one of :data:`PATTERNS`.
        colour: Colour of the cloth.
        second: Colour of the pattern on it.
        period: Distance between repetitions of the pattern, in body heights.
    """

    kind: str
    pattern: str
    colour: Colour
    second: Colour
    period: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything about a person that stays the same from scene to scene."""

    build: Build
    skin: Colour
    hair: Colour
    hair_style: str
    upper: Garment
    lower: Garment
    shoes: Colour
    bag: str
    bag_colour: Colour
    hat: str
    hat_colour: Colour


@dataclass(frozen=True, slots=True)
class _Colours:
    """The colours that a group of lookalikes shares, and the order in which it varies the rest."""

    upper: Colour
    second: Colour
    lower: Colour
    shoes: Colour
    patterns: tuple[str, ...]
    bags: tuple[str, ...]


@lru_cache(maxsize=8)
def draw_cast(config: SyntheticConfig, split: str) -> tuple[Identity, ...]:
    """Draw all identities of a split, in the order of their person ids."""
    key = SPLITS.index(split)
    cast = []
    for person in range(config.n_persons(split)):
        group, member = divmod(person, config.lookalikes)
        colours = _draw_colours(stream(config.seed, "colours", key, group))
        cast.append(_draw_identity(stream(config.seed, "person", key, person), colours, member))
    return tuple(cast)


def draw_passer_by(config: SyntheticConfig, split: str, rng: np.random.Generator) -> Identity:
    """Draw somebody who appears once, dressed in the colours of the people of the split."""
    n_groups = -(-config.n_persons(split) // config.lookalikes)
    group = int(rng.integers(n_groups))
    colours = _draw_colours(stream(config.seed, "colours", SPLITS.index(split), group))
    return _draw_identity(rng, colours, int(rng.integers(len(PATTERNS))))


def _draw_colours(rng: np.random.Generator) -> _Colours:
    upper, second = rng.choice(len(_UPPER_COLOURS), size=2, replace=False)
    return _Colours(
        upper=_UPPER_COLOURS[upper],
        second=_UPPER_COLOURS[second],
        lower=_pick(rng, _LOWER_COLOURS),
        shoes=_pick(rng, _ACCESSORY),
        patterns=tuple(rng.permutation(PATTERNS).tolist()),
        bags=tuple(rng.permutation(BAGS).tolist()),
    )


def _draw_identity(rng: np.random.Generator, colours: _Colours, member: int) -> Identity:
    """Draw one member of a group of lookalikes: no two of a group wear the same pattern."""
    build = Build(
        height=float(rng.uniform(0.86, 1.08)),
        girth=float(rng.uniform(0.82, 1.3)),
        shoulders=float(rng.uniform(0.9, 1.15)),
        legs=float(rng.uniform(0.45, 0.52)),
    )
    upper, second = colours.upper, colours.second
    if rng.random() < 0.4:  # the same two colours, cloth and pattern exchanged
        upper, second = second, upper
    pattern = colours.patterns[member % len(PATTERNS)]
    period = float(rng.choice([0.05, 0.075, 0.11]))
    lower_pattern = str(rng.choice(["plain", "plain", "plain", "checks", "panels"]))
    return Identity(
        build=build,
        skin=_pick(rng, _SKINS),
        hair=_pick(rng, _HAIR),
        hair_style=str(rng.choice(HAIR_STYLES)),
        upper=Garment(str(rng.choice(UPPER_KINDS)), pattern, upper, second, period),
        lower=Garment(str(rng.choice(LOWER_KINDS)), lower_pattern, colours.lower, second, 0.06),
        shoes=colours.shoes,
        bag=colours.bags[member % len(BAGS)],
        bag_colour=_pick(rng, _ACCESSORY),
        hat=str(rng.choice(HATS)),
        hat_colour=_pick(rng, _ACCESSORY),
    )


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]
