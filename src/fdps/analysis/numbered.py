"""A picture whose people are numbered, so that a user can name one of them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fdps.structures import Detections, Picture

COLOURS = ((0, 114, 178), (190, 72, 0), (0, 120, 90), (123, 79, 163), (146, 94, 0))
"""Colours of the frames in turn. White numbers are legible on all of them."""

_PAPER = (255, 255, 255)
_LEAST_SIDE = 640  # pixels; a smaller picture is enlarged, or its numbers would hide its people
_FONT_SHARE, _LEAST_FONT = 1 / 55, 15  # share of the longer side; pixels
_Corners = tuple[float, float, float, float]


def numbered_picture(image: Picture, detections: Detections) -> Image.Image:
    """Draw a frame with a number around everybody who was found.

    The numbers are those that ``fdps search --query PICTURE --person N`` takes: the best detection
    is 1. Lines and numbers grow with the picture, so that they are legible wherever it is shown as
    a whole.

    Args:
        image: The picture in which the people were found.
        detections: The people, in pixels of the picture. Without any, the picture stays as it is.

    Returns:
        An RGB picture; if its longer side is below 640 pixels, it is enlarged to that.
    """
    drawn = Image.fromarray(image)
    longer = max(drawn.size)
    scale = max(_LEAST_SIDE / longer, 1.0)
    if scale > 1:
        size = (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale)))
        drawn = drawn.resize(size, Image.Resampling.BICUBIC)
    boxes: list[_Corners] = [tuple(box) for box in (detections.boxes * scale).tolist()]
    pen, font_px = ImageDraw.Draw(drawn), max(_LEAST_FONT, round(longer * scale * _FONT_SHARE))
    line = max(2, font_px // 8)
    for number, (x1, y1, x2, y2) in reversed(list(enumerate(boxes))):  # the best is on top
        rim = (x1 - line, y1 - line, x2 + line, y2 + line)
        pen.rectangle(rim, outline=_PAPER, width=2 * line)  # a light rim is seen on any ground
        inner = (x1 - line / 2, y1 - line / 2, x2 + line / 2, y2 + line / 2)
        pen.rectangle(inner, outline=_colour(number), width=line)
    _write_numbers(drawn, boxes, font_px)
    return drawn


def _write_numbers(drawn: Image.Image, boxes: Sequence[_Corners], font_px: int) -> None:
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(font_px)
    taken = np.zeros((0, 4))
    for number, box in enumerate(boxes):
        text = str(number + 1)
        size = (pen.textlength(text, font=font) + 0.6 * font_px, 1.3 * font_px)
        label = _place(box, size, drawn.size, taken)
        taken = np.vstack([taken, label])
        pen.rectangle(label, fill=_colour(number), outline=_PAPER, width=max(1, font_px // 15))
        middle = ((label[0] + label[2]) / 2, (label[1] + label[3]) / 2)
        pen.text(middle, text, fill=_PAPER, font=font, anchor="mm")


def _place(
    box: _Corners, size: tuple[float, float], limits: tuple[int, int], taken: np.ndarray
) -> _Corners:
    """Choose where a label goes: inside the picture, and where it covers other labels least.

    Above the frame nobody's face is covered, so that is tried first.
    """
    (x1, y1, x2, y2), (width, height) = box, size
    tops, lefts = (y1 - height, y2, y1, y2 - height), (x1, x2 - width, (x1 + x2 - width) / 2)
    places = []
    for top in tops:
        for left in lefts:
            left_in = min(max(left, 0.0), max(limits[0] - 1 - width, 0.0))
            top_in = min(max(top, 0.0), max(limits[1] - 1 - height, 0.0))
            places.append((left_in, top_in, left_in + width, top_in + height))
    return min(places, key=lambda place: _covered(place, taken))  # the first one of equals


def _covered(place: _Corners, taken: np.ndarray) -> float:
    """Return how many pixels of other labels a label would cover."""
    starts = np.maximum(taken[:, :2], place[:2])
    ends = np.minimum(taken[:, 2:], place[2:])
    return float((ends - starts).clip(0).prod(axis=1).sum())


def _colour(number: int) -> tuple[int, int, int]:
    return COLOURS[number % len(COLOURS)]
