"""Our own folder format: pictures, COCO annotations with identities, and a list of queries.

.. code-block:: text

    mydata/
      fdps.toml          name, licence, notes; it marks the folder as complete
      images/...         pictures, in any tree
      annotations.json   COCO as fdps.data.coco reads it; every image has a "split"
      queries.csv        image,x1,y1,x2,y2,person_id; optional

Without ``queries.csv`` everybody who appears in two scenes or more is looked for once, by the
largest of their boxes.
"""

import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fdps.data import coco
from fdps.data.pictures import picture_size
from fdps.data.query_list import by_rule, queries_csv, read_queries
from fdps.errors import AnnotationError, MissingDataError
from fdps.structures import Query, Scene, SceneSet

INFO, ANNOTATIONS, QUERIES, IMAGES = "fdps.toml", "annotations.json", "queries.csv", "images"


def read(root: Path, split: str) -> SceneSet:
    """Read a split of a folder.

    Args:
        root: The folder that holds ``fdps.toml``.
        split: ``train`` numbers the identities 0..L-1 and has no queries; any other split keeps
            the identities of the file.

    Raises:
        MissingDataError: ``fdps.toml``, the annotations or a picture is missing.
        AnnotationError: A file is malformed, a box is empty or outside its picture, or a query
            names a picture or a person that is not there. The message has file and line.
        PictureError: A file is no picture.
    """
    info = read_info(root)
    if not (root / ANNOTATIONS).is_file():
        raise MissingDataError(f"no {ANNOTATIONS} in {root}")
    scenes = coco.read(root / ANNOTATIONS, split)
    queries: Sequence[Query] = ()
    if split != "train":
        listed = root / QUERIES
        queries = (
            read_queries(listed, scenes, _image_names(root))
            if listed.is_file()
            else by_rule(scenes)
        )
    return SceneSet(f"{info['name']}/{split}", scenes.scenes, tuple(queries))


def read_info(root: Path) -> dict[str, Any]:
    """Read ``fdps.toml``: at least ``name``.

    Raises:
        MissingDataError: It is not there.
        AnnotationError: It is no TOML, or has no name.
    """
    file = root / INFO
    if not file.is_file():
        raise MissingDataError(
            f"no {INFO} in {root}",
            hint=f'a folder data set has one, with at least: name = "{root.name}"',
        )
    try:
        info = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{file} is not TOML: {error}") from error
    if not isinstance(info.get("name"), str) or not info["name"]:
        raise AnnotationError(f"{file}: 'name' must be a text, got {info.get('name')!r}")
    return info


def write_folder(
    root: Path,
    splits: Mapping[str, SceneSet],
    *,
    name: str,
    licence: str = "",
    notes: str = "",
    tables: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write scene sets as a folder; :func:`read` gives them back.

    Pictures are copied to ``images/<scene name>`` unless they are that file already.
    ``fdps.toml`` is written last, so a folder without it is not complete.

    Args:
        root: Made if it is missing; files of the same names are replaced.
        splits: Scene set of each split.
        name: Of the data set.
        licence: Under which the pictures may be used.
        notes: Anything a user should know.
        tables: More tables for ``fdps.toml``, of values that JSON knows too.

    Raises:
        AnnotationError: A scene name leads out of the folder or belongs to two pictures, or a
            query has a gallery of its own, which the format cannot express.
    """
    _check_names(splits)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for split, scenes in splits.items():
        for scene in scenes.scenes:
            _copy_picture(scene, root / IMAGES / scene.name)
            images.append(_image_row(scene, split, len(images) + 1))
            annotations += _annotation_rows(scene, len(images), len(annotations) + 1)
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    root.mkdir(parents=True, exist_ok=True)
    _replace(root / ANNOTATIONS, json.dumps(content, separators=(",", ":")))
    _replace(root / QUERIES, queries_csv(splits))
    info = {"name": name, "licence": licence, "notes": notes}
    _replace(root / INFO, _toml(info, tables or {}))


def _image_names(root: Path) -> set[str]:
    """Of all splits."""
    return {image["file_name"] for image in json.loads((root / ANNOTATIONS).read_bytes())["images"]}


def _check_names(splits: Mapping[str, SceneSet]) -> None:
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
        for query in scenes.queries:
            if query.gallery is not None:
                raise AnnotationError(
                    f"the query in {query.scene!r} has a gallery of its own, "
                    f"which {QUERIES} cannot hold"
                )


def _copy_picture(scene: Scene, target: Path) -> None:
    if target.exists() and target.samefile(scene.path):
        return
    if not scene.path.is_file():
        raise MissingDataError(f"no picture at {scene.path}")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(target.name + ".part")
    shutil.copyfile(scene.path, aside)
    aside.replace(target)


def _image_row(scene: Scene, split: str, image_id: int) -> dict[str, Any]:
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
    return row


def _annotation_rows(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
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


def _toml(info: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"{key} = {_toml_value(value)}" for key, value in info.items()]
    for table, rows in tables.items():
        lines += ["", f"[{table}]"]
        lines += [f"{key} = {_toml_value(value)}" for key, value in rows.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    """JSON and TOML write texts, numbers, truth values and lists alike, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _replace(file: Path, text: str) -> None:
    aside = file.with_name(file.name + ".part")
    aside.write_text(text, encoding="utf-8", newline="\n")
    aside.replace(file)
