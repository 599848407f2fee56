"""People cut out of a picture: what every re-ID network on crops looks at.

Axes: N boxes, H and W of the picture, h and w of a crop.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fdps.structures import Boxes, Picture


def cut(image: Picture, boxes: Boxes) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Cut people out at the nearest pixels, at least one pixel each.

    Args:
        image: RGB.
        boxes: In its pixels; what lies outside the picture is cut off.

    Example:
        >>> image = np.zeros((40, 30, 3), np.uint8)
        >>> boxes = np.array([[2, 3, 12, 33], [29.9, 0, 30, 0.1]], np.float32)
        >>> [crop.shape for crop in cut(image, boxes)]
        [(30, 10, 3), (1, 1, 3)]
    """
    height, width = image.shape[:2]
    low = np.clip(boxes[:, :2].round(), 0, [width - 1, height - 1]).astype(int)
    high = np.maximum(np.clip(boxes[:, 2:].round(), 0, [width, height]).astype(int), low + 1)
    return [
        image[y1:y2, x1:x2] for (x1, y1), (x2, y2) in zip(low.tolist(), high.tolist(), strict=True)
    ]


def scaled(crop: UInt8[np.ndarray, "_ _ 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Bring a crop to a height and width: bilinear, smoothed where it shrinks."""
    height, width = size
    resized = Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def cut_scaled(image: Picture, boxes: Boxes, size: tuple[int, int]) -> UInt8[np.ndarray, "N h w 3"]:
    """Cut people out and bring them to one height and width."""
    crops = [scaled(crop, size) for crop in cut(image, boxes)]
    return np.stack(crops) if crops else np.zeros((0, *size, 3), dtype=np.uint8)
