"""Our own folder format: pictures, COCO annotations with identities, and a list of queries.

.. code-block:: text

    mydata/
      fdps.toml          name, licence, notes; it marks the folder as complete
      images/...         pictures, in any tree
      annotations.json   COCO as fdps.data.readers.coco reads it; every image has a "split"
      queries.csv        image,x1,y1,x2,y2,person_id; optional
      galleries/         <split>.json: which images are searched for each query; optional
      teacher.safetensors  embeddings of the people by another model (fdps.data.teacher); optional

Instead of ``fdps.toml`` and ``annotations.json`` there may be one table, ``annotations.csv``
(:mod:`fdps.data.readers.annotations_csv`).
Without ``queries.csv`` everybody who appears in two scenes or more is looked for once, by the
largest of their boxes.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdps.data.findings import Findings
from fdps.data.identities import contiguous
from fdps.data.parsing.gallery_files import galleries_json, with_galleries
from fdps.data.parsing.query_list import by_rule, queries_csv, read_queries
from fdps.data.readers import annotations_csv, coco
from fdps.data.readers.coco_writer import (
    annotation_rows,
    check_names,
    check_text,
    copy_picture,
    ignored_rows,
    image_row,
    replace_text,
)
from fdps.data.readers.reader import reader
from fdps.data.teacher import write_teacher
from fdps.errors import AnnotationError, MissingDataError
from fdps.pictures import StrPath
from fdps.structures import Query, SceneSet

INFO, ANNOTATIONS, QUERIES, IMAGES = "fdps.toml", "annotations.json", "queries.csv", "images"
GALLERIES = "galleries"


@reader
def read(root: Path, split: str, findings: Findings) -> SceneSet:
    """Read a split of a folder.

    Args:
        root: The folder that holds ``fdps.toml``, or ``annotations.csv`` alone.
        split: ``train`` numbers the identities 0..L-1 and has no queries; any other split keeps
            the identities of the file.
        findings: Collects faults and odd rows; by default the first fault is raised.

    Raises:
        MissingDataError: ``fdps.toml``, the annotations or a picture is missing.
        AnnotationError: A file is malformed, a box is empty or outside its picture, or a query
            names a picture or a person that is not there. The message has file and line.
        PictureError: A file is not a picture.
    """
    if (root / annotations_csv.NAME).is_file() and not (root / ANNOTATIONS).is_file():
        name = read_info(root)["name"] if (root / INFO).is_file() else root.resolve().name
        rows, images = annotations_csv.read_scenes(root / annotations_csv.NAME, split, findings)
        scenes = SceneSet(f"{name}/{split}", tuple(rows))
        scenes = contiguous(scenes) if split == "train" else scenes
    else:
        name = read_info(root)["name"]
        if not (root / ANNOTATIONS).is_file():
            raise MissingDataError(
                f"no {ANNOTATIONS} in {root}", hint=f"nor is there {annotations_csv.NAME}"
            )
        scenes = coco.read_scenes(root / ANNOTATIONS, split, findings)
        images = _image_names(root)
    queries: Sequence[Query] = ()
    if split != "train":
        listed = root / QUERIES
        queries = (
            read_queries(listed, scenes, images, findings) if listed.is_file() else by_rule(scenes)
        )
        galleries = root / GALLERIES / f"{split}.json"
        if galleries.is_file():
            with findings.tolerated():
                queries = with_galleries(galleries, queries, scenes)
    return SceneSet(f"{name}/{split}", scenes.scenes, tuple(queries))


def read_info(root: StrPath) -> dict[str, Any]:
    """Read ``fdps.toml``, which has at least a ``name``.

    Raises:
        MissingDataError: The file is not there.
        AnnotationError: The file is not TOML, or has no name.
    """
    file = Path(root) / INFO
    if not file.is_file():
        raise MissingDataError(
            f"no {INFO} in {root}",
            hint=f'a folder data set has one, with at least: name = "{file.parent.name}"',
        )
    try:
        info = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{file} is not TOML: {error}") from error
    if not isinstance(info.get("name"), str) or not info["name"]:
        raise AnnotationError(f"{file}: 'name' must be a text, got {info.get('name')!r}")
    return info


def write_folder(
    root: StrPath,
    splits: Mapping[str, SceneSet],
    *,
    name: str,
    licence: str = "",
    notes: str = "",
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    details: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Write scene sets as a folder; :func:`read` gives them back.

    Pictures are copied to ``images/<scene name>`` unless they are that file already.
    ``fdps.toml`` is written last, so a folder without it is not complete.

    Args:
        root: Folder to write to, made if it is missing; files of the same names are replaced.
        splits: Scene set of each split.
        name: Name of the data set.
        licence: Licence under which the pictures may be used.
        notes: Anything that a user should know.
        tables: More tables for ``fdps.toml``, of values that JSON knows too.
        details: More keys for the annotations of a scene, by its name: one mapping for each of its
            boxes, then one for each of its regions to be ignored. :func:`read` passes over keys
            that it does not know.

    Raises:
        AnnotationError: A scene name leads out of the folder, belongs to two pictures, or is not
            UTF-8; or the sets were labelled by several teachers.
    """
    root = Path(root)
    check_names(splits)
    check_text(splits)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for split, scenes in splits.items():
        for scene in scenes.scenes:
            copy_picture(scene, root / IMAGES / scene.name)
            images.append(image_row(scene, split, len(images) + 1))
            rows = annotation_rows(scene, len(images), len(annotations) + 1)
            rows += ignored_rows(scene, len(images), len(annotations) + len(rows) + 1)
            more = (details or {}).get(scene.name, [{}] * len(rows))
            annotations += [{**row, **extra} for row, extra in zip(rows, more, strict=True)]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    root.mkdir(parents=True, exist_ok=True)
    replace_text(root / ANNOTATIONS, json.dumps(content, separators=(",", ":")))
    replace_text(root / QUERIES, queries_csv(splits))
    for split, scenes in splits.items():
        if any(query.gallery is not None for query in scenes.queries):
            (root / GALLERIES).mkdir(exist_ok=True)
            text = galleries_json(scenes.queries)
            replace_text(root / GALLERIES / f"{split}.json", text)
    write_teacher(root, splits.values())
    info = {"name": name, "licence": licence, "notes": notes}
    replace_text(root / INFO, _toml(info, tables or {}))


def _image_names(root: Path) -> set[str]:
    """Return the names of the images of all splits."""
    content = json.loads((root / ANNOTATIONS).read_bytes())
    return {image["file_name"] for image in content["images"] if "file_name" in image}


def _toml(info: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"{key} = {_toml_value(value)}" for key, value in info.items()]
    for table, rows in tables.items():
        lines += ["", f"[{table}]"]
        lines += [f"{key} = {_toml_value(value)}" for key, value in rows.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    """Write a text, number, truth value or list as TOML: like JSON, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
