"""The teacher's embeddings of a data set: one file beside its annotations.

.. code-block:: text

    mydata/teacher.safetensors
      embeddings   (M, D) float16 or float32, unit rows as the teacher gives them
      boxes        (M, 4) float32, the person that each row describes
      scenes       (M,) int32, position in the list of names
      mean         (D,) float32, mean of all rows
      metadata     fdps: format, version, teacher_hash, dim, names of the scenes

Scene and box are the key of a row: an embedding describes what a box shows. Where somebody moves a
box by more than a pixel, adds one or takes one out, that row is no longer used, and nobody need
know about this file. It is read with the annotations of any kind of data set.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fdps.durable import write_file
from fdps.errors import AnnotationError
from fdps.structures import Boxes, Scene, SceneSet, empty_boxes

TEACHER_FILE = "teacher.safetensors"
FORMAT, VERSION = "fdps-teacher", 1
SAME_PX = 1.0
"""A corner that differs by more is that of another box."""


@dataclass(frozen=True, slots=True, eq=False)
class TeacherRows:
    """What a teacher says about the people of a data set.

    Args:
        teacher_hash: Names the model.
        embeddings: One row per person, as the teacher gives it.
        boxes: The person of each row.
        scenes: Name of the scene of each row, by its position in ``names``.
        names: Names of scenes.
    """

    teacher_hash: str
    embeddings: Float[np.ndarray, "M D"]
    boxes: Float32[np.ndarray, "M 4"]
    scenes: Int32[np.ndarray, " M"]
    names: tuple[str, ...]


def write_teacher(root: Path, sets: Iterable[SceneSet]) -> None:
    """Write the embeddings of scene sets, or remove the file where they have none.

    Rows of NaN, of people whom the teacher was not asked about, are left out.

    Args:
        root: Folder of the annotations.
        sets: Scene sets with embeddings of one teacher.

    Raises:
        AnnotationError: They have embeddings of several teachers.
    """
    file, hashes = root / TEACHER_FILE, set[str]()
    embeddings: list[np.ndarray] = []
    boxes, numbers, names = [empty_boxes()], [np.zeros(0, np.int32)], list[str]()
    for scenes in sets:
        for scene in scenes.scenes:
            if scene.teacher is None:
                continue
            known = ~np.isnan(scene.teacher).any(axis=1)
            embeddings.append(scene.teacher[known])
            boxes.append(scene.boxes[known])
            numbers.append(np.full(int(known.sum()), len(names), np.int32))
            names.append(scene.name)
            hashes.add(scenes.teacher_hash)
    if len(hashes) > 1:
        raise AnnotationError(f"embeddings of several teachers: {', '.join(sorted(hashes))}")
    if not embeddings:
        file.unlink(missing_ok=True)
        return
    rows = np.concatenate(embeddings)
    mean = rows.astype(np.float64).sum(axis=0) / max(len(rows), 1)
    arrays = {
        "embeddings": rows,
        "boxes": np.concatenate(boxes),
        "scenes": np.concatenate(numbers),
        "mean": mean.astype(np.float32),
    }
    header = {
        "format": FORMAT,
        "version": VERSION,
        "teacher_hash": hashes.pop(),
        "dim": rows.shape[1],
        "scenes": names,
    }
    # One key: with several, their order in the file would change from call to call.
    write_file(file, save(arrays, metadata={"fdps": json.dumps(header)}))


def read_teacher(file: Path) -> TeacherRows:
    """Read a file that :func:`write_teacher` wrote.

    Raises:
        AnnotationError: It is damaged, or of another format.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            header = json.loads((opened.metadata() or {})["fdps"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if (header["format"], header["version"]) != (FORMAT, VERSION):
            raise ValueError(f"it is of format {header['format']} {header['version']}")
        rows = TeacherRows(
            teacher_hash=str(header["teacher_hash"]),
            embeddings=arrays["embeddings"],
            boxes=arrays["boxes"].astype(np.float32),
            scenes=arrays["scenes"].astype(np.int32),
            names=tuple(map(str, header["scenes"])),
        )
        n, dim = rows.embeddings.shape
        if rows.boxes.shape != (n, 4) or rows.scenes.shape != (n,) or dim != header["dim"]:
            raise ValueError("its arrays do not belong together")
        if n and not 0 <= rows.scenes.min() <= rows.scenes.max() < len(rows.names):
            raise ValueError("a row is of no scene")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(
            f"{file} holds no embeddings of a teacher: {error}",
            hint="write it anew with fdps data label, or take it away",
        ) from error
    return rows


def with_teacher(scenes: SceneSet, root: Path) -> SceneSet:
    """Give scenes the embeddings that lie beside their annotations; without a file, return them.

    Raises:
        AnnotationError: The file is damaged.
    """
    file = (root if root.is_dir() else root.parent) / TEACHER_FILE
    if not file.is_file():
        return scenes
    rows = read_teacher(file)
    order = np.argsort(rows.scenes, kind="stable")
    cuts = np.searchsorted(rows.scenes[order], np.arange(1, len(rows.names)))
    of_scene = dict(zip(rows.names, np.split(order, cuts), strict=True)) if rows.names else {}
    taught = tuple(_with_rows(scene, rows, of_scene) for scene in scenes.scenes)
    return replace(scenes, scenes=taught, teacher_hash=rows.teacher_hash)


def teaching_hash(scenes: SceneSet) -> str:
    """Name what a set teaches beside its boxes and identities; empty if that is nothing.

    Returns:
        A dot, then sixteen hexadecimal digits over embeddings and ignored regions.
    """
    digest, is_some = hashlib.sha256(scenes.teacher_hash.encode()), bool(scenes.teacher_dim)
    for scene in scenes.scenes:
        for rows in (scene.ignored, scene.teacher):
            is_some |= rows is not None
            digest.update(b"-" if rows is None else rows.tobytes() + b"+")
    return f".{digest.hexdigest()[:16]}" if is_some else ""


def _with_rows(scene: Scene, rows: TeacherRows, of_scene: Mapping[str, np.ndarray]) -> Scene:
    chosen = of_scene.get(scene.name)
    if chosen is None:
        return scene
    found = _same(scene.boxes, rows.boxes[chosen])
    teacher = np.full((len(scene.boxes), rows.embeddings.shape[1]), np.nan, rows.embeddings.dtype)
    known = found >= 0
    teacher[known] = rows.embeddings[chosen[found[known]]]
    return replace(scene, teacher=teacher)


def _same(boxes: Boxes, others: Boxes) -> np.ndarray:
    """Return the nearest other box of each box within a pixel; -1 where there is none."""
    if not len(boxes) or not len(others):
        return np.full(len(boxes), -1)
    apart = np.abs(boxes[:, None] - others[None]).max(axis=2)
    nearest = apart.argmin(axis=1)
    return np.where(apart.min(axis=1) <= SAME_PX, nearest, -1)


def all_rows(scenes: Sequence[Scene]) -> Float[np.ndarray, "M D"]:
    """Return the embeddings of everybody whom the teacher was asked about, in order.

    Raises:
        ValueError: No scene has any.
    """
    rows = np.concatenate([scene.teacher for scene in scenes if scene.teacher is not None])
    return np.asarray(rows[~np.isnan(rows).any(axis=1)])
