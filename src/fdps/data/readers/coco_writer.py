"""Write scene sets as COCO JSON with identities, queries and galleries."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from fdps.durable import write_file
from fdps.errors import AnnotationError, MissingDataError
from fdps.names import printable
from fdps.pictures import StrPath, picture_size
from fdps.structures import Query, Scene, SceneSet


def write_coco(root: StrPath, splits: Mapping[str, SceneSet]) -> None:
    """Write ``annotations_<split>.json`` for each split, and the pictures into ``images``.

    :func:`fdps.data.readers.coco.read` gives the sets back; queries survive in ``test`` alone, and
    the boxes that a gallery list states are not kept (the folder format keeps them).

    Args:
        root: Folder to write to, made if it is missing; files of the same names are replaced.
        splits: Scene set of each split.

    Raises:
        AnnotationError: A scene name leads out of the folder or belongs to two pictures.
        MissingDataError: A picture is not there.
    """
    root = Path(root)
    check_names(splits)
    root.mkdir(parents=True, exist_ok=True)
    for split, scenes in splits.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for scene in scenes.scenes:
            copy_picture(scene, root / "images" / scene.name)
            images.append(image_row(scene, split, len(images) + 1))
            annotations += annotation_rows(scene, len(images), len(annotations) + 1)
            annotations += ignored_rows(scene, len(images), len(annotations) + 1)
        ids = {scene.name: number for number, scene in enumerate(scenes.scenes, start=1)}
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "person"}],
            "queries": [_query_row(query, ids) for query in scenes.queries],
        }
        text = json.dumps(content, separators=(",", ":"))
        replace_text(root / f"annotations_{split}.json", text)


def _query_row(query: Query, ids: Mapping[str, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = query.box.tolist()
    row: dict[str, Any] = {
        "image_id": ids[query.scene],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "person_id": query.person_id,
    }
    if query.gallery is not None:
        row["gallery"] = [ids[name] for name in query.gallery]
    return row


def check_names(splits: Mapping[str, SceneSet]) -> None:
    """Refuse scene names that cannot be file names below one folder.

    Raises:
        AnnotationError: A name leads out of the folder, or two pictures have it.
    """
    paths: dict[str, Path] = {}
    for scenes in splits.values():
        for scene in scenes.scenes:
            parts = PurePosixPath(scene.name)
            if parts.is_absolute() or ".." in parts.parts or not parts.parts:
                raise AnnotationError(f"scene name {scene.name!r} leads out of the folder")
            if scene.name in paths:
                raise AnnotationError(
                    f"scene name {scene.name!r} occurs twice", hint="every picture needs its own"
                )
            paths[scene.name] = scene.path


def check_text(splits: Mapping[str, SceneSet]) -> None:
    """Refuse names that a table in UTF-8 cannot hold.

    Raises:
        AnnotationError: A name holds bytes that are not UTF-8.
    """
    for scenes in splits.values():
        for scene in scenes.scenes:
            try:
                scene.name.encode()
            except UnicodeEncodeError as error:
                raise AnnotationError(
                    f"scene name {printable(scene.name)} is not UTF-8, as queries.csv must be",
                    hint="rename the picture, or write COCO, which can hold the name",
                ) from error


def copy_picture(scene: Scene, target: Path) -> None:
    """Copy the picture of a scene, unless it is that file already.

    Raises:
        MissingDataError: The picture is not there.
    """
    if target.exists() and target.samefile(scene.path):
        return
    if not scene.path.is_file():
        raise MissingDataError(f"no picture at {scene.path}")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(target.name + ".part")
    shutil.copyfile(scene.path, aside)
    aside.replace(target)


def image_row(scene: Scene, split: str, image_id: int) -> dict[str, Any]:
    """Make the object of ``images`` for a scene."""
    width, height = picture_size(scene.path)
    row = {
        "id": image_id,
        "file_name": scene.name,
        "width": width,
        "height": height,
        "split": split,
    }
    if scene.camera is not None:
        row["camera_id"] = scene.camera
    if scene.frame is not None:
        row["frame_id"] = scene.frame
    if scene.seconds is not None:
        row["seconds"] = scene.seconds
    return row


def annotation_rows(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """Make the objects of ``annotations`` for the people of a scene, numbered from ``first_id``."""
    rows = []
    for k, (box, person_id) in enumerate(
        zip(scene.boxes.tolist(), scene.person_ids.tolist(), strict=True)
    ):
        x1, y1, x2, y2 = box
        rows.append(
            {
                "id": first_id + k,
                "image_id": image_id,
                "category_id": 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "person_id": person_id,
            }
        )
    return rows


def ignored_rows(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """Make the objects of ``annotations`` for the regions that training is to ignore."""
    rows = []
    for k, (x1, y1, x2, y2) in enumerate([] if scene.ignored is None else scene.ignored.tolist()):
        rows.append(
            {
                "id": first_id + k,
                "image_id": image_id,
                "category_id": 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "ignore": 1,
            }
        )
    return rows


def replace_text(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_file(file, text.encode())
