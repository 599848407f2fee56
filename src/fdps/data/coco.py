"""COCO JSON whose annotations also say who the person is.

.. code-block:: text

    root/
      annotations.json     or annotations_<split>.json, or <split>.json
      images/...           or the pictures beside the JSON file

Beyond COCO's keys we read, all optional: in an annotation ``person_id`` (whole number; absent or
negative: not labelled); in an image ``camera_id``, ``frame_id`` and ``split``; beside ``images``
a list ``queries`` of ``image_id``, ``bbox``, ``person_id`` and ``gallery`` (image ids).
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fdps.boxes import clip, is_valid
from fdps.data.identities import contiguous
from fdps.data.pictures import picture_size
from fdps.errors import AnnotationError, MissingDataError
from fdps.structures import UNLABELLED, Query, Scene, SceneSet, empty_boxes

Row = Mapping[str, Any]


def read(root: Path, split: str) -> SceneSet:
    """Read a split of a COCO file.

    Images with a ``split`` are filtered by it; if none has one, every split holds all images.
    Boxes are cut at the border of the picture. Annotations with ``iscrowd`` are left out, and so
    are those of other categories where the file has a category called ``person``.

    Args:
        root: The folder of the annotations, or the JSON file itself.
        split: For example ``train`` (identities renumbered 0..L-1) or ``test`` (identities as in
            the file, with the queries).

    Raises:
        MissingDataError: No annotation file, or a picture is not there.
        AnnotationError: The file is no JSON or not of this form, an annotation misses a key, or
            a box is empty or outside its picture. The message names annotation and values.
        PictureError: A file is no picture.
    """
    file = _annotation_file(root, split)
    content = _load(file)
    images = _of_split(_rows(content, "images", file), split, file)
    people = _by_image(content, file)
    folder = file.parent / "images" if (file.parent / "images").is_dir() else file.parent
    scenes: dict[int, Scene] = {}
    for image in images:
        image_id = _whole(image, "id", f"{file}: image {image.get('file_name')!r}")
        if image_id in scenes:
            raise AnnotationError(f"{file}: image id {image_id} occurs twice")
        scenes[image_id] = _scene(image, people.get(image_id, []), folder, file)
    names = [scene.name for scene in scenes.values()]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise AnnotationError(f"{file}: file_name {twice!r} occurs twice")
    queries = _queries(content, scenes, file) if split == "test" else ()
    result = SceneSet(f"coco/{split}", tuple(scenes.values()), queries)
    return contiguous(result) if split == "train" else result


def _annotation_file(root: Path, split: str) -> Path:
    names = (f"annotations_{split}.json", f"{split}.json", "annotations.json")
    candidates = [root] if root.suffix == ".json" else [root / name for name in names]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise MissingDataError(
        f"no annotation file at {root}", hint=f"expected a .json file or, in a folder, {names}"
    )


def _load(file: Path) -> Row:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise AnnotationError(f"{file} must hold a JSON object, got {type(content).__name__}")
    return content


def _rows(content: Row, key: str, file: Path) -> list[Row]:
    rows = content.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise AnnotationError(f"{file}: {key!r} must be a list of objects")
    return rows


def _of_split(images: list[Row], split: str, file: Path) -> list[Row]:
    splits = {str(image["split"]) for image in images if "split" in image}
    if not splits:
        return images
    for image in images:
        if "split" not in image:
            raise AnnotationError(f"{file}: image {image.get('id')} has no 'split', others have")
    if split not in splits:
        raise AnnotationError(
            f"{file}: no image of split {split!r}", hint=f"it has {', '.join(sorted(splits))}"
        )
    return [image for image in images if image["split"] == split]


def _by_image(content: Row, file: Path) -> dict[int, list[Row]]:
    """Annotations of people, grouped by image."""
    categories = _rows(content, "categories", file) if "categories" in content else []
    person = {row.get("id") for row in categories if str(row.get("name")).lower() == "person"}
    known = {_whole(row, "id", f"{file}: an image") for row in _rows(content, "images", file)}
    grouped: dict[int, list[Row]] = {}
    for row in _rows(content, "annotations", file):
        image_id = _whole(row, "image_id", f"{file}: annotation {row.get('id')}")
        if image_id not in known:
            raise AnnotationError(
                f"{file}: annotation {row.get('id')} is of image {image_id}, "
                "which is not among 'images'"
            )
        if not row.get("iscrowd") and (not person or row.get("category_id") in person):
            grouped.setdefault(image_id, []).append(row)
    return grouped


def _scene(image: Row, people: list[Row], folder: Path, file: Path) -> Scene:
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        raise AnnotationError(f"{file}: image {image.get('id')} has no 'file_name'")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise AnnotationError(f"{file}: file_name {name!r} leads out of {folder}")
    path = folder / name
    size = picture_size(path)
    stated = (image.get("width", size[0]), image.get("height", size[1]))
    if stated != size:
        raise AnnotationError(
            f"{file}: image {name!r} is stated as {stated[0]}x{stated[1]}, "
            f"shown upright it is {size[0]}x{size[1]}"
        )
    boxes, ids = [empty_boxes()], []
    for row in people:
        where = f"{file}: annotation {row.get('id')} of {name!r}"
        boxes.append(_box(row, size, where)[None])
        ids.append(
            max(_whole({"person_id": UNLABELLED} | dict(row), "person_id", where), UNLABELLED)
        )
    return Scene(
        name=name,
        path=path,
        boxes=np.concatenate(boxes),
        person_ids=np.array(ids, dtype=np.int64),
        camera=str(image["camera_id"]) if image.get("camera_id") is not None else None,
        frame=_whole(image, "frame_id", f"{file}: image {name!r}") if "frame_id" in image else None,
    )


def _queries(content: Row, scenes: Mapping[int, Scene], file: Path) -> tuple[Query, ...]:
    if "queries" not in content:
        return ()
    queries = []
    for number, row in enumerate(_rows(content, "queries", file)):
        where = f"{file}: query {number}"
        scene = _known(_whole(row, "image_id", where), scenes, where)
        person_id = _whole(row, "person_id", where)
        if person_id < 0:
            raise AnnotationError(f"{where}: person_id must be at least 0, got {person_id}")
        gallery = row.get("gallery")
        if gallery is not None and not isinstance(gallery, list):
            raise AnnotationError(f"{where}: 'gallery' must be a list of image ids")
        names = (
            None if gallery is None else [_known(entry, scenes, where).name for entry in gallery]
        )
        queries.append(
            Query(
                scene=scene.name,
                box=_box(row, picture_size(scene.path), where),
                person_id=person_id,
                gallery=None if names is None else tuple(names),
            )
        )
    return tuple(queries)


def _known(image_id: object, scenes: Mapping[int, Scene], where: str) -> Scene:
    if not isinstance(image_id, int) or image_id not in scenes:
        raise AnnotationError(f"{where}: image {image_id!r} is not among the images of this split")
    return scenes[image_id]


def _whole(row: Row, key: str, where: str) -> int:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise AnnotationError(f"{where}: {key!r} must be a whole number, got {value!r}")
    return value


def _box(row: Row, size: tuple[int, int], where: str) -> np.ndarray:
    """``bbox`` as corners inside the picture."""
    try:
        x, y, w, h = np.array(row["bbox"], dtype=np.float64).reshape(4)
    except (KeyError, TypeError, ValueError):
        raise AnnotationError(
            f"{where}: 'bbox' must be [x, y, width, height], got {row.get('bbox')!r}"
        ) from None
    corners = np.array([[x, y, x + w, y + h]])
    if not is_valid(corners)[0]:
        raise AnnotationError(f"{where}: bbox {row['bbox']} has no positive width and height")
    box = clip(corners, *size).astype(np.float32)
    if not is_valid(box)[0]:
        raise AnnotationError(
            f"{where}: bbox {row['bbox']} lies outside the picture of {size[0]}x{size[1]}"
        )
    return np.asarray(box[0])
