"""Find the upright boxes of the shapes that annotation tools write.

A person search needs one upright box for each person. Tools also write rectangles that are turned,
outlines, masks and ellipses: their box is the smallest upright one around the shape. Points and
skeletons mark places on a person and not the person, so nothing is made of them.
"""

import math
from collections.abc import Sequence

from fdps.errors import AnnotationError

Corners = tuple[float, float, float, float]
"""The corners of a box, ``x1 y1 x2 y2``."""

_ONE = 1 + 1e-9  # 1 with the rounding error of an addition and a subtraction


def upright_box(corners: Corners, degrees: float) -> Corners:
    """Return the smallest upright box around a rectangle that is turned about its centre.

    Args:
        corners: Corners ``x1 y1 x2 y2`` before the rectangle is turned.
        degrees: The angle; its direction does not matter, because the box is the same for both.

    Example:
        >>> upright_box((30.0, 50.0, 55.0, 110.0), 90.0)
        (12.5, 67.5, 72.5, 92.5)
    """
    x1, y1, x2, y2 = corners
    width, height = x2 - x1, y2 - y1
    # Rounding keeps a quarter turn exact, where the cosine of 90 degrees is 6e-17.
    cos, sin = (abs(round(f(math.radians(degrees)), 12)) for f in (math.cos, math.sin))
    half_width = (width * cos + height * sin) / 2
    half_height = (width * sin + height * cos) / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def ellipse_box(x: float, y: float, rx: float, ry: float, degrees: float) -> Corners:
    """Return the smallest upright box around an ellipse.

    Args:
        x: Centre along x.
        y: Centre along y.
        rx: Half axis along x, before it is turned.
        ry: Half axis along y, before it is turned.
        degrees: Angle by which the ellipse is turned about its centre.

    Example:
        >>> ellipse_box(50.0, 40.0, 10.0, 30.0, 90.0)
        (20.0, 30.0, 80.0, 50.0)
    """
    cos, sin = (round(f(math.radians(degrees)), 12) for f in (math.cos, math.sin))
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return x - half_width, y - half_height, x + half_width, y + half_height


def box_around(points: Sequence[tuple[float, float]]) -> Corners:
    """Return the smallest upright box around points, of which there is at least one.

    Example:
        >>> box_around([(3.0, 9.0), (1.0, 4.0), (2.0, 12.0)])
        (1.0, 4.0, 3.0, 12.0)
    """
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def check_pixels(corners: Corners, size: tuple[int, int], where: str) -> None:
    """Refuse coordinates that are shares of the picture where pixels are meant.

    Args:
        corners: Two corners, or what a file states as such; where it states width and height, the
            second corner follows from them.
        size: Width and height of the picture.
        where: File and row, for the message.

    Raises:
        AnnotationError: The numbers are fractions and none is above 1, in a larger picture.
    """
    x1, y1, x2, y2 = corners
    whole = all(float(value).is_integer() for value in corners)  # a box of one pixel
    # A centre or a first corner, and a width and height, are shares too.
    beginnings, ends, sizes = (x1, y1), (x2, y2), (x2 - x1, y2 - y1)
    are_shares = all(abs(value) <= _ONE for value in beginnings) and (
        all(abs(value) <= _ONE for value in ends) or all(0 < value <= _ONE for value in sizes)
    )
    if max(size) > 2 and not whole and are_shares:
        raise AnnotationError(
            f"{where}: the box {list(corners)} lies within one pixel of a picture of "
            f"{size[0]}×{size[1]}: its coordinates look like shares of the picture",
            hint="boxes are in pixels: multiply x by the width and y by the height",
        )
