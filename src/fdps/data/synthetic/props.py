"""Things that stand about: they hide people, or a careless detector takes them for people."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image

from fdps.data.synthetic.body import FACINGS, Pose
from fdps.data.synthetic.brush import Brush, shade
from fdps.data.synthetic.figure import draw_figure
from fdps.data.synthetic.identity import Build, Colour, Garment, Identity

_WOOD: Colour = (128, 92, 58)
_IRON: Colour = (58, 62, 66)
_STONE: tuple[Colour, ...] = ((150, 150, 146), (172, 164, 150), (98, 108, 100))
_PAINTS: tuple[Colour, ...] = (
    (164, 44, 42), (44, 72, 124), (208, 208, 204), (48, 50, 54), (92, 118, 94), (212, 168, 60),
)  # fmt: skip


def draw_prop(rng: np.random.Generator, unit_px: float) -> Image.Image:
    """Draw a thing that stands on the ground.

    Args:
        rng: Decides which thing, and how it looks.
        unit_px: Height of an average body in pixels at the place where it stands.

    Returns:
        A sprite; its lower middle is the ground below the thing.
    """
    kinds = list(_KINDS)
    weights = np.array([_KINDS[kind][1] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    return _KINDS[kind][0](rng, unit_px)


def draw_poster_figure(rng: np.random.Generator, unit_px: float) -> Image.Image:
    """Draw a person as posters show them: in real clothes, but flat on a wall."""
    return draw_figure(_model(rng, None), _stance(rng), unit_px)


def _bench(rng: np.random.Generator, unit_px: float) -> Image.Image:
    brush = Brush(unit_px, width=1.4, height=0.52)
    g, colour = brush.ground, shade(_WOOD, float(rng.uniform(0.6, 1.3)))
    for x in (-0.5, 0.5):
        brush.polygon([(x - 0.03, g - 0.48), (x + 0.03, g - 0.48), (x + 0.04, g), (x - 0.04, g)],
                      _IRON)  # fmt: skip
    for y, thick in ((0.5, 0.07), (0.4, 0.07), (0.25, 0.05), (0.19, 0.05)):
        light = shade(colour, 1.0 + y / 2)
        brush.polygon([(-0.66, g - y), (0.66, g - y), (0.66, g - y + thick),
                       (-0.66, g - y + thick)], light)  # fmt: skip
    return brush.sprite()


def _lamp(rng: np.random.Generator, unit_px: float) -> Image.Image:
    height = float(rng.uniform(1.7, 2.6))
    brush = Brush(unit_px, width=0.5, height=height)
    g, colour = brush.ground, shade(_IRON, float(rng.uniform(0.6, 1.8)))
    brush.polygon([(-0.025, 0.08), (0.025, 0.08), (0.04, g), (-0.04, g)], colour)
    brush.limb([(0.0, g - 0.25), (0.0, g - 0.02)], [0.1, 0.14], colour)
    brush.ellipse((0.0, 0.1), (0.13, 0.09), shade((236, 228, 196), float(rng.uniform(0.7, 1.1))))
    brush.polygon([(-0.15, 0.06), (0.15, 0.06), (0.06, 0.0), (-0.06, 0.0)], colour)
    return brush.sprite()


def _sign(rng: np.random.Generator, unit_px: float) -> Image.Image:
    brush = Brush(unit_px, width=0.5, height=1.35)
    g, colour = brush.ground, _paint(rng)
    brush.polygon([(-0.02, 0.3), (0.02, 0.3), (0.02, g), (-0.02, g)], (140, 142, 144))
    if rng.random() < 0.5:
        brush.ellipse((0.0, 0.2), (0.18, 0.18), colour)
        brush.ellipse((0.0, 0.2), (0.13, 0.13), (232, 232, 228))
    else:
        brush.polygon([(-0.22, 0.05), (0.22, 0.05), (0.22, 0.36), (-0.22, 0.36)], colour)
        brush.line([(-0.14, 0.2), (0.14, 0.2)], 0.04, (232, 232, 228))
    return brush.sprite()


def _bush(rng: np.random.Generator, unit_px: float) -> Image.Image:
    brush = Brush(unit_px, width=1.3, height=float(rng.uniform(0.45, 0.75)))
    base: Colour = (66, 98, 54)
    for i in range(16):
        x, y = rng.uniform(-0.42, 0.42), rng.uniform(0.22, brush.ground - 0.1)
        leaf = shade(base, float(rng.uniform(0.7, 1.25)) - 0.02 * i + 0.15)
        brush.ellipse((float(x), float(y)), (0.2, 0.17), leaf)
    return brush.sprite()


def _car(rng: np.random.Generator, unit_px: float) -> Image.Image:
    brush = Brush(unit_px, width=2.7, height=0.88)
    g, colour = brush.ground, _paint(rng)
    glass: Colour = (74, 92, 106)
    rear = [(-1.28, g - 0.16), (-1.3, g - 0.42), (-0.8, g - 0.5), (-0.5, g - 0.84)]
    front = [(0.45, g - 0.84), (0.85, g - 0.5), (1.25, g - 0.42), (1.3, g - 0.16)]
    brush.polygon(rear + front, colour)
    brush.polygon([(-0.68, g - 0.52), (-0.44, g - 0.77), (-0.04, g - 0.77), (-0.04, g - 0.52)],
                  glass)  # fmt: skip
    brush.polygon([(0.03, g - 0.52), (0.03, g - 0.77), (0.4, g - 0.77), (0.68, g - 0.52)], glass)
    brush.line([(-1.26, g - 0.3), (1.26, g - 0.3)], 0.02, shade(colour, 0.7))
    for x in (-0.78, 0.78):
        brush.ellipse((x, g - 0.17), (0.18, 0.17), (26, 26, 28))
        brush.ellipse((x, g - 0.17), (0.09, 0.09), (150, 152, 154))
    sprite = brush.sprite()
    return sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else sprite


def _bin(rng: np.random.Generator, unit_px: float) -> Image.Image:
    brush = Brush(unit_px, width=0.4, height=0.55)
    g, colour = brush.ground, _paint(rng)
    brush.polygon([(-0.15, 0.1), (0.15, 0.1), (0.12, g), (-0.12, g)], colour)
    brush.polygon([(-0.17, 0.04), (0.17, 0.04), (0.17, 0.12), (-0.17, 0.12)], shade(colour, 0.7))
    return brush.sprite()


def _parasol(rng: np.random.Generator, unit_px: float) -> Image.Image:
    brush = Brush(unit_px, width=1.5, height=1.35)
    g, colour, other = brush.ground, _paint(rng), _paint(rng)
    brush.polygon([(-0.02, 0.1), (0.02, 0.1), (0.02, g), (-0.02, g)], (190, 186, 178))
    for i, (left, right) in enumerate(pairwise(np.linspace(-0.7, 0.7, 7))):
        panel = colour if i % 2 else other
        brush.polygon([(0.0, 0.02), (float(right), 0.36), (float(left), 0.36)], panel)
    brush.limb([(-0.12, g - 0.02), (0.12, g - 0.02)], [0.04, 0.04], _IRON)
    return brush.sprite()


def _rack(rng: np.random.Generator, unit_px: float) -> Image.Image:
    """Draw a rail of clothes: garments without people."""
    brush = Brush(unit_px, width=1.1, height=0.92)
    g = brush.ground
    for x in (-0.48, 0.48):
        brush.line([(x, 0.04), (x, g)], 0.025, (160, 162, 164))
    brush.line([(-0.48, 0.04), (0.48, 0.04)], 0.025, (160, 162, 164))
    for x in np.linspace(-0.38, 0.38, 6):
        a, colour = float(x), _paint(rng)
        brush.polygon([(a, 0.06), (a + 0.08, 0.16), (a + 0.08, 0.62), (a - 0.08, 0.62),
                       (a - 0.08, 0.16)], colour)  # fmt: skip
        brush.line([(a + 0.08, 0.16), (a + 0.08, 0.62)], 0.01, shade(colour, 0.7))
    return brush.sprite()


def _statue(rng: np.random.Generator, unit_px: float) -> Image.Image:
    """Draw somebody in stone on a plinth."""
    stone = _STONE[int(rng.integers(len(_STONE)))]
    figure = draw_figure(_model(rng, stone), _stance(rng), unit_px)
    plinth = Brush(unit_px, width=0.62, height=0.4)
    g = plinth.ground
    plinth.polygon([(-0.24, 0.0), (0.24, 0.0), (0.27, g), (-0.27, g)], shade(stone, 0.85))
    plinth.polygon([(-0.3, 0.0), (0.3, 0.0), (0.3, 0.06), (-0.3, 0.06)], shade(stone, 1.05))
    return _stacked(figure, plinth.sprite())


def _mannequin(rng: np.random.Generator, unit_px: float) -> Image.Image:
    """Draw a tailor's dummy: trunk and clothes on a stand, without head or limbs."""
    brush = Brush(unit_px, width=0.5, height=0.9)
    g, colour = brush.ground, _paint(rng)
    brush.line([(0.0, 0.4), (0.0, g - 0.02)], 0.03, _WOOD)
    brush.limb([(-0.12, g - 0.02), (0.12, g - 0.02)], [0.04, 0.04], _WOOD)
    brush.polygon([(-0.03, 0.0), (0.03, 0.0), (0.11, 0.06), (0.075, 0.22), (0.1, 0.42),
                   (-0.1, 0.42), (-0.075, 0.22), (-0.11, 0.06)], colour)  # fmt: skip
    brush.line([(-0.07, 0.2), (0.07, 0.2)], 0.02, shade(colour, 0.6))
    return brush.sprite()


def _stacked(top: Image.Image, bottom: Image.Image) -> Image.Image:
    width = max(top.width, bottom.width)
    sprite = Image.new("RGBA", (width, top.height + bottom.height))
    sprite.paste(top, ((width - top.width) // 2, 0))
    sprite.paste(bottom, ((width - bottom.width) // 2, top.height))
    return sprite


def _model(rng: np.random.Generator, stone: Colour | None) -> Identity:
    """Return somebody who is not a person of the data set, in one colour if of stone."""
    cloth, other = stone or _paint(rng), stone or _paint(rng)
    skin = stone or (222, 178, 144)
    return Identity(
        build=Build(1.0, float(rng.uniform(0.85, 1.1)), 1.0, 0.49),
        skin=skin,
        hair=shade(skin, 0.8 if stone else 0.25),
        hair_style=str(rng.choice(["short", "bun", "curly"])),
        upper=Garment(str(rng.choice(["tshirt", "coat", "jumper"])), "plain", cloth, other, 0.1),
        lower=Garment(str(rng.choice(["trousers", "skirt"])), "plain", other, other, 0.1),
        shoes=shade(other, 0.7),
        bag="none",
        bag_colour=other,
        hat="none",
        hat_colour=other,
    )


def _stance(rng: np.random.Generator) -> Pose:
    return Pose(FACINGS[int(rng.integers(4))], float(rng.uniform(0, 6.28)), 0.3)


def _paint(rng: np.random.Generator) -> Colour:
    return _PAINTS[int(rng.integers(len(_PAINTS)))]


_KINDS: dict[str, tuple[Callable[[np.random.Generator, float], Image.Image], float]] = {
    "bench": (_bench, 2.0),
    "lamp": (_lamp, 1.5),
    "sign": (_sign, 1.0),
    "bush": (_bush, 2.0),
    "car": (_car, 1.0),
    "bin": (_bin, 1.5),
    "parasol": (_parasol, 0.7),
    "rack": (_rack, 1.0),
    "statue": (_statue, 1.0),
    "mannequin": (_mannequin, 1.0),
}
"""Each thing and how often it stands about, relative to the others."""
