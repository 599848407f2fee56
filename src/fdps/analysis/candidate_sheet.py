"""A contact sheet of a search: the person asked for, and candidates enlarged and in scenes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fdps.analysis.tiles import (
    FRAME,
    INK,
    PAPER,
    below_each_other,
    framed,
    in_rows,
    person_panel,
    scene_panel,
    sheet_of,
    text_block,
    without_bystanders,
)
from fdps.errors import UsageError
from fdps.search.results.candidates import Candidate
from fdps.search.times import shown_time
from fdps.structures import Picture

LEVEL_COLOURS = {"strong": (0, 130, 80), "worth a look": (190, 120, 0), "weak": (110, 118, 128)}
"""Colours of the frames; the level is also written above."""

_FONT, _SMALL = 22, 15  # sizes of the letters, in pixels


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A person on a sheet.

    Args:
        heading: Text above the person, such as rank and similarity.
        caption: Text below the person, such as place and time.
        box: Box of the person, in pixels of the picture.
        picture: The scene, or the reason why it cannot be shown.
        level: Level in words, which decides the colour of the frame.
    """

    heading: str
    caption: str
    box: Float32[np.ndarray, " 4"]
    picture: Picture | str
    level: str = ""


def shown_candidate(
    candidate: Candidate,
    picture: Picture | str,
    box: Float32[np.ndarray, " 4"] | None = None,
) -> Shown:
    """Describe a candidate for a sheet: rank, similarity and level above, time and place below.

    Args:
        candidate: The candidate.
        picture: The scene, or the reason why it cannot be shown.
        box: Box of the candidate in ``picture``, where that is not as large as the scene.
    """
    hit, scene = candidate.hit, candidate.scene
    known = [
        (scene and scene.time and shown_time(scene.time)) or "",
        (scene and scene.camera) or "",
        hit.scene,
    ]
    return Shown(
        f"{candidate.rank}   {hit.similarity:.2f}   {candidate.level or ''}   item {hit.item}",
        "   ".join(filter(None, known)),
        hit.box if box is None else box,
        picture,
        candidate.level or "",
    )


def candidate_sheet(
    query: Sequence[Shown],
    candidates: Sequence[Shown],
    *,
    columns: int = 3,
    height_px: int = 220,
    bystanders: bool = False,
) -> Image.Image:
    """Draw the query at the top and the candidates below.

    Args:
        query: Pictures of the person looked for; may be empty.
        candidates: Candidates, best first; without any, the sheet says so.
        columns: Number of candidates in a row, at least 1.
        height_px: Height of each picture in pixels, at least 32.
        bystanders: Whether to show other people too; otherwise everything around the person is
            blurred.

    Returns:
        An RGB picture; it is neither shown nor saved.

    Raises:
        UsageError: A size makes no sense.
    """
    if columns < 1 or height_px < 32:
        raise UsageError(f"a sheet needs a column and 32 pixels, got {columns} and {height_px}")
    rows = in_rows([_person(shown, height_px, bystanders) for shown in query], max(len(query), 1))
    tiles = [_candidate(shown, height_px, bystanders) for shown in candidates]
    rows += in_rows(tiles, columns)
    if not tiles:
        rows.append([text_block("Nobody in the archive fits.", 480, size_px=_FONT)])
    return sheet_of(rows)


def _person(shown: Shown, height_px: int, bystanders: bool) -> Image.Image:
    """Draw a person enlarged, without the scene."""
    tile = framed([_panel(shown, height_px, bystanders)], INK)
    return _labelled(tile, shown)


def _candidate(shown: Shown, height_px: int, bystanders: bool) -> Image.Image:
    parts = [_panel(shown, height_px, bystanders)]
    if not isinstance(shown.picture, str):
        picture = shown.picture if bystanders else without_bystanders(shown.picture, shown.box)
        parts.append(scene_panel(picture, shown.box, height_px))
    return _labelled(framed(parts, LEVEL_COLOURS.get(shown.level, INK)), shown)


def _panel(shown: Shown, height_px: int, bystanders: bool) -> Image.Image:
    if isinstance(shown.picture, str):
        panel = Image.new("RGB", (2 * height_px, height_px), PAPER)
        reason = text_block(shown.picture, panel.width - 2 * FRAME, size_px=_SMALL)
        panel.paste(reason, (FRAME, max(0, (height_px - reason.height) // 2)))
        return panel
    picture = shown.picture if bystanders else without_bystanders(shown.picture, shown.box)
    return person_panel(picture, shown.box, height_px)


def _labelled(tile: Image.Image, shown: Shown) -> Image.Image:
    heading = text_block(shown.heading, tile.width, size_px=_FONT)
    return below_each_other([heading, tile, text_block(shown.caption, tile.width, size_px=_SMALL)])
