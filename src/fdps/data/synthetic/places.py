"""The place that a camera watches: one wide picture, of which each scene shows a part.

It is drawn from back to front: sky or ceiling above ``horizon``, what stands at the far end down to
``base``, and the ground below, whose lines run towards a vanishing point on the horizon.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from fdps.data.synthetic.brush import shade
from fdps.data.synthetic.identity import Colour
from fdps.data.synthetic.props import draw_poster_figure

_WALLS: tuple[Colour, ...] = (
    (176, 146, 120), (150, 90, 72), (196, 190, 178), (132, 136, 142), (206, 184, 140),
    (112, 122, 132), (164, 168, 156),
)  # fmt: skip
_SIGNS: tuple[Colour, ...] = (
    (178, 48, 44), (40, 84, 142), (46, 112, 78), (224, 184, 64), (92, 52, 98), (40, 42, 46),
)  # fmt: skip
_GROUNDS: tuple[Colour, ...] = (
    (146, 142, 136), (168, 158, 142), (120, 120, 122), (158, 132, 112), (134, 140, 136),
)  # fmt: skip

_CANVAS_HEIGHT = 640


@dataclass(frozen=True)
class _Canvas:
    """A picture to draw on, with the lines that everything keeps to, in pixels."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    rng: np.random.Generator
    horizon: float
    base: float

    @property
    def width(self) -> float:
        return float(self.image.width)

    @property
    def height(self) -> float:
        return float(self.image.height)

    def pick(self, colours: tuple[Colour, ...]) -> Colour:
        return colours[int(self.rng.integers(len(colours)))]

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))


def draw_place(
    rng: np.random.Generator, kind: str, size: tuple[int, int], horizon: float
) -> Image.Image:
    """Draw a place without people.

    Args:
        rng: Decides all details.
        kind: A key of :data:`PLACES`.
        size: Width and height, in pixels.
        horizon: Height of the horizon, as a share of the picture from its top.

    Returns:
        An RGB picture.
    """
    # All details are sized for one height of the canvas, twice that of a usual picture.
    image = Image.new("RGB", (round(size[0] * _CANVAS_HEIGHT / size[1]), _CANVAS_HEIGHT))
    y = horizon * image.height
    canvas = _Canvas(image, ImageDraw.Draw(image), rng, y, y + 0.1 * image.height)
    PLACES[kind](canvas)
    return image.resize(size, Image.Resampling.LANCZOS)


def _street(c: _Canvas) -> None:
    _gradient(c, 0.0, c.base, (122, 164, 206), (206, 218, 226))
    _houses(c, low=0.4, high=1.1)
    _shops(c)
    ground = c.pick(_GROUNDS)
    _ground(c, ground)
    _tiles(c, shade(ground, 0.86), columns=46, rows=9)
    kerb = c.base + 0.45 * (c.height - c.base)
    c.draw.rectangle((0, kerb, c.width, c.height), fill=(86, 88, 92))
    c.draw.rectangle((0, kerb, c.width, kerb + 6), fill=(178, 176, 170))
    line = kerb + 0.55 * (c.height - kerb)
    for x in range(0, int(c.width), 220):
        c.draw.polygon([(x, line), (x + 110, line), (x + 120, line + 14), (x + 4, line + 14)],
                       fill=(206, 204, 190))  # fmt: skip


def _park(c: _Canvas) -> None:
    _gradient(c, 0.0, c.base, (132, 178, 214), (214, 224, 222))
    for _ in range(4):
        _cloud(c)
    for depth in range(2):
        for x in np.arange(-40, c.width + 40, 100 + 60 * depth):
            _tree(c, float(x) + c.uniform(-40.0, 40.0), 0.3 + 0.22 * depth)
    _ground(c, (104, 136, 76))
    for _ in range(240):
        left, foot = c.uniform(0.0, c.width), c.uniform(c.base, c.height)
        c.draw.line(
            (left, foot, left + c.uniform(-4.0, 4.0), foot - 9), fill=(86, 118, 60), width=3
        )
    path = c.pick(((186, 170, 138), (164, 158, 148)))
    near, far = 0.28 * c.width, 0.04 * c.width
    middle = c.uniform(0.35, 0.65) * c.width
    upper = [(middle - far, c.base), (middle + far, c.base)]
    lower = [(c.width / 2 + near, c.height), (c.width / 2 - near, c.height)]
    c.draw.polygon(upper + lower, fill=path)


def _hall(c: _Canvas) -> None:
    wall = c.pick(((214, 208, 198), (196, 204, 208), (222, 212, 190)))
    _gradient(c, 0.0, c.base, shade(wall, 0.8), wall)
    for x in range(60, int(c.width), 260):
        c.draw.polygon([(x, 14), (x + 130, 14), (x + 110, 34), (x + 20, 34)], fill=(250, 248, 236))
    _shops(c)
    ground = c.pick(((206, 198, 186), (178, 182, 186), (190, 170, 150)))
    _ground(c, ground)
    _tiles(c, shade(ground, 0.82), columns=30, rows=12)
    for x in range(int(c.uniform(80.0, 200.0)), int(c.width), 520):
        top, bottom = c.horizon - 0.6 * c.height, c.base + 26
        c.draw.rectangle((x, top, x + 56, bottom), fill=shade(wall, 0.88))
        c.draw.rectangle((x, top, x + 14, bottom), fill=shade(wall, 1.04))


def _station(c: _Canvas) -> None:
    _gradient(c, 0.0, c.base, (92, 98, 106), (150, 154, 156))
    livery = c.pick(_SIGNS)
    top = c.horizon - 0.26 * c.height
    c.draw.rectangle((0, top, c.width, c.base), fill=(196, 198, 200))
    c.draw.rectangle((0, c.base - 46, c.width, c.base - 18), fill=livery)
    for x in range(0, int(c.width), 170):
        glass = shade((70, 84, 98), c.uniform(0.7, 1.4))
        c.draw.rectangle((x + 12, top + 22, x + 110, top + 92), fill=glass)
        c.draw.rectangle((x + 124, top + 18, x + 158, c.base - 4), fill=shade(livery, 0.8))
    _posters(c, top + 10, 5)
    ground = (140, 138, 134)
    _ground(c, ground)
    _tiles(c, shade(ground, 0.88), columns=24, rows=10)
    edge = c.base + 0.12 * (c.height - c.base)
    c.draw.rectangle((0, edge, c.width, edge + 12), fill=(218, 186, 64))


def _square(c: _Canvas) -> None:
    _gradient(c, 0.0, c.base, (168, 186, 200), (224, 222, 214))
    _houses(c, low=0.25, high=0.55)
    for x in np.arange(30, c.width, 190):
        _tree(c, float(x) + c.uniform(-60.0, 60.0), 0.4)
    ground = c.pick(_GROUNDS)
    _ground(c, ground)
    _tiles(c, shade(ground, 0.8), columns=36, rows=14)
    pond, y = c.uniform(0.2, 0.8) * c.width, c.base + 22
    c.draw.ellipse((pond - 150, y - 26, pond + 150, y + 30), fill=shade(ground, 0.75))
    c.draw.ellipse((pond - 130, y - 20, pond + 130, y + 20), fill=(116, 152, 172))


def _car_park(c: _Canvas) -> None:
    _gradient(c, 0.0, c.base, (176, 180, 186), (208, 206, 200))
    wall = c.pick(_WALLS)
    top = c.horizon - 0.2 * c.height
    c.draw.rectangle((0, top, c.width, c.base), fill=wall)
    for y in np.arange(top, c.base, 16):
        c.draw.line((0, y, c.width, y), fill=shade(wall, 0.88), width=2)
    _posters(c, top + 6, 6)
    _ground(c, (98, 100, 104))
    for k in range(-30, 31):
        a, b = c.width / 2 + k * 70, c.width / 2 + k * 230
        c.draw.line((a, c.base + 6, b, c.base + 0.5 * (c.height - c.base)), fill=(196, 196, 190),
                    width=5)  # fmt: skip


def _gradient(c: _Canvas, top: float, bottom: float, above: Colour, below: Colour) -> None:
    steps = 24
    for i in range(steps):
        share = i / (steps - 1)
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(above, below, strict=True))
        y = top + (bottom - top) * i / steps
        c.draw.rectangle((0, y, c.width, y + (bottom - top) / steps + 1), fill=(red, green, blue))


def _ground(c: _Canvas, colour: Colour) -> None:
    _gradient(c, c.base, c.height, shade(colour, 0.9), shade(colour, 1.08))
    for _ in range(60):  # stains
        x, y = c.uniform(0.0, c.width), c.uniform(c.base, c.height)
        a = c.uniform(6.0, 44.0) * (y - c.horizon) / c.height
        c.draw.ellipse(
            (x - a, y - a / 4, x + a, y + a / 4), fill=shade(colour, c.uniform(0.85, 1.0))
        )


def _tiles(c: _Canvas, colour: Colour, *, columns: int, rows: int) -> None:
    middle = c.width / 2
    for k in range(-columns, columns + 1):
        slope = k * 1.6 * c.width / columns
        share = (c.base - c.horizon) / (c.height - c.horizon)
        c.draw.line((middle + slope * share, c.base, middle + slope, c.height), fill=colour,
                    width=2)  # fmt: skip
    for k in range(rows):
        # Equal distances on the ground appear as one over the distance.
        y = c.horizon + (c.height - c.horizon) / (1 + k * 0.35)
        if y > c.base:
            c.draw.line((0, y, c.width, y), fill=colour, width=2)


def _houses(c: _Canvas, *, low: float, high: float) -> None:
    x = -c.uniform(0.0, 100.0)
    while x < c.width:
        width, wall = c.uniform(150.0, 380.0), c.pick(_WALLS)
        top = c.base - c.uniform(low, high) * c.height
        c.draw.rectangle((x, top, x + width, c.base), fill=wall)
        c.draw.rectangle((x, top, x + width, top + 10), fill=shade(wall, 0.75))
        step, glass = c.uniform(44.0, 70.0), shade((82, 98, 116), c.uniform(0.6, 1.3))
        for y in np.arange(top + 26, c.base - 40, step * 1.2):
            for window in np.arange(x + 18, x + width - 34, step):
                lit = glass if c.rng.random() < 0.8 else (226, 206, 148)
                box = (window, y, window + step * 0.5, y + step * 0.7)
                c.draw.rectangle(box, fill=lit, outline=shade(wall, 0.7), width=2)
        x += width + c.uniform(-2.0, 40.0)


def _shops(c: _Canvas) -> None:
    x, front = -c.uniform(0.0, 60.0), 0.34 * c.height
    while x < c.width:
        width, sign = c.uniform(220.0, 380.0), c.pick(_SIGNS)
        top = c.base - front
        c.draw.rectangle((x, top, x + width, c.base), fill=shade(c.pick(_WALLS), 0.8))
        c.draw.rectangle((x + 6, top + 6, x + width - 6, top + 0.2 * front), fill=sign)
        for letter in np.arange(x + 30, x + width - 50, 26):
            box = (letter, top + 14, letter + 14, top + 0.2 * front - 8)
            c.draw.rectangle(box, fill=(236, 232, 220))
        glass = shade((94, 106, 112), c.uniform(0.6, 1.5))
        window = (x + 14, top + 0.26 * front, x + 0.68 * width, c.base - 16)
        c.draw.rectangle(window, fill=glass, outline=(54, 54, 56), width=4)
        c.draw.rectangle((x + 0.74 * width, top + 0.28 * front, x + 0.93 * width, c.base),
                         fill=shade(sign, 0.55))  # fmt: skip
        if c.rng.random() < 0.5:
            _poster(c, x + 0.2 * width, top + 0.34 * front, 0.5 * front)
        x += width + c.uniform(0.0, 12.0)


def _posters(c: _Canvas, top: float, count: int) -> None:
    for k in range(count):
        x = (k + c.uniform(0.1, 0.7)) * c.width / count
        _poster(c, x, top, 0.8 * (c.base - top))


def _poster(c: _Canvas, x: float, y: float, height: float) -> None:
    """Draw a framed picture of somebody who is not there."""
    width = height * 0.72
    c.draw.rectangle((x, y, x + width, y + height), fill=c.pick(_SIGNS), outline=(236, 234, 228),
                     width=5)  # fmt: skip
    figure = draw_poster_figure(c.rng, height * c.uniform(0.7, 0.82))
    left = int(x + width / 2 - figure.width / 2)
    c.image.paste(figure, (left, int(y + height - figure.height - 8)), figure)


def _tree(c: _Canvas, x: float, height: float) -> None:
    size = height * c.height * c.uniform(0.8, 1.2)
    leaf = c.pick(((74, 106, 62), (92, 120, 66), (62, 92, 66), (112, 122, 62)))
    foot = c.base + 4
    c.draw.rectangle((x - size * 0.035, foot - size * 0.6, x + size * 0.035, foot),
                     fill=(84, 66, 50))  # fmt: skip
    for _ in range(18):
        a = x + c.uniform(-0.24, 0.24) * size
        b = foot - size * c.uniform(0.45, 0.95)
        r = size * c.uniform(0.09, 0.17)
        c.draw.ellipse((a - r, b - r, a + r, b + r), fill=shade(leaf, c.uniform(0.78, 1.2)))


def _cloud(c: _Canvas) -> None:
    x, y = c.uniform(0.0, c.width), c.uniform(0.02, 0.5) * c.horizon
    for _ in range(5):
        a, r = x + c.uniform(-60.0, 60.0), c.uniform(14.0, 30.0)
        c.draw.ellipse((a - 1.8 * r, y - r, a + 1.8 * r, y + r), fill=(238, 240, 240))


PLACES: dict[str, Callable[[_Canvas], None]] = {
    "street": _street,
    "park": _park,
    "hall": _hall,
    "station": _station,
    "square": _square,
    "car_park": _car_park,
}
"""The way to draw each kind of place; camera k watches kind k, then from the first again."""
