"""COCO JSON whose annotations also say who the person is.

.. code-block:: text

    root/
      annotations.json     or annotations_<split>.json, or <split>.json
      images/...           or the pictures beside the JSON file

Beyond COCO's keys we read, all optional: in an annotation ``person_id`` or ``pid`` (whole number;
absent or negative: not labelled) and ``ignore``; in an image ``camera_id``, ``frame_id``,
``seconds`` or ``time``, and ``split``; beside ``images`` a list ``queries`` of ``image_id``,
``bbox``, ``person_id`` and ``gallery`` (image ids). A file without ``person_id`` and ``pid`` whose
annotation ``id`` repeats has the identity there.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from fdps.data.findings import Findings
from fdps.data.identities import contiguous
from fdps.data.parsing.json_rows import Row, box, corners_of, load_object, rows, whole
from fdps.data.parsing.picture_files import find_picture
from fdps.data.parsing.scene_rows import PERSON_LABELS, PersonRow, check_size, without_doubles
from fdps.data.readers.annotations_csv import seconds_of
from fdps.data.readers.reader import reader
from fdps.errors import AnnotationError, MissingDataError
from fdps.pictures import picture_size
from fdps.structures import (
    UNLABELLED,
    Query,
    Scene,
    SceneSet,
    names_are_unique,
)

IDENTITY_KEYS = ("person_id", "pid")
"""Keys of the identity, in order of preference; AlignPS, PSTR and COAT write the first."""


@reader
def read(root: Path, split: str, findings: Findings) -> SceneSet:
    """Read a split of a COCO file.

    Images with a ``split`` are filtered by it; if none has one, every split holds all images.
    Boxes are cut at the border of the picture. Annotations with ``iscrowd`` or ``ignore`` are not
    people; the boxes of ``ignore`` become ``Scene.ignored``. Left out are those of other categories
    where the file has a category called ``person`` or, failing that, ``pedestrian`` or ``people``.

    Args:
        root: The folder of the annotations, or the JSON file itself.
        split: For example ``train`` (identities renumbered 0..L-1) or ``test`` (identities as in
            the file, with the queries). Queries exist in ``test`` alone.
        findings: Collects faults and odd rows; by default the first fault is raised.

    Returns:
        The scenes in the order of ``images``, each named by its ``file_name``.

    Raises:
        MissingDataError: There is no annotation file, or a picture is not there.
        AnnotationError: The file is not JSON or not of this form, an annotation misses a key, or a
            box is empty or outside its picture. The message names annotation and values.
        PictureError: A file is not a picture.
    """
    file = _annotation_file(root, split)
    content, scenes = _read_file(file, split, findings)
    queries = _queries(content, scenes, file, findings) if split == "test" else ()
    result = SceneSet(f"coco/{split}", tuple(scenes.values()), queries)
    return contiguous(result) if split == "train" else result


def read_scenes(file: Path, split: str, findings: Findings) -> SceneSet:
    """Read the scenes of a split, with contiguous identities for ``train``, and no queries.

    Raises:
        FdpsError: The error is one that :func:`read` raises.
    """
    result = SceneSet(f"coco/{split}", tuple(_read_file(file, split, findings)[1].values()))
    return contiguous(result) if split == "train" else result


def _read_file(file: Path, split: str, findings: Findings) -> tuple[Row, dict[int, Scene]]:
    """Return the content of the file, and the scenes of the split by image id."""
    findings.boxes.with_sizes = True
    content = load_object(file)
    if "images" not in content or "annotations" not in content:
        raise AnnotationError(
            f"{file} must have 'images' and 'annotations', got {list(content)}",
            hint="docs/guides/data.md shows what a file looks like",
        )
    images = _images(content, file, findings)
    people, ignored = _people(content, images, file, findings)
    key = _identity_key(people, file, findings)
    scenes: dict[int, Scene] = {}
    for image_id, image in _of_split(images, split, file).items():
        with findings.tolerated():
            scene = _scene(image, people[image_id], key, file, findings)
            scenes[image_id] = _with_ignored(scene, ignored.get(image_id, []))
    if not names_are_unique([scene.name for scene in scenes.values()]):
        raise AnnotationError(f"{file}: two images have the same file_name")
    return content, scenes


def _annotation_file(root: Path, split: str) -> Path:
    names = (f"annotations_{split}.json", f"{split}.json", "annotations.json")
    candidates = [root] if root.suffix == ".json" else [root / name for name in names]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise MissingDataError(
        f"no annotations at {root}",
        hint=f"expected a .json file, or a folder with {', '.join(names[:-1])} or {names[-1]}",
    )


def _images(content: Row, file: Path, findings: Findings) -> dict[int, Row]:
    images: dict[int, Row] = {}
    for image in rows(content, "images", str(file)):
        with findings.tolerated():
            image_id = whole(image, "id", f"{file}: image {image.get('file_name')!r}")
            if image_id in images:
                raise AnnotationError(f"{file}: two images have the same id {image_id}")
            images[image_id] = image
    return images


def _of_split(images: Mapping[int, Row], split: str, file: Path) -> Mapping[int, Row]:
    splits = {str(image["split"]) for image in images.values() if "split" in image}
    if not splits:
        return images
    for image_id, image in images.items():
        if "split" not in image:
            raise AnnotationError(f"{file}: image {image_id} has no 'split', others have")
    if split not in splits:
        raise AnnotationError(
            f"{file}: no image of split {split!r}", hint=f"it has {', '.join(sorted(splits))}"
        )
    return {key: image for key, image in images.items() if str(image["split"]) == split}


def _people(
    content: Row, images: Mapping[int, Row], file: Path, findings: Findings
) -> tuple[dict[int, list[Row]], dict[int, list[Row]]]:
    """Return the annotations of people, and those to be ignored, by image."""
    categories = rows(content, "categories", str(file))
    names = [str(row.get("name")).lower() for row in categories]
    label = next((label for label in PERSON_LABELS if label in names), None)
    person = [row.get("id") for row, name in zip(categories, names, strict=True) if name == label]
    if names and not person:
        findings.note(
            f"no category is called {', '.join(PERSON_LABELS)}: all are taken as people",
            f"{file} has {', '.join(sorted(names))}",
            is_loss=True,
        )
    people: dict[int, list[Row]] = {image_id: [] for image_id in images}
    ignored: dict[int, list[Row]] = {}
    for row in rows(content, "annotations", str(file)):
        with findings.tolerated():
            where = f"{file}: annotation {row.get('id')}"
            image_id = whole(row, "image_id", where)
            if image_id not in images:
                raise AnnotationError(
                    f"{where} is of image {image_id}, which is not among 'images'"
                )
            if row.get("iscrowd") or row.get("ignore"):
                findings.note("annotation with iscrowd or ignore: left out", where)
                is_person = not person or row.get("category_id") in person
                if is_person and row.get("ignore") and not row.get("iscrowd"):
                    ignored.setdefault(image_id, []).append(row)
            elif not person or row.get("category_id") in person:
                people[image_id].append(row)
            else:
                findings.note("annotation of another category than person: left out", where)
    return people, ignored


def _with_ignored(scene: Scene, rows: list[Row]) -> Scene:
    """Add the regions to be ignored; one that is no box inside the picture is passed over."""
    boxes = []
    for row in rows:
        with suppress(AnnotationError):
            boxes.append(box(row, picture_size(scene.path), scene.name))
    return replace(scene, ignored=np.stack(boxes)) if boxes else scene


def _identity_key(people: Mapping[int, list[Row]], file: Path, findings: Findings) -> str:
    """Return the key that holds the identity; a key that no annotation has if nobody is named."""
    annotations = [row for rows_ in people.values() for row in rows_]
    for key in IDENTITY_KEYS:
        if any(key in row for row in annotations):
            return key
    ids = [row.get("id") for row in annotations if type(row.get("id")) is int]
    if len(set(ids)) < len(ids):
        findings.note("annotations repeat their 'id': it is taken as the identity", str(file))
        return "id"
    for row in annotations:
        attributes = row.get("attributes")
        if "track_id" in row or (isinstance(attributes, dict) and "track_id" in attributes):
            findings.note(
                "annotation with 'track_id' and no 'person_id': a track is numbered within its "
                "video, so nobody is identified; write 'person_id' to say who is who",
                f"{file}: annotation {row.get('id')}",
                is_loss=True,
            )
    return IDENTITY_KEYS[0]


def _scene(image: Row, people: list[Row], key: str, file: Path, findings: Findings) -> Scene:
    where = f"{file}: image {image['id']}"
    path = _picture(image, file, where)
    size = picture_size(path)
    stated = (image.get("width", size[0]), image.get("height", size[1]))
    check_size(stated, size, path, where)
    found: list[PersonRow] = []
    for row in people:
        with findings.tolerated():
            where_row = f"{file}: annotation {row.get('id')} of {image['file_name']!r}"
            person_id = whole(row, key, where_row) if key in row else UNLABELLED
            x1, y1, x2, y2 = box(row, size, where_row).tolist()
            findings.boxes.add(corners_of(row, where_row), size, path, where_row)
            _note_shape(row, where_row, findings)
            found.append(PersonRow(person_id, (x1, y1, x2, y2), where_row))
    found = list(without_doubles(found, findings))
    camera = image.get("camera_id")
    return Scene(
        name=image["file_name"],
        path=path,
        boxes=np.array([row.corners for row in found], dtype=np.float32).reshape(-1, 4),
        # AlignPS writes -2 for people without identity in its test files.
        person_ids=np.array([max(row.person_id, UNLABELLED) for row in found], dtype=np.int64),
        camera=None if camera is None else str(camera),
        frame=whole(image, "frame_id", where) if image.get("frame_id") is not None else None,
        seconds=_seconds(image, where),
    )


def _note_shape(row: Row, where: str, findings: Findings) -> None:
    """Note what the shape tells beyond its box."""
    attributes = row.get("attributes")
    if row.get("bbox") is None:
        findings.note("outline without a box: the upright box around it is taken", where)
    elif isinstance(attributes, dict) and attributes.get("rotation"):
        findings.note("box that is turned: the upright box around it is taken", where)
    if isinstance(attributes, dict) and attributes.get("occluded") is True:
        findings.note("shape that is occluded: taken like any other", where)


def _seconds(image: Row, where: str) -> float | None:
    if image.get("seconds") is None:
        return seconds_of(str(image.get("time") or ""), where)
    value = image["seconds"]
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) >= 2**63:
        raise AnnotationError(f"{where}: 'seconds' must be a number, got {value!r}")
    return float(value)


def _picture(image: Row, file: Path, where: str) -> Path:
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        raise AnnotationError(f"{where} must have a 'file_name', got {name!r}")
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise AnnotationError(f"{where}: file_name {name!r} leads out of the data set")
    images = file.parent / "images"
    return find_picture((images if images.is_dir() else file.parent) / name)


def _queries(
    content: Row, scenes: Mapping[int, Scene], file: Path, findings: Findings
) -> tuple[Query, ...]:
    queries = []
    for number, row in enumerate(rows(content, "queries", str(file))):
        with findings.tolerated():
            where = f"{file}: query {number}"
            scene = _known(row.get("image_id"), scenes, where)
            person_id = whole(row, "person_id", where)
            if person_id < 0:
                raise AnnotationError(f"{where}: person_id must be at least 0, got {person_id}")
            queries.append(
                Query(
                    scene=scene.name,
                    box=box(row, picture_size(scene.path), where),
                    person_id=person_id,
                    gallery=_gallery(row, scenes, where),
                )
            )
    return tuple(queries)


def _gallery(row: Row, scenes: Mapping[int, Scene], where: str) -> tuple[str, ...] | None:
    image_ids = row.get("gallery")
    if image_ids is None:
        return None
    if not isinstance(image_ids, list):
        raise AnnotationError(f"{where}: 'gallery' must be a list of image ids, got {image_ids!r}")
    return tuple(_known(image_id, scenes, where).name for image_id in image_ids)


def _known(image_id: object, scenes: Mapping[int, Scene], where: str) -> Scene:
    if not isinstance(image_id, int) or image_id not in scenes:
        raise AnnotationError(f"{where}: image {image_id!r} is not among the images of the split")
    return scenes[image_id]
