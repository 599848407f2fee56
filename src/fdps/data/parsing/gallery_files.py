"""Read and write ``galleries/<split>.json``: which images are searched for each query.

.. code-block:: text

    [{"image": "a.jpg", "person_id": 7,
      "gallery": ["b.jpg", "c.jpg"], "boxes": {"0": [1, 2, 30, 40]}}]

One object for each query of ``queries.csv`` in that split, in the same order; ``gallery`` is null
where every image is searched. ``boxes``: position in the gallery → where the person is there,
``x1 y1 x2 y2``; null where the annotations tell.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fdps.boxes import is_valid
from fdps.data.parsing.picture_files import known_name, unicode_forms
from fdps.data.parsing.shapes import check_pixels
from fdps.errors import AnnotationError
from fdps.pictures import picture_size
from fdps.structures import Query, SceneSet


def galleries_json(queries: Sequence[Query]) -> str:
    """Write the text that :func:`with_galleries` reads."""
    rows = [
        {
            "image": query.scene,
            "person_id": query.person_id,
            "gallery": query.gallery,
            "boxes": None
            if query.gallery_boxes is None
            else {str(k): box.tolist() for k, box in query.gallery_boxes.items()},
        }
        for query in queries
    ]
    return json.dumps(rows, separators=(",", ":"))


def with_galleries(file: Path, queries: Sequence[Query], scenes: SceneSet) -> list[Query]:
    """Give queries the galleries of a file.

    Args:
        file: Gallery file of the split.
        queries: Queries of ``queries.csv``.
        scenes: Scenes of the split.

    Raises:
        AnnotationError: The file is malformed, is not about these queries, or names an image that
            the split does not have.
    """
    try:
        rows = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{file} is not JSON: {error}") from error
    if not isinstance(rows, list) or len(rows) != len(queries):
        raise AnnotationError(
            f"{file} must list {len(queries)} objects, one for each query of its split",
            hint="take the file out to search every image",
        )
    paths = {scene.name: scene.path for scene in scenes.scenes}
    forms = unicode_forms(paths)
    size_of = cache(lambda name: picture_size(paths[name]))  # the same pictures come up again
    return [
        _with_gallery(row, query, paths, forms, size_of, f"{file}, query {number}")
        for number, (row, query) in enumerate(zip(rows, queries, strict=True), start=1)
    ]


def _with_gallery(
    row: Any,
    query: Query,
    paths: Mapping[str, Path],
    forms: dict[str, str],
    size_of: Callable[[str], tuple[int, int]],
    where: str,
) -> Query:
    if not isinstance(row, dict):
        raise AnnotationError(f"{where} must be an object, got {row!r:.80}")
    stated = (known_name(str(row.get("image")), paths, forms), row.get("person_id"))
    if stated != (query.scene, query.person_id):
        raise AnnotationError(
            f"{where} is about {stated}, queries.csv about {(query.scene, query.person_id)}",
            hint="both list the same queries in the same order",
        )
    gallery, boxes = row.get("gallery"), row.get("boxes")
    if gallery is None:
        return query
    if not isinstance(gallery, list) or not all(isinstance(name, str) for name in gallery):
        raise AnnotationError(f"{where}: 'gallery' must be a list of image names")
    gallery = [known_name(name, paths, forms) for name in gallery]
    for name in gallery:
        if name not in paths:
            raise AnnotationError(f"{where}: image {name!r} is not in this split")
    located = None if boxes is None else _boxes(boxes, gallery, size_of, where)
    return replace(query, gallery=tuple(gallery), gallery_boxes=located)


def _boxes(
    boxes: Any, gallery: Sequence[str], size_of: Callable[[str], tuple[int, int]], where: str
) -> dict[int, np.ndarray]:
    if not isinstance(boxes, dict):
        raise AnnotationError(f"{where}: 'boxes' must be an object, got {boxes!r:.80}")
    located = {}
    for key, edges in boxes.items():
        is_box = isinstance(edges, list) and [type(edge) in (int, float) for edge in edges]
        if (
            not (key.isascii() and key.isdigit() and int(key[:9]) < len(gallery))
            or is_box != [True] * 4
        ):
            raise AnnotationError(
                f"{where}: 'boxes' must map positions 0..{len(gallery) - 1} to x1 y1 x2 y2, got "
                f"{key!r}: {edges!r:.80}"
            )
        box = np.array(edges, dtype=np.float64).astype(np.float32)
        if not is_valid(box[None])[0]:
            raise AnnotationError(f"{where}: box {edges} must have x1 < x2 and y1 < y2")
        width, height = size = size_of(gallery[int(key)])
        x1, y1, x2, y2 = map(float, edges)
        check_pixels((x1, y1, x2, y2), size, where)
        if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
            raise AnnotationError(
                f"{where}: box {edges} lies outside the picture, {width}x{height}"
            )
        located[int(key)] = box
    return located
