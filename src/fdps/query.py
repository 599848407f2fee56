"""The person to look for: cut out of a picture by a box, by a point, or as the only one there.

Axes in shapes: N people, D embedding dimension.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageOps

from fdps.boxes import clip, is_valid
from fdps.errors import UsageError
from fdps.pictures import read_picture
from fdps.structures import Boxes, Detections, Embedder, Picture

AnyPicture = Picture | Image.Image | Path | str
"""An RGB array, a picture of Pillow, or the path of a file."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryPerson:
    """A person to look for, cut out of a picture.

    Args:
        box: ``x1 y1 x2 y2`` in pixels of the picture.
        score: Confidence of the detector; 1 for a box that was drawn by hand.
        embedding: Unit length.
    """

    box: Float32[np.ndarray, " 4"]
    score: float
    embedding: Float32[np.ndarray, " D"]


@runtime_checkable
class Searcher(Protocol):
    """The result of ``fdps.load``: an :class:`~fdps.structures.Embedder` for pictures and files."""

    @property
    def model_hash(self) -> str:
        """Identifies weights and settings."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    def detect(self, image: AnyPicture) -> Detections:
        """Find and embed everybody."""

    def embed(self, image: AnyPicture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Embed given people, without looking for others."""

    def query(
        self,
        image: AnyPicture,
        *,
        box: tuple[float, float, float, float] | None = None,
        point: tuple[float, float] | None = None,
    ) -> QueryPerson:
        """Choose the person to look for."""


class NotChosenError(UsageError):
    """Nobody, or nobody in particular, was chosen in a picture.

    Attributes:
        found: Everybody who was detected there, so that whoever asks can show them.
    """

    def __init__(self, message: str, found: Detections, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.found = found


def choose_person(
    embedder: Embedder,
    image: Picture,
    *,
    box: tuple[float, float, float, float] | None = None,
    point: tuple[float, float] | None = None,
    number: int | None = None,
) -> QueryPerson:
    """Choose the person to look for.

    Args:
        embedder: Finds and embeds people.
        image: RGB.
        box: The person, drawn by hand.
        point: A pixel on the person; the smallest detection around it is taken.
        number: Number of the person among the detections, best first, from 1. Without box, point
            and number the picture must show one person.

    Raises:
        UsageError: Nobody is there, or several people are and none was chosen
            (:class:`NotChosenError`); or a box has no area inside the picture.
    """
    if box is not None:
        drawn = np.array([box], dtype=np.float32)
        return QueryPerson(drawn[0], 1.0, embedder.embed(image, drawn)[0])
    found = embedder.detect(image)
    row = chosen_row(found, point, number)
    return QueryPerson(found.boxes[row], float(found.scores[row]), found.embeddings[row])


def pixels_of(image: object) -> Picture:
    """Return the RGB pixels of a picture, however it is given.

    Args:
        image: An RGB array of shape (H, W, 3) and bytes, a picture of Pillow, which is turned into
            RGB, or the path of a file.

    Raises:
        UsageError: An array of another shape or type, or something else.
        PictureError: The file cannot be decoded.
        MissingDataError: There is no such file.
    """
    if isinstance(image, str | Path):
        return read_picture(Path(image))
    if isinstance(image, Image.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    if not isinstance(image, np.ndarray):
        raise UsageError(
            f"a picture is an RGB array, a picture of Pillow or a path, got {type(image).__name__}"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UsageError(
            f"a picture must have shape (height, width, 3) and type uint8, got {image.shape} and "
            f"{image.dtype}",
            hint="colours come last, in the order red, green, blue, from 0 to 255; "
            "PIL.Image.fromarray(...).convert('RGB') makes them of grey and of transparency",
        )
    return image


def check_min_score(min_score: float | None) -> None:
    """Refuse a least score that is no score; ``None`` leaves it to the recipe or the card.

    Raises:
        UsageError: It is not in [0, 1].
    """
    if min_score is not None and not 0 <= min_score <= 1:  # nor is NaN
        raise UsageError(
            f"min_score must be in [0, 1], got {min_score}",
            hint="scores are confidences of the detector; 0 keeps everybody whom it proposes",
        )


def boxes_inside(image: Picture, boxes: Boxes) -> Boxes:
    """Boxes cut at the border of their picture.

    Raises:
        UsageError: A box has no area inside the picture.
    """
    height, width = image.shape[:2]
    inside = clip(boxes, width, height)
    if not is_valid(inside).all():
        bad = boxes[~is_valid(inside)][0].tolist()
        raise UsageError(
            f"box {bad} has no area inside the picture ({width}×{height})",
            hint="a box is x1,y1,x2,y2 with x1 < x2 and y1 < y2, in pixels",
        )
    return inside


def chosen_row(
    found: Detections, point: tuple[float, float] | None, number: int | None = None
) -> int:
    """Return which of the people in a picture is meant, counted from 0.

    Args:
        found: Everybody in the picture.
        point: A pixel on the person; the smallest detection around it is taken.
        number: The person, counted from 1.

    Raises:
        NotChosenError: Nobody is there, or several people are and none was chosen.
    """
    draw = "draw the box yourself: box="
    if len(found) == 0:
        raise NotChosenError("nobody found in the query picture", found, hint=draw)
    if number is not None:
        if not 1 <= number <= len(found):
            raise NotChosenError(
                f"the picture has no person {number}; it has {len(found)}", found, hint=draw
            )
        return number - 1
    if point is None:
        if len(found) > 1:
            raise NotChosenError(
                f"{len(found)} people found, none chosen",
                found,
                hint="choose one with box= or point=",
            )
        return 0
    x, y = point
    left, top, right, bottom = found.boxes.T
    around = (left <= x) & (x < right) & (top <= y) & (y < bottom)
    if not around.any():
        raise NotChosenError(f"nobody found at point ({x:g}, {y:g})", found, hint=draw)
    areas = np.where(around, (right - left) * (bottom - top), np.inf)
    return int(areas.argmin())
