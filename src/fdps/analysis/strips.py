"""Ranked strips: the query person, then the best hits, each in its scene.

Right and wrong are told three times: by the colour of the frame, by a tick or a cross that the page
prints, and by the text alternative of each picture, so that colour is never the only message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageDraw

from fdps.analysis.page import Kind, Tile
from fdps.analysis.tiles import FRAME, INK, PAPER, person_panel
from fdps.evaluation import SearchResult
from fdps.pictures import read_picture
from fdps.predictions import Predictions
from fdps.structures import Hit, Picture, Query

RIGHT, WRONG, UNKNOWN = (0, 130, 80), (205, 45, 40), (110, 118, 128)
COLOURS = {"query": INK, "right": RIGHT, "wrong": WRONG, "unknown": UNKNOWN}
"""Colours of the frames in the scenes; ``base.css`` frames the tiles in the same ones."""

_KINDS: dict[bool | None, Kind] = {True: "right", False: "wrong", None: "unknown"}
_WORDS = {"right": "right", "wrong": "wrong", "unknown": "not judged"}


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
        result: Result of scoring ``predictions``.
        row: Row of the query in ``result``.
        predictions: Predictions in which the hits are looked up.
        top: Most hits to return; the result keeps twenty.

    Returns:
        The hits by falling similarity. A scene may occur twice, if two people in it look alike.
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


def draw_strip(
    query: Query,
    hits: Sequence[JudgedHit],
    pictures: Mapping[str, Path],
    *,
    height_px: int = 190,
) -> list[Tile]:
    """Draw the query person and every hit: the person enlarged and, beside it, the scene.

    Args:
        query: The person looked for.
        hits: Hits, best first; there may be none.
        pictures: File of every scene that the query or a hit names.
        height_px: Height to which the scenes are scaled, in pixels.

    Returns:
        The tile of the query, then a tile per hit. Nothing is shown or saved.

    Raises:
        PictureError: A scene cannot be decoded.
        MissingDataError: The file of a scene is gone.
    """

    def draw(scene: str, box: Float32[np.ndarray, " 4"], kind: Kind) -> Image.Image:
        return _draw_tile(read_picture(pictures[scene]), box, COLOURS[kind], height_px)

    told = f"The person looked for: person {query.person_id} of {query.scene}."
    tiles = [Tile(draw(query.scene, query.box, "query"), "Query", told, "query")]
    for rank, judged in enumerate(hits, start=1):
        hit, kind = judged.hit, _KINDS[judged.is_right]
        told = f"Rank {rank}: {hit.scene}, similarity {hit.similarity:.2f}, {_WORDS[kind]}."
        label = f"{rank} · {hit.similarity:.2f}"
        tiles.append(Tile(draw(hit.scene, hit.box, kind), label, told, kind))
    return tiles


def _draw_tile(
    picture: Picture, box: Float32[np.ndarray, " 4"], colour: tuple[int, int, int], height_px: int
) -> Image.Image:
    panel, scale = person_panel(picture, box, height_px), height_px / picture.shape[0]
    scene = Image.fromarray(picture).resize((max(1, round(picture.shape[1] * scale)), height_px))
    x1, y1, x2, y2 = (float(edge) * scale for edge in box)
    pen = ImageDraw.Draw(scene)
    pen.rectangle((x1 - 2, y1 - 2, x2 + 2, y2 + 2), outline=PAPER, width=5)  # seen on any ground
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=colour, width=3)
    tile = Image.new("RGB", (panel.width + FRAME + scene.width, height_px), PAPER)
    tile.paste(panel, (0, 0))
    tile.paste(scene, (panel.width + FRAME, 0))
    return tile
