"""Take values out of JSON that others made: each is checked where it is taken.

``where`` says in messages which file and row is meant, for example
``annotations.json: annotation 7 of 'a.jpg'``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from fdps.boxes import clip, is_valid
from fdps.errors import AnnotationError

Row = Mapping[str, Any]
"""A JSON object."""


def load_object(file: Path) -> Row:
    """Read a JSON file whose outermost value is an object.

    Raises:
        AnnotationError: It is not JSON, or not an object.
    """
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise AnnotationError(f"{file} must hold a JSON object, got {type(content).__name__}")
    return content


def rows(content: Row, key: str, where: str) -> list[Row]:
    """A list of objects; empty if the key is absent.

    Raises:
        AnnotationError: The value is something else.
    """
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise AnnotationError(f"{where}: {key!r} must be a list of objects")
    return value


def whole(row: Row, key: str, where: str) -> int:
    """A whole number.

    Raises:
        AnnotationError: The key is missing, or the value is no number of at most 64 bits.

    Example:
        >>> whole({"person_id": 7}, "person_id", "annotation 3")
        7
    """
    value = row.get(key)
    if type(value) is not int or abs(value) >= 2**63:  # bool is an int, but no number here
        raise AnnotationError(f"{where}: {key!r} must be a whole number, got {value!r}")
    return value


def box(row: Row, size: tuple[int, int], where: str) -> Float32[np.ndarray, " 4"]:
    """COCO's ``bbox``, cut at the border of the picture.

    Args:
        row: Has ``bbox``: ``x y width height`` in pixels.
        size: Width and height of the picture.
        where: For messages.

    Returns:
        ``x1 y1 x2 y2``, float32.

    Raises:
        AnnotationError: The box is missing, not four finite numbers, empty, or wholly outside.

    Example:
        >>> box({"bbox": [-5, 3, 20, 9]}, (10, 8), "annotation 3").tolist()
        [0.0, 3.0, 10.0, 8.0]
    """
    value = row.get("bbox")
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(type(number) in (int, float) and abs(number) < 2**63 for number in value)
    ):
        raise AnnotationError(f"{where}: 'bbox' must be [x, y, width, height], got {value!r}")
    x, y, width, height = value
    if width <= 0 or height <= 0:
        raise AnnotationError(f"{where}: bbox {value} has no positive width and height")
    cut = clip(np.array([[x, y, x + width, y + height]], dtype=np.float64), *size)
    cut = cut.astype(np.float32)
    if not is_valid(cut)[0]:
        raise AnnotationError(
            f"{where}: bbox {value} lies outside the picture of {size[0]}x{size[1]}"
        )
    return np.asarray(cut[0])
