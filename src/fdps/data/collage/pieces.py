"""Things that stand among the people and hide them: shapes cut out of backgrounds."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fdps.data.collage.backgrounds import Background, cut_patch

_Draw = Callable[[ImageDraw.ImageDraw, int, int, np.random.Generator], None]


def draw_piece(
    backgrounds: Sequence[Background], body_px: float, rng: np.random.Generator
) -> Image.Image:
    """Draw a sprite of a post, a box or a bush with the texture of a background.

    Args:
        backgrounds: Where the texture comes from; parts with people in them are not taken.
        body_px: Height of a person at the same place, in pixels.
        rng: Decides everything.

    Raises:
        MissingDataError: A background is not there any more.
        PictureError: It cannot be decoded.
    """
    name = list(_KINDS)[int(rng.integers(len(_KINDS)))]
    (narrow, wide), (low, high), draw = _KINDS[name]
    width = max(3, round(body_px * rng.uniform(narrow, wide)))
    height = max(3, round(body_px * rng.uniform(low, high)))
    piece = cut_patch(backgrounds, (width, height), rng)
    alpha = Image.new("L", piece.size)
    draw(ImageDraw.Draw(alpha), width, height, rng)
    piece.putalpha(alpha.filter(ImageFilter.GaussianBlur(0.7)))
    return piece


def _post(draw: ImageDraw.ImageDraw, width: int, height: int, rng: np.random.Generator) -> None:
    draw.rectangle((0, 0, width, height), fill=255)


def _box(draw: ImageDraw.ImageDraw, width: int, height: int, rng: np.random.Generator) -> None:
    corner = rng.uniform(0.05, 0.3) * min(width, height)
    # Rounded above only: below it stands on the ground.
    draw.rounded_rectangle((0, 0, width - 1, height + corner), corner, fill=255)


def _bush(draw: ImageDraw.ImageDraw, width: int, height: int, rng: np.random.Generator) -> None:
    leaf = max(2.0, 0.07 * min(width, height))
    for _ in range(260):
        angle, away = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0.0, 1.0))
        x = width / 2 * (1 + 0.9 * away * np.cos(angle))
        y = height / 2 * (1 + 0.9 * away * np.sin(angle))
        a, b = leaf * rng.uniform(0.7, 1.8, size=2)
        draw.ellipse((x - a, y - b, x + a, y + b), fill=255)
    draw.ellipse((0.2 * width, 0.25 * height, 0.8 * width, height), fill=255)


_KINDS: dict[str, tuple[tuple[float, float], tuple[float, float], _Draw]] = {
    "post": ((0.04, 0.14), (1.1, 2.4), _post),
    "box": ((0.5, 1.8), (0.25, 0.75), _box),
    "bush": ((0.5, 1.3), (0.35, 0.85), _bush),
}
"""Widths and heights in body heights, and the shape."""
