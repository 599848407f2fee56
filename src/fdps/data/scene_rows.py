"""Make a scene of the rows that a table, an XML file or a track has for one picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from fdps.boxes import clip, is_valid
from fdps.data.findings import Findings
from fdps.errors import AnnotationError
from fdps.pictures import picture_size
from fdps.structures import UNLABELLED, Scene, empty_boxes

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person in one picture.

    Args:
        person_id: Identity; any negative number means that nobody knows.
        corners: ``x1 y1 x2 y2`` in pixels, as the file has them.
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
) -> Scene:
    """Cut the boxes at the border of the picture and keep what is inside it.

    A box that passes the border is cut, one that lies beyond it is dropped; both are noted.

    Args:
        name: Of the scene.
        path: The picture.
        rows: People in it.
        findings: Where faults and notes go.
        camera: Of the scene.
        frame: Of the scene.
        seconds: Of the scene.

    Raises:
        MissingDataError: There is no picture.
        PictureError: The file is no picture.
        AnnotationError: A box is no box: not finite, or without width or height.
    """
    size = picture_size(path)
    boxes, person_ids = [empty_boxes()], []
    for row in rows:
        with findings.tolerated():
            box = cut_to_picture(row.corners, size, row.where, findings)
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


def cut_to_picture(
    corners: Corners, size: tuple[int, int], where: str, findings: Findings
) -> np.ndarray | None:
    """The part of a box inside the picture, float32; ``None`` if there is none.

    Raises:
        AnnotationError: It is not finite, or has no width or height.
    """
    box = np.array([corners], dtype=np.float64)
    if not is_valid(box)[0]:
        raise AnnotationError(
            f"{where}: box {list(corners)} (x1 y1 x2 y2) must be finite, with x1 < x2 and y1 < y2",
            hint="correct the row or take it out",
        )
    inside = clip(box, *size)
    if not is_valid(inside.astype(np.float32))[0]:
        findings.note("box lies beyond the border of its picture: dropped", f"{where}: {corners}")
        return None
    if (inside != box).any():
        findings.note("box passes the border of its picture: cut there", f"{where}: {corners}")
    return np.asarray(inside.astype(np.float32)[0])


def inner_path(name: str, where: str) -> str:
    """A file name that stays inside its folder.

    Raises:
        AnnotationError: It is empty, absolute, or goes up.
    """
    parts = PurePosixPath(name)
    if not parts.parts or parts.is_absolute() or ".." in parts.parts or set("\\\0") & set(name):
        raise AnnotationError(
            f"{where}: file name {name!r} leads out of the data set",
            hint="names are relative, below the folder of the pictures",
        )
    return name
