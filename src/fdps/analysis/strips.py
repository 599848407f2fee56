"""Ranked strips: the query person at the left, then the best hits, each in its scene.

Right and wrong are told three times: by the colour of the frame, by a tick or a cross, and by
the text alternative of :func:`describe_strip`, so that colour is never the only message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fdps.analysis.tiles import FRAME, GAP, INK, LABEL, PAPER, framed, person_panel, write
from fdps.evaluation import SearchResult
from fdps.pictures import read_picture
from fdps.predictions import Predictions
from fdps.structures import Hit, Query

RIGHT, WRONG, UNKNOWN = (0, 130, 80), (205, 45, 40), (110, 118, 128)
"""Colours of the frames."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedHit:
    """A hit and whether it shows the person looked for.

    Args:
        hit: The person found.
        is_right: Whether the truth agrees; ``None`` where nobody knows the truth.
    """

    hit: Hit
    is_right: bool | None = None


def compute_hits(
    result: SearchResult, row: int, predictions: Predictions, *, top: int = 10
) -> list[JudgedHit]:
    """Take the best hits of one scored query, judged as in the figures of the report.

    Args:
        result: Of scoring ``predictions``.
        row: Of the query in ``result``.
        predictions: Where the hits are looked up.
        top: Most hits to return; the result keeps twenty.

    Returns:
        Falling similarity. A scene may occur twice, if two people in it look alike.
    """
    hits = []
    for rank in range(min(top, result.ranked.shape[1])):
        found = int(result.ranked[row, rank])
        if found < 0:
            break
        hit = Hit(
            scene=predictions.scenes[predictions.scene[found]],
            box=predictions.boxes[found],
            similarity=float(result.ranked_similarity[row, rank]),
            score=float(predictions.scores[found]),
        )
        hits.append(JudgedHit(hit, bool(result.ranked_is_match[row, rank])))
    return hits


def ranked_strip(
    query: Query,
    hits: Sequence[JudgedHit],
    pictures: Mapping[str, Path],
    *,
    columns: int = 5,
    height_px: int = 190,
) -> Image.Image:
    """Draw the query person and, beside it, every hit: the person enlarged, and the scene.

    Args:
        query: The person looked for.
        hits: Best first; may be empty.
        pictures: File of every scene that the query or a hit names.
        columns: Hits in a row, at least 1.
        height_px: Height to which the scenes are scaled.

    Returns:
        An RGB picture; it is neither shown nor saved.

    Raises:
        PictureError: A scene cannot be decoded.
        MissingDataError: The file of a scene is gone.
    """
    tiles = [
        _hit_tile(rank, judged, read_picture(pictures[judged.hit.scene]), height_px)
        for rank, judged in enumerate(hits, start=1)
    ]
    tiles = tiles or [_no_hits(height_px)]
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    return _beside(query, read_picture(pictures[query.scene]), rows)


def describe_strip(query: Query, hits: Sequence[JudgedHit]) -> str:
    """Say in words what a strip shows: its text alternative.

    Example:
        >>> box = np.zeros(4, np.float32)
        >>> hit = JudgedHit(Hit("b.jpg", box, similarity=0.871, score=0.9), is_right=True)
        >>> describe_strip(Query("a.jpg", box, person_id=7), [hit])
        'Person 7 of a.jpg: 1 right of 1. Rank 1: b.jpg, similarity 0.87, right.'
    """
    words = {True: "right", False: "wrong", None: "not judged"}
    told = " ".join(
        f"Rank {rank}: {j.hit.scene}, similarity {j.hit.similarity:.2f}, {words[j.is_right]}."
        for rank, j in enumerate(hits, start=1)
    )
    n_right = sum(j.is_right is True for j in hits)
    summary = f"{n_right} right of {len(hits)}." if hits else "no hits."
    return f"Person {query.person_id} of {query.scene}: {summary} {told}".rstrip()


def _hit_tile(rank: int, judged: JudgedHit, picture: np.ndarray, height_px: int) -> Image.Image:
    colour = {True: RIGHT, False: WRONG, None: UNKNOWN}[judged.is_right]
    scale = height_px / picture.shape[0]
    scene = Image.fromarray(picture).resize((max(1, round(picture.shape[1] * scale)), height_px))
    x1, y1, x2, y2 = (float(edge) * scale for edge in judged.hit.box)
    pen = ImageDraw.Draw(scene)
    pen.rectangle((x1 - 2, y1 - 2, x2 + 2, y2 + 2), outline=PAPER, width=5)  # seen on any ground
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=colour, width=3)
    tile = framed([person_panel(picture, judged.hit.box, height_px), scene], colour)
    left = 0
    if judged.is_right is not None:
        tile.paste(_mark(judged.is_right, colour), (0, 2))
        left = LABEL
    write(tile, (left, 4), f"{rank}    {judged.hit.similarity:.2f}")
    return tile


def _mark(is_right: bool, colour: tuple[int, int, int]) -> Image.Image:
    """A tick or a cross on a disc, drawn large and shrunk so that its edges are smooth."""
    image = Image.new("RGB", (112, 112), PAPER)
    pen = ImageDraw.Draw(image)
    pen.ellipse((0, 0, 111, 111), fill=colour)
    tick, cross = [(28, 58, 48, 78, 84, 36)], [(36, 36, 76, 76), (76, 36, 36, 76)]
    for stroke in tick if is_right else cross:
        pen.line(stroke, fill=PAPER, width=14, joint="curve")
    return image.resize((28, 28), Image.Resampling.LANCZOS)


def _no_hits(height_px: int) -> Image.Image:
    tile = Image.new("RGB", (360, LABEL + height_px + 2 * FRAME), PAPER)
    write(tile, (0, LABEL + height_px // 2), "Nobody was found in the gallery.")
    return tile


def _beside(
    query: Query, picture: np.ndarray, rows: Sequence[Sequence[Image.Image]]
) -> Image.Image:
    """Lay out the query, as high as all rows together, and the rows of tiles beside it."""
    height = sum(row[0].height + GAP for row in rows) - GAP
    left_tile = framed([person_panel(picture, query.box, height - LABEL - 2 * FRAME)], INK)
    write(left_tile, (0, 4), "Query")
    row_width = max(sum(tile.width + GAP for tile in row) for row in rows)
    strip = Image.new("RGB", (left_tile.width + 2 * GAP + row_width, height), PAPER)
    strip.paste(left_tile, (0, 0))
    top = 0
    for row in rows:
        left = left_tile.width + 3 * GAP
        for tile in row:
            strip.paste(tile, (left, top))
            left += tile.width + GAP
        top += row[0].height + GAP
    return strip
