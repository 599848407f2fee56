"""Make a scene from the rows that a table, an XML file or a track has for one picture."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from fdps.boxes import clip, is_valid
from fdps.data.findings import Findings
from fdps.data.parsing.picture_files import find_picture
from fdps.data.parsing.shapes import Corners, check_pixels
from fdps.errors import AnnotationError
from fdps.pictures import picture_size
from fdps.structures import UNLABELLED, Scene, empty_boxes

PERSON_LABELS = ("person", "pedestrian", "people")
"""Labels that tools use for a person; without any of them, everything is taken as a person."""


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person in one picture.

    Args:
        person_id: Identity; any negative number means that it is unknown.
        corners: Corners ``x1 y1 x2 y2`` in pixels, as the file has them.
        where: File and row.
    """

    person_id: int
    corners: Corners
    where: str


def make_scene(
    name: str,
    path: Path,
    rows: Iterable[PersonRow],
    findings: Findings,
    *,
    camera: str | None = None,
    frame: int | None = None,
    seconds: float | None = None,
    size: tuple[int, int] | None = None,
) -> Scene:
    """Cut the boxes at the border of the picture and keep what is inside it.

    A box that passes the border is cut, one that lies beyond it is dropped; both are noted.

    Args:
        name: Name of the scene.
        path: Path of the picture.
        rows: People in the picture.
        findings: Collects faults and notes.
        camera: Camera of the scene.
        frame: Number of the frame.
        seconds: Time of the scene, in seconds.
        size: Width and height of the picture, where the caller has read them already.

    Raises:
        MissingDataError: There is no picture.
        PictureError: The file is not a picture.
        AnnotationError: A box is not finite, or has no width or height.
    """
    path = find_picture(path)
    size = picture_size(path) if size is None else size
    boxes, person_ids = [empty_boxes()], []
    for row in without_doubles(rows, findings):
        with findings.tolerated():
            box = cut_to_picture(row.corners, size, path, row.where, findings)
            if box is not None:
                boxes.append(box[None])
                person_ids.append(max(row.person_id, UNLABELLED))
    return Scene(
        name,
        path,
        np.concatenate(boxes),
        np.array(person_ids, dtype=np.int64),
        camera=camera,
        frame=frame,
        seconds=seconds,
    )


def without_doubles(rows: Iterable[PersonRow], findings: Findings) -> Iterator[PersonRow]:
    """Leave out rows that repeat another of the same picture, and note them.

    Two people of one and the same box are both kept and noted, for nobody can tell which of the
    two identities is right. So are the two boxes of one person, who may stand before a mirror.
    """
    seen: dict[Corners, set[int]] = {}
    named: set[int] = set()
    for row in rows:
        person_id = max(row.person_id, UNLABELLED)
        others = seen.setdefault(row.corners, set())
        if person_id in others:
            findings.note("row that repeats the box and the person of another: left out", row.where)
            continue
        if others:
            findings.note("two people have the same box: both kept", row.where)
        if person_id in named:
            findings.note("person twice in a picture: both kept", row.where)
        if person_id != UNLABELLED:
            named.add(person_id)
        others.add(person_id)
        yield row


def cut_to_picture(
    corners: Corners, size: tuple[int, int], picture: Path, where: str, findings: Findings
) -> np.ndarray | None:
    """Return the part of a box inside the picture, float32; ``None`` if there is none.

    Raises:
        AnnotationError: The box is not finite, has no width or height, or is not in pixels.
    """
    check_pixels(corners, size, where)
    check_corners(corners, where)
    findings.boxes.add(corners, size, picture, where)
    box = np.array([corners], dtype=np.float64)
    inside = clip(box, *size)
    if not is_valid(inside.astype(np.float32))[0]:
        findings.note(
            "box lies beyond the border of its picture: dropped",
            f"{where}: {corners}",
            is_loss=True,
        )
        return None
    if (inside != box).any():
        findings.note("box passes the border of its picture: cut there", f"{where}: {corners}")
    return np.asarray(inside.astype(np.float32)[0])


def check_corners(corners: Corners, where: str) -> None:
    """Refuse four numbers that are not a box.

    Raises:
        AnnotationError: The numbers are not finite, or the second corner is not right of and below
            the first.
    """
    if is_valid(np.array([corners], dtype=np.float64))[0]:
        return
    x1, y1, x2, y2 = corners
    meant = "correct the row or take it out"
    if math.isfinite(sum(corners)) and x2 > 0 and y2 > 0:
        meant = f"if these are x y width height, write {[x1, y1, x1 + x2, y1 + y2]}"
        if x2 < x1 and y2 < y1:
            meant += f"; if the corners are exchanged, write {[x2, y2, x1, y1]}"
    raise AnnotationError(
        f"{where}: box {list(corners)} (x1 y1 x2 y2) must have x1 < x2 and y1 < y2, all finite",
        hint=meant,
    )


def check_size(
    stated: tuple[object, object], size: tuple[int, int], path: Path, where: str
) -> None:
    """Refuse a picture of another size than its annotations state.

    Args:
        stated: Width and height of the picture that was annotated.
        size: Width and height of the picture at hand.
        path: Path of the picture.
        where: File and row of the statement.

    Raises:
        AnnotationError: The sizes differ.
    """
    if stated != size:
        raise AnnotationError(
            f"{where} is stated as {stated[0]}x{stated[1]}, but {path} is {size[0]}x{size[1]} "
            "when shown upright",
            hint="annotate and export the pictures at hand, upright and in their own size",
        )


def inner_path(name: str, where: str) -> str:
    """Return a file name, after checking that it stays inside its folder.

    Raises:
        AnnotationError: The name is empty, absolute, or goes up.
    """
    parts = PurePosixPath(name)
    if not parts.parts or parts.is_absolute() or ".." in parts.parts or set("\\\0") & set(name):
        raise AnnotationError(
            f"{where}: file name {name!r} leads out of the data set",
            hint="names are relative, below the folder of the pictures",
        )
    return name
