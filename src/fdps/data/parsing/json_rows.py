"""Take values out of JSON that others made, and check each where it is taken.

``where`` says in messages which file and row is meant, for example
``annotations.json: annotation 7 of 'a.jpg'``.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from fdps.boxes import clip, is_valid
from fdps.data.parsing.shapes import Corners, box_around, check_pixels, upright_box
from fdps.errors import AnnotationError

Row = Mapping[str, Any]
"""A JSON object."""


def load_object(file: Path) -> Row:
    """Read a JSON file whose outermost value is an object.

    Raises:
        AnnotationError: The file is not JSON, or the value is not an object.
    """
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise AnnotationError(f"{file} must hold a JSON object, got {type(content).__name__}")
    return content


def rows(content: Row, key: str, where: str) -> list[Row]:
    """Return a list of objects; empty if the key is absent.

    Raises:
        AnnotationError: The value is something else.
    """
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise AnnotationError(f"{where}: {key!r} must be a list of objects")
    return value


def whole(row: Row, key: str, where: str) -> int:
    """Return a whole number.

    Raises:
        AnnotationError: The key is missing, or the value is not a number of at most 64 bits.

    Example:
        >>> whole({"person_id": 7}, "person_id", "annotation 3")
        7
    """
    value = row.get(key)
    if type(value) is not int or abs(value) >= 2**63:  # a bool is an int, but not a number here
        raise AnnotationError(f"{where}: {key!r} must be a whole number, got {value!r}")
    return value


def box(row: Row, size: tuple[int, int], where: str) -> Float32[np.ndarray, " 4"]:
    """Return COCO's ``bbox``, cut at the border of the picture.

    Args:
        row: Object with ``bbox``: ``x y width height`` in pixels.
        size: Width and height of the picture.
        where: File and row, for messages.

    Returns:
        The corners ``x1 y1 x2 y2``, float32.

    Raises:
        AnnotationError: The box is missing, not four finite numbers, empty, or wholly outside.

    Example:
        >>> box({"bbox": [-5, 3, 20, 9]}, (10, 8), "annotation 3").tolist()
        [0.0, 3.0, 10.0, 8.0]
    """
    corners = corners_of(row, where)
    check_pixels(corners, size, where)
    cut = clip(np.array([corners], dtype=np.float64), *size).astype(np.float32)
    if not is_valid(cut)[0]:
        raise AnnotationError(
            f"{where}: bbox {row.get('bbox')} lies outside the picture of {size[0]}x{size[1]}"
        )
    return np.asarray(cut[0])


def corners_of(row: Row, where: str) -> Corners:
    """Return the corners of ``bbox``, turned where CVAT says so; without ``bbox`` the outline's.

    Raises:
        AnnotationError: The box is missing, not four finite numbers, or empty.
    """
    value = row.get("bbox")
    if value is None and row.get("segmentation"):
        return _outline(row["segmentation"], where)
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(type(number) in (int, float) and abs(number) < 2**63 for number in value)
    ):
        raise AnnotationError(f"{where}: 'bbox' must be [x, y, width, height], got {value!r}")
    x, y, width, height = map(float, value)
    if width <= 0 or height <= 0:
        raise AnnotationError(f"{where}: bbox {value} has no positive width and height")
    corners = (x, y, x + width, y + height)
    attributes = row.get("attributes")
    turned = attributes.get("rotation", 0) if isinstance(attributes, dict) else 0
    if type(turned) not in (int, float) or not math.isfinite(turned):
        raise AnnotationError(f"{where}: 'rotation' must be a number of degrees, got {turned!r}")
    return upright_box(corners, turned) if turned else corners


def _outline(segmentation: object, where: str) -> Corners:
    points: list[tuple[float, float]] = []
    for polygon in segmentation if isinstance(segmentation, list) else []:
        if not isinstance(polygon, list) or not all(type(v) in (int, float) for v in polygon):
            points = []
            break
        points += zip(map(float, polygon[::2]), map(float, polygon[1::2]), strict=False)
    if not points or not all(math.isfinite(value) for point in points for value in point):
        raise AnnotationError(
            f"{where}: there is no 'bbox', and 'segmentation' is not a list of polygons",
            hint="export the boxes too; masks in run-length encoding are not read",
        )
    return box_around(points)
