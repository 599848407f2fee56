"""The parts of sheets of people: a person enlarged, a frame, a text, and rows of them."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fdps.names import printable
from fdps.structures import Picture

PAPER, INK = (255, 255, 255), (28, 32, 38)
GAP, FRAME = 12, 6
"""Space between tiles, and around pictures, in pixels."""

_GREY = (232, 235, 239)
_MARK = (86, 190, 240)  # seen on any picture, and different from the colours of levels
_WIDEST = 2.4  # most times that a scene is as wide as high
_MARGIN = 0.15  # share of the size of a person that is added around a crop


def person_panel(picture: Picture, box: Float32[np.ndarray, " 4"], height_px: int) -> Image.Image:
    """Cut out a person and their surroundings, half as wide as high; grey outside the picture."""
    x1, y1, x2, y2 = box.tolist()
    height = (1 + 2 * _MARGIN) * max(y2 - y1, 2 * (x2 - x1))
    left = _moved_inside((x1 + x2 - height / 2) / 2, height / 2, picture.shape[1])
    top = _moved_inside((y1 + y2 - height) / 2, height, picture.shape[0])
    # The border is wide enough for every crop: Image.resize refuses to look outside the picture.
    border = int(height) + 1
    padded = Image.new("RGB", (picture.shape[1] + 2 * border, picture.shape[0] + 2 * border), _GREY)
    padded.paste(Image.fromarray(picture), (border, border))
    region = (left + border, top + border, left + border + height / 2, top + border + height)
    return padded.resize((height_px // 2, height_px), Image.Resampling.BICUBIC, box=region)


def scene_panel(picture: Picture, box: Float32[np.ndarray, " 4"], height_px: int) -> Image.Image:
    """Draw a scene with a frame around a person; of a panorama, the part around them."""
    height, width = picture.shape[:2]
    widest = round(_WIDEST * height)
    left = int(np.clip((box[0] + box[2]) / 2 - widest / 2, 0, max(width - widest, 0)))
    part = Image.fromarray(picture[:, left : left + widest])
    scale = height_px / height
    scene = part.resize((max(1, round(part.width * scale)), height_px))
    x1, y1, x2, y2 = ((box - (left, 0, left, 0)) * scale).tolist()
    pen = ImageDraw.Draw(scene)
    pen.rectangle((x1 - 2, y1 - 2, x2 + 2, y2 + 2), outline=PAPER, width=5)
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=_MARK, width=3)
    return scene


def marked(picture: Picture, box: Float32[np.ndarray, " 4"]) -> Picture:
    """Draw a frame around a person; every pixel inside the box stays as it is."""
    line = max(3, len(picture) // 300)
    inner = (*np.floor(box[:2]).astype(int).tolist(), *np.ceil(box[2:]).astype(int).tolist())
    framed_picture = Image.fromarray(picture)
    pen = ImageDraw.Draw(framed_picture)
    for grown, colour in ((2 * line, PAPER), (line, _MARK)):
        corners = (inner[0] - grown, inner[1] - grown, inner[2] + grown - 1, inner[3] + grown - 1)
        pen.rectangle(corners, outline=colour, width=line)
    return np.array(framed_picture)


def shrunk(
    picture: Picture, box: Float32[np.ndarray, " 4"], height_px: int
) -> tuple[UInt8[np.ndarray, "_ _ 3"], Float32[np.ndarray, " 4"]]:
    """Shrink a picture, and a box in it, as far as panels of this height do not show.

    A picture of a phone is much larger than what a page shows of it, and blurring it takes long.
    """
    height = max(float(box[3] - box[1]), 2 * float(box[2] - box[0]))
    factor = int(min(picture.shape[0], height) // height_px)
    if factor < 2:
        return picture, box
    return np.array(Image.fromarray(picture).reduce(factor)), box / np.float32(factor)


def _moved_inside(start: float, length: float, limit: int) -> float:
    """Shift an interval into 0..limit; one that is too long is centred there."""
    return (limit - length) / 2 if length > limit else min(max(start, 0.0), limit - length)


def framed(parts: Sequence[Image.Image], colour: tuple[int, int, int]) -> Image.Image:
    """Put parts of one height side by side into a frame."""
    width = sum(part.width for part in parts) + FRAME * (len(parts) + 1)
    tile = Image.new("RGB", (width, parts[0].height + 2 * FRAME), colour)
    left = FRAME
    for part in parts:
        tile.paste(part, (left, FRAME))
        left += part.width + FRAME
    return tile


def text_block(
    text: str, width: int, *, size_px: int, ink: tuple[int, int, int] = INK
) -> Image.Image:
    """Write a text in as many lines as it needs, so that nothing of it is cut off.

    Args:
        text: Text to write; control characters in it become visible escapes.
        width: Width of the block in pixels.
        size_px: Size of the letters, in pixels.
        ink: Colour of the text.
    """
    font, height = ImageFont.load_default(size=size_px), round(1.5 * size_px)
    lines = _broken(printable(text), lambda line: font.getlength(line) <= width)
    block = Image.new("RGB", (width, height * len(lines)), PAPER)
    pen = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        pen.text((0, number * height + size_px // 8), line, fill=ink, font=font)
    return block


def _broken(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Break a text after spaces and slashes, or anywhere in a word that is too long for a line."""
    lines = [""]
    for word in re.findall(r"[^ /]*[ /]?", text):
        if not fits((lines[-1] + word).rstrip()) and lines[-1]:
            lines.append("")
        for letter in word:
            if not fits(lines[-1] + letter.strip()) and lines[-1]:
                lines.append("")
            lines[-1] += letter
    return lines


def below_each_other(parts: Sequence[Image.Image]) -> Image.Image:
    """Stack parts without a gap, aligned at the left."""
    size = (max(part.width for part in parts), sum(part.height for part in parts))
    stack, top = Image.new("RGB", size, PAPER), 0
    for part in parts:
        stack.paste(part, (0, top))
        top += part.height
    return stack


def in_rows(tiles: Sequence[Image.Image], columns: int) -> list[Sequence[Image.Image]]:
    """Split tiles into rows."""
    return [tiles[k : k + columns] for k in range(0, len(tiles), columns)]


def sheet_of(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Lay out rows of tiles with gaps; a row is as high as its highest tile."""
    width = max(sum(tile.width + GAP for tile in row) for row in rows) + GAP
    heights = [max(tile.height for tile in row) for row in rows]
    sheet = Image.new("RGB", (width, sum(heights) + GAP * (len(rows) + 1)), PAPER)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        left = GAP
        for tile in row:
            sheet.paste(tile, (left, top))
            left += tile.width + GAP
        top += height + GAP
    return sheet


def without_bystanders(picture: Picture, box: Float32[np.ndarray, " 4"]) -> Picture:
    """Blur everything but one person, so that nobody else can be told; the place still can.

    Everything is blurred, because a detector misses people. People who stand in the box, before or
    behind the person, remain visible.
    """
    height, width = picture.shape[:2]
    x1, y1 = np.floor(box[:2]).astype(int).clip(0).tolist()
    x2, y2 = (int(value) for value in np.ceil(box[2:]).clip(0, (width, height)))
    radius = max((y2 - y1) / 6, height / 40, 4)  # bystanders are about as large as the person
    factor = int(radius // 4)  # a blur hides what a smaller picture lacks, and is quicker there
    small = Image.fromarray(picture).reduce(factor)
    small = small.filter(ImageFilter.GaussianBlur(radius / factor))
    blurred = np.array(small.resize((width, height), Image.Resampling.BILINEAR))
    blurred[y1:y2, x1:x2] = picture[y1:y2, x1:x2]
    return blurred
