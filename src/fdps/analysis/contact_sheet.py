"""A contact sheet: scenes side by side with the boxes and identities that are annotated."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fdps.analysis.tiles import PAPER, below_each_other, in_rows, sheet_of, text_block
from fdps.errors import UsageError
from fdps.pictures import read_picture
from fdps.structures import UNLABELLED, Scene, SceneSet

_UNNAMED = (110, 118, 128)
_NAMED = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (123, 79, 163), (184, 134, 11))
_FONT = 13  # size of the letters, in pixels


def choose(scenes: SceneSet, n: int, seed: int) -> list[Scene]:
    """Draw scenes at random, in data set order; equal seeds draw equal scenes."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(scenes))[:n]
    return [scenes.scenes[row] for row in sorted(rows.tolist())]


def draw_sheet(scenes: Sequence[Scene], *, columns: int = 4, width: int = 320) -> Image.Image:
    """Draw scenes with their boxes; a person without identity is grey, with a "?".

    Args:
        scenes: Scenes, at least one.
        columns: Number of scenes in a row.
        width: Width of a scene on the sheet, in pixels.

    Raises:
        UsageError: There is no scene, or a size makes no sense.
        PictureError: A picture cannot be decoded.
        MissingDataError: A picture is gone.
    """
    if not scenes or columns < 1 or width < 16:
        raise UsageError(
            f"a sheet needs a scene, a column and 16 pixels, got {len(scenes)}, {columns}, {width}"
        )
    cells = [_cell(scene, width) for scene in scenes]
    return sheet_of(in_rows(cells, columns))


def _cell(scene: Scene, width: int) -> Image.Image:
    picture = Image.fromarray(read_picture(scene.path))
    scale = width / picture.width
    picture = picture.resize((width, max(round(picture.height * scale), 1)))
    caption = text_block(scene.name, width, size_px=_FONT)
    cell, above = below_each_other([caption, picture]), caption.height
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(_FONT)
    for box, person_id in zip(scene.boxes.tolist(), scene.person_ids.tolist(), strict=True):
        colour = _UNNAMED if person_id == UNLABELLED else _NAMED[person_id % len(_NAMED)]
        x1, y1, x2, y2 = (edge * scale for edge in box)
        corners = (x1, y1 + above, max(x2, x1 + 1), max(y2, y1 + 1) + above)
        draw.rectangle(corners, outline=colour, width=2)
        name = "?" if person_id == UNLABELLED else str(person_id)
        # The label is above the box where there is room, so that nobody's head is covered.
        place = (x1 + 2, max(y1 + above - _FONT - 4, above))
        left, top, right, bottom = draw.textbbox(place, name, font=font)
        draw.rectangle((left - 2, top - 1, right + 2, bottom + 1), fill=colour)
        draw.text(place, name, fill=PAPER, font=font)
    return cell
