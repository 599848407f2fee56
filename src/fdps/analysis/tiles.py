"""What sheets of people are put together from: a person enlarged, a frame, a label."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fdps.structures import Picture

PAPER, INK = (255, 255, 255), (28, 32, 38)
GAP, FRAME, LABEL = 12, 6, 34
"""Between tiles, around pictures, and above them for a line of text; pixels."""

_GREY = (232, 235, 239)
_FONT = 22  # pixels
_MARGIN = 0.15  # of the size of a person, added around a crop


def person_panel(picture: Picture, box: Float32[np.ndarray, " 4"], height_px: int) -> Image.Image:
    """The person and what is around, as a panel half as wide as high; grey outside the picture."""
    x1, y1, x2, y2 = box.tolist()
    height = (1 + 2 * _MARGIN) * max(y2 - y1, 2 * (x2 - x1))
    left = _moved_inside((x1 + x2 - height / 2) / 2, height / 2, picture.shape[1])
    top = _moved_inside((y1 + y2 - height) / 2, height, picture.shape[0])
    # A border wide enough for every crop: Image.resize refuses to look outside the picture.
    border = int(height) + 1
    padded = Image.new("RGB", (picture.shape[1] + 2 * border, picture.shape[0] + 2 * border), _GREY)
    padded.paste(Image.fromarray(picture), (border, border))
    region = (left + border, top + border, left + border + height / 2, top + border + height)
    return padded.resize((height_px // 2, height_px), Image.Resampling.BICUBIC, box=region)


def _moved_inside(start: float, length: float, limit: int) -> float:
    """Shift an interval into 0..limit; one that is too long is centred there."""
    return (limit - length) / 2 if length > limit else min(max(start, 0.0), limit - length)


def framed(parts: Sequence[Image.Image], colour: tuple[int, int, int]) -> Image.Image:
    """Put parts of one height side by side into a frame, with room for a label above."""
    width = sum(part.width for part in parts) + FRAME * (len(parts) + 1)
    height = parts[0].height + 2 * FRAME
    tile = Image.new("RGB", (width, LABEL + height), PAPER)
    ImageDraw.Draw(tile).rectangle((0, LABEL, width - 1, LABEL + height - 1), fill=colour)
    left = FRAME
    for part in parts:
        tile.paste(part, (left, LABEL + FRAME))
        left += part.width + FRAME
    return tile


def write(
    image: Image.Image, position: tuple[int, int], text: str, *, size_px: int = _FONT
) -> None:
    """Write a line; a text that does not fit loses its beginning."""
    font, room = ImageFont.load_default(size=size_px), image.width - position[0]
    while len(text) > 1 and font.getlength(text) > room:
        text = text[1:]
    ImageDraw.Draw(image).text(position, text, fill=INK, font=font)


def without_bystanders(picture: Picture, box: Float32[np.ndarray, " 4"]) -> Picture:
    """Blur everything but one person, so that nobody else can be told; the place still can.

    Everything, because a detector misses people. Who stands in the box, before or behind the
    person, stays to be seen.
    """
    height, width = picture.shape[:2]
    x1, y1 = np.floor(box[:2]).astype(int).clip(0).tolist()
    x2, y2 = (int(value) for value in np.ceil(box[2:]).clip(0, (width, height)))
    radius = max((y2 - y1) / 6, height / 40, 4)  # bystanders are about as large as the person
    blurred = np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))
    blurred[y1:y2, x1:x2] = picture[y1:y2, x1:x2]
    return blurred
