"""Pictures as bytes for a browser: upright, without any metadata, never larger than they need be.

Axes in shapes: H rows, W columns.
"""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageFilter

from fdps.analysis.tiles import person_panel, shrunk, without_bystanders
from fdps.structures import Picture

MEDIA_TYPE = "image/webp"
LONGEST_SIDE = 2048
_QUALITY, _EFFORT = 82, 1  # of 0..6: more takes three times as long for a tenth of the bytes


def encoded(image: Image.Image) -> bytes:
    """Write a picture as WebP."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=_QUALITY, method=_EFFORT)
    return stream.getvalue()


def preview(picture: Picture, longest: int = LONGEST_SIDE) -> bytes:
    """Encode a picture, scaled down so that no side is longer."""
    image = Image.fromarray(picture)
    image.thumbnail((longest, longest), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return encoded(image)


def crop(picture: Picture, box: Float32[np.ndarray, " 4"], height_px: int) -> bytes:
    """Encode a person and their surroundings."""
    return encoded(person_panel(*shrunk(picture, box, height_px), height_px))


def with_blurred(picture: Picture, boxes: Sequence[Float32[np.ndarray, " 4"]]) -> Picture:
    """Blur the people in these boxes, so that they cannot be told."""
    blurred = picture.copy()
    height, width = picture.shape[:2]
    for box in boxes:
        x1, y1 = np.floor(box[:2]).astype(int).clip(0).tolist()
        x2, y2 = (int(value) for value in np.ceil(box[2:]).clip(0, (width, height)))
        if x2 <= x1 or y2 <= y1:
            continue
        part = Image.fromarray(blurred[y1:y2, x1:x2])
        radius = max((y2 - y1) / 6, 4)
        blurred[y1:y2, x1:x2] = part.filter(ImageFilter.GaussianBlur(radius))
    return blurred


def with_one_person(picture: Picture, box: Float32[np.ndarray, " 4"]) -> Picture:
    """Blur everything but one person."""
    return without_bystanders(picture, box)
