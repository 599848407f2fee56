"""Draw what was found into pictures: solid frames with scores, dashed ones for the truth.

Found and annotated are told apart by the line as well as by its colour, so that a sheet says the
same in grey.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from fdps.analysis.tiles import (
    GAP,
    INK,
    PAPER,
    below_each_other,
    in_rows,
    sheet_of,
    text_block,
)
from fdps.structures import Boxes, Detections, Picture

FOUND, ANNOTATED = (190, 72, 0), (86, 190, 240)
"""Colours of the frames, which colour-blind readers tell apart."""

_SOFT = (84, 93, 105)
_LABEL, _FONT, _SCORE_FONT = 24, 15, 12  # pixels
_DASH, _SPACE = 7, 9  # pixels of a dashed frame


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture of a sheet.

    Args:
        name: Name of the scene.
        image: The picture.
        found: Detections of the network in it.
        truth: Boxes annotated in it; ``None`` where nobody annotated it.
    """

    name: str
    image: Picture
    found: Detections
    truth: Boxes | None = None


def draw_detections(
    image: Picture, found: Detections, truth: Boxes | None = None, *, width: int | None = None
) -> Image.Image:
    """Draw detections and annotations into a copy of a picture.

    Args:
        image: The picture.
        found: Detections in pixels of the picture; solid frames with the score above.
        truth: Annotated boxes in pixels of the picture; dashed frames.
        width: Width in pixels to scale the picture to before drawing, so that lines and scores keep
            their size.

    Returns:
        An RGB picture; it is neither shown nor saved.
    """
    drawn, scale = Image.fromarray(image), 1.0
    if width is not None:
        scale = width / drawn.width
        drawn = drawn.resize((width, max(1, round(drawn.height * scale))))
    pen = ImageDraw.Draw(drawn)
    boxes, scores = (found.boxes * scale).tolist(), found.scores.tolist()
    for x1, y1, x2, y2 in reversed(boxes):  # the best on top
        pen.rectangle((x1 - 2, y1 - 2, x2 + 2, y2 + 2), outline=PAPER, width=4)  # on any ground
        pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=FOUND, width=2)
    for box in () if truth is None else (truth * scale).tolist():
        _dashed_frame(pen, box)
    for (x1, y1, _, _), score in zip(reversed(boxes), reversed(scores), strict=True):
        _write_score(pen, (x1, y1), f"{score:.2f}")
    return drawn


def sample_sheet(samples: Sequence[Sample], *, columns: int = 3, width: int = 480) -> Image.Image:
    """Lay out pictures side by side, each with its name and how many people it has.

    Args:
        samples: Pictures; without any, the sheet says so.
        columns: Number of pictures in a row, at least 1.
        width: Width to which every picture is scaled, in pixels.

    Returns:
        An RGB picture; it is neither shown nor saved.
    """
    cells = [_cell(sample, width) for sample in samples]
    nobody = text_block("No picture was chosen.", width, size_px=_FONT)
    legend = Image.new("RGB", (width, _LABEL), PAPER)
    sheet = below_each_other([sheet_of(in_rows(cells or [nobody], columns)), legend])
    if samples:
        top = sheet.height - _LABEL
        _write_legend(sheet, top, has_truth=any(s.truth is not None for s in samples))
    return sheet


def _cell(sample: Sample, width: int) -> Image.Image:
    picture = draw_detections(sample.image, sample.found, sample.truth, width=width)
    counts = f"{len(sample.found)} found"
    if sample.truth is not None:
        counts += f", {len(sample.truth)} annotated"
    needed = round(ImageFont.load_default(_FONT).getlength(counts)) + 1
    name = text_block(sample.name, max(width - needed - GAP, _FONT), size_px=_FONT)
    label = Image.new("RGB", (width, max(name.height, _LABEL)), PAPER)
    label.paste(name, (0, 0))
    label.paste(text_block(counts, needed, size_px=_FONT, ink=_SOFT), (width - needed, 0))
    return below_each_other([label, picture])


def _write_score(pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str) -> None:
    """Write a score on the frame's colour, above its corner or, at the upper border, below it."""
    font = ImageFont.load_default(_SCORE_FONT)
    x, y = max(corner[0], 3.0), corner[1] - _SCORE_FONT - 6
    y = y if y >= 0 else corner[1] + 2
    left, top, right, bottom = pen.textbbox((x, y), text, font=font)
    pen.rectangle((left - 3, top - 2, right + 2, bottom + 2), fill=FOUND)
    pen.text((x, y), text, fill=PAPER, font=font)


def _dashed_frame(pen: ImageDraw.ImageDraw, box: Sequence[int | float]) -> None:
    x1, y1, x2, y2 = (round(edge) for edge in box)
    across = [(x, y, min(x + _DASH, x2), y) for x in _starts(x1, x2) for y in (y1, y2)]
    down = [(x, y, x, min(y + _DASH, y2)) for y in _starts(y1, y2) for x in (x1, x2)]
    for grown, colour in ((2, INK), (1, ANNOTATED)):  # a dark rim, seen on any ground
        for left, top, right, bottom in across + down:
            corners = (left - grown, top - grown, right + grown - 1, bottom + grown - 1)
            pen.rectangle(corners, fill=colour)


def _starts(first: int, last: int) -> range:
    return range(first, max(last, first + 1), _DASH + _SPACE)


def _write_legend(sheet: Image.Image, top: int, *, has_truth: bool) -> None:
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    middle = top + 8
    pen.rectangle((GAP, middle - 1, GAP + 42, middle), fill=FOUND)
    text = "found, with score"
    pen.text((GAP + 52, top - 2), text, fill=_SOFT, font=font)
    if has_truth:
        left = GAP + 52 + round(pen.textlength(text, font=font)) + 3 * GAP
        _dashed_frame(pen, (left, middle, left + 42, middle))
        pen.text((left + 52, top - 2), "annotated", fill=_SOFT, font=font)
