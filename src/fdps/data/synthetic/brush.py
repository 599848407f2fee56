"""Draw in body heights on a transparent canvas that is shrunk at the end.

A *sprite* is an RGBA picture of one thing that stands on the ground: the middle of its lower edge
is the point of the ground below it. One unit is the height of an average grown-up. x runs to the
right from the middle, y runs down from 0 at the top of the canvas to the ground at ``ground``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil, floor, hypot

from PIL import Image, ImageDraw

Point = tuple[float, float]
Paint = tuple[int, int, int] | Image.Image
"""A colour, or a texture of the size of the canvas."""

SUPERSAMPLING = 2


class Brush:
    """A canvas with shapes that have no jagged edges.

    Args:
        unit_px: Pixels of the finished sprite per unit.
        width: Width of the canvas, in units.
        height: Height of the canvas from its top to the ground, in units.
    """

    def __init__(self, unit_px: float, *, width: float, height: float) -> None:
        self.scale = unit_px * SUPERSAMPLING
        size = (_even(width * self.scale), _even(height * self.scale))
        self.image = Image.new("RGBA", size)
        self._draw = ImageDraw.Draw(self.image)
        self.middle_px = size[0] / 2
        self.ground = size[1] / self.scale

    def polygon(self, points: Sequence[Point], paint: Paint) -> None:
        """Fill a polygon."""
        outline = [self._px(point) for point in points]
        with self._pen(paint, _extent(outline)) as (draw, dx, dy, fill):
            draw.polygon([(x - dx, y - dy) for x, y in outline], fill=fill)

    def ellipse(self, centre: Point, radii: Point, paint: Paint) -> None:
        """Fill an upright ellipse."""
        x, y = self._px(centre)
        a, b = radii[0] * self.scale, radii[1] * self.scale
        with self._pen(paint, (x - a, y - b, x + a, y + b)) as (draw, dx, dy, fill):
            draw.ellipse((x - a - dx, y - b - dy, x + a - dx, y + b - dy), fill=fill)

    def limb(self, joints: Sequence[Point], widths: Sequence[float], paint: Paint) -> None:
        """Fill a chain of tapered pieces with round joints.

        Args:
            joints: Joints from the trunk outwards, at least two.
            widths: Width of the limb at each joint, in units.
            paint: Paint for all pieces.
        """
        px = [self._px(joint) for joint in joints]
        radii = [width * self.scale / 2 for width in widths]
        thick = max(radii)
        x1, y1, x2, y2 = _extent(px)
        extent = (x1 - thick, y1 - thick, x2 + thick, y2 + thick)
        with self._pen(paint, extent) as (draw, dx, dy, fill):
            px = [(x - dx, y - dy) for x, y in px]
            for (x, y), r in zip(px, radii, strict=True):
                draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
            for (ax, ay), (bx, by), ra, rb in zip(px, px[1:], radii, radii[1:], strict=False):
                length = max(hypot(bx - ax, by - ay), 1e-6)
                nx, ny = (ay - by) / length, (bx - ax) / length
                corners = [(ax + nx * ra, ay + ny * ra), (bx + nx * rb, by + ny * rb),
                           (bx - nx * rb, by - ny * rb), (ax - nx * ra, ay - ny * ra)]  # fmt: skip
                draw.polygon(corners, fill=fill)

    def line(self, points: Sequence[Point], width: float, paint: tuple[int, int, int]) -> None:
        """Draw a line of a width in units, at least one finished pixel."""
        thick = max(SUPERSAMPLING, round(width * self.scale))
        outline = [self._px(point) for point in points]
        self._draw.line(outline, fill=(*paint, 255), width=thick, joint="curve")

    def sprite(self) -> Image.Image:
        """Return the finished picture, without the supersampling."""
        return self.image.reduce(SUPERSAMPLING)

    def _px(self, point: Point) -> tuple[float, float]:
        return self.middle_px + point[0] * self.scale, point[1] * self.scale

    @contextmanager
    def _pen(
        self, paint: Paint, extent: tuple[float, float, float, float]
    ) -> Iterator[tuple[ImageDraw.ImageDraw, int, int, int | tuple[int, ...]]]:
        """Yield the means to draw a shape with: pen, offset of its paper and fill.

        A colour goes straight to the canvas. A texture is pasted through a mask that is no larger
        than the shape: most of the time went into masks of the whole canvas.
        """
        if not isinstance(paint, Image.Image):
            yield self._draw, 0, 0, (*paint, 255)
            return
        x1, y1 = max(0, floor(extent[0])), max(0, floor(extent[1]))
        x2, y2 = min(paint.width, ceil(extent[2]) + 1), min(paint.height, ceil(extent[3]) + 1)
        mask = Image.new("L", (max(1, x2 - x1), max(1, y2 - y1)))
        yield ImageDraw.Draw(mask), x1, y1, 255
        patch = paint.crop((x1, y1, x1 + mask.width, y1 + mask.height))
        self.image.paste(patch, (x1, y1), mask)


def _extent(points: Sequence[Point]) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def shade(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    """Return a darker (factor below 1) or lighter colour.

    Example:
        >>> shade((100, 200, 10), 1.5)
        (150, 255, 15)
    """
    red, green, blue = (min(255, max(0, round(value * factor))) for value in colour)
    return red, green, blue


def _even(pixels: float) -> int:
    return max(2, SUPERSAMPLING * round(pixels / SUPERSAMPLING))
