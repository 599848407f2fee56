"""The texture of a garment, which is laid over the canvas of a figure."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from fdps.data.synthetic.brush import Brush, Paint
from fdps.data.synthetic.identity import Garment

Grid = np.ndarray
"""Coordinates of every pixel in body heights from the middle of the collar (or belt)."""


def cloth(brush: Brush, garment: Garment, *, top: float, is_back: bool = False) -> Paint:
    """Return the paint of a garment: a colour if it is plain, else a texture.

    Args:
        brush: The canvas to cover.
        garment: The garment; its pattern hangs from ``top`` and does not swing with the limbs.
        top: Place where the garment begins, in units below the top of the canvas.
        is_back: Whether it is seen from behind, where a logo does not show.
    """
    if garment.pattern == "plain" or (garment.pattern == "logo" and is_back):
        return garment.colour
    width, height = brush.image.size
    x = ((np.arange(width, dtype=np.float32) - brush.middle_px) / brush.scale)[None, :]
    y = (np.arange(height, dtype=np.float32) / brush.scale - top)[:, None]
    is_second = np.broadcast_to(_IS_SECOND[garment.pattern](x, y, garment.period), (height, width))
    mask = Image.fromarray(is_second.astype(np.uint8) * 255)
    texture = Image.new("RGB", (width, height), garment.colour)
    texture.paste(garment.second, (0, 0), mask)
    return texture


def _wave(t: Grid, period: float, share: float = 0.5) -> Grid:
    return np.asarray(np.mod(t / period, 1.0) < share)


def _dots(x: Grid, y: Grid, period: float) -> Grid:
    row = np.floor(y / period)
    dx = np.mod(x / period + 0.5 * np.mod(row, 2), 1.0) - 0.5
    dy = np.mod(y / period, 1.0) - 0.5
    return np.asarray(dx**2 + dy**2 < 0.09)


_IS_SECOND: dict[str, Callable[[Grid, Grid, float], Grid]] = {
    "hoops": lambda x, y, p: _wave(y, p),
    "pinstripes": lambda x, y, p: _wave(x + p / 4, p * 0.7, 0.4),
    "checks": lambda x, y, p: _wave(y, p) ^ _wave(x + p / 4, p),
    "dots": _dots,
    "logo": lambda x, y, p: (abs(x) < 0.055) & (y > 0.07) & (y < 0.18),
    "two_tone": lambda x, y, p: y > 0.16,
    "sash": lambda x, y, p: abs(x + 0.9 * y - 0.14) < 0.04,
    "panels": lambda x, y, p: abs(x) > 0.05,
}
