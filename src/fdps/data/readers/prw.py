"""PRW: person re-identification in the wild, six cameras on a campus.

.. code-block:: text

    root/
      frames/c6s1_042326.jpg              camera 6, session 1, frame 42326
      annotations/c6s1_042326.jpg.mat     box_new (or anno_file, anno_previous): rows id x y w h
      frame_train.mat, frame_test.mat     img_index_train, img_index_test: names of frames
      query_info.txt                      lines "id x y w h frame"
      prwmini_query_info.txt              the same, 30 queries; optional (QEEPS)
      ID_train.mat, ID_test.mat           ID_train, ID_test2: identities; only compared

Source: Zheng et al., Person Re-identification in the Wild, CVPR 2017. Id -2 marks people whom
the annotators could not name. Boxes may pass the border of the frame; they are cut there.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fdps.boxes import clip, is_valid
from fdps.data.findings import Findings
from fdps.data.identities import contiguous
from fdps.data.parsing.csv_rows import read_text
from fdps.data.parsing.mat import read_variable
from fdps.data.parsing.picture_files import find_picture
from fdps.data.parsing.shapes import Corners, check_pixels
from fdps.data.readers.reader import reader
from fdps.errors import AnnotationError, MissingDataError, UsageError
from fdps.pictures import picture_size
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

SPLITS = ("train", "test")
BOX_VARIABLES = ("box_new", "anno_file", "anno_previous")
"""Names of the annotation table, in order of preference; which one a file has differs."""

QUERY_FILE, MINI_FILE = "query_info.txt", "prwmini_query_info.txt"

SESSION_FRAMES = 10_000_000
"""Frames of session s count from (s - 1) times this, so that no frame gap spans two sessions."""

_LAYOUT = (
    "expected root/: frames/*.jpg, annotations/*.jpg.mat, frame_train.mat, frame_test.mat, "
    "query_info.txt (see docs/guides/data.md)"
)
_NAME = re.compile(r"(?P<camera>c\d+)s(?P<session>[1-9]\d*)_(?P<frame>\d{1,7})", re.ASCII)


@reader
def read(root: Path, split: str, findings: Findings) -> SceneSet:
    """Read a split of PRW, or of anything in its layout.

    Boxes are cut at the border of the frame after ``x + w`` and ``y + h`` were formed; a box
    beyond it is dropped. The same person may occur twice in a frame. A scene is named as its
    frame; ``camera`` is for example ``c6``, ``frame`` counts within it (:data:`SESSION_FRAMES`).

    Args:
        root: Folder with ``frames``, ``annotations`` and the lists.
        split: ``train`` (identities renumbered 0..L-1) or ``test`` (identities as in the files,
            with the queries; ``query_lists`` has ``mini`` where its file is there).
        findings: Collects faults and odd rows; by default the first fault is raised.

    Raises:
        UsageError: The split is another one.
        MissingDataError: A folder or file is not there.
        AnnotationError: A ``.mat`` file cannot be read or lacks its variable, a name, box or
            identity makes no sense, or a line of ``query_info.txt`` is malformed.
        PictureError: A frame is not a picture.
    """
    if split not in SPLITS:
        raise UsageError(f"PRW has no split {split!r}", hint=f"choose {' or '.join(SPLITS)}")
    for folder in (root, root / "frames", root / "annotations"):
        if not folder.is_dir():
            raise MissingDataError(f"no folder {folder}", hint=_LAYOUT)
    findings.boxes.with_sizes = True
    names = _frame_names(root / f"frame_{split}.mat", f"img_index_{split}", findings)
    found: list[Scene] = []
    for name in names:
        with findings.tolerated():
            found.append(_scene(root, name, findings))
    scenes = SceneSet(f"prw/{split}", tuple(found))
    if split == "train":
        _compare_ids(root / "ID_train.mat", "ID_train", scenes.person_ids, findings)
        return contiguous(scenes)
    queries = _queries(root / QUERY_FILE, scenes, findings)
    asked = sorted({query.person_id for query in queries})
    _compare_ids(root / "ID_test.mat", "ID_test2", asked, findings)
    lists: dict[str, Callable[[], tuple[Query, ...]]] = {}
    if (root / MINI_FILE).is_file():
        lists["mini"] = partial(_queries, root / MINI_FILE, scenes, findings)
    return SceneSet(scenes.name, scenes.scenes, queries, lists)


def _frame_names(path: Path, variable: str, findings: Findings) -> list[str]:
    names: dict[str, None] = {}
    for cell in read_variable(path, (variable,), hint=_LAYOUT).ravel().tolist():
        with findings.tolerated():
            name = str(np.squeeze(cell))
            if not _NAME.fullmatch(name):
                raise AnnotationError(f"{path}: frame {name!r} is not named like 'c6s1_042326'")
            if name in names:
                raise AnnotationError(f"{path} lists frame {name!r} twice")
            names[name] = None
    return list(names)


def _compare_ids(path: Path, variable: str, ids: list[int], findings: Findings) -> None:
    """Note identities that the list of identities has and the split does not, and the reverse."""
    if not path.is_file():
        return
    with findings.tolerated():
        listed = read_variable(path, (variable,)).ravel()
        if listed.dtype.kind not in "iuf":
            raise AnnotationError(f"{path}: identities must be numbers, got {listed.dtype}")
        for person_id in sorted({int(value) for value in listed} - set(ids)):
            findings.note("listed identity that the split does not show", f"{path}: {person_id}")
        for person_id in sorted(set(ids) - {int(value) for value in listed}):
            findings.note("identity that the list of identities lacks", f"{path}: {person_id}")


def _scene(root: Path, name: str, findings: Findings) -> Scene:
    parts = _NAME.fullmatch(name)
    assert parts is not None  # _frame_names checked it
    path, table_path = root / "frames" / f"{name}.jpg", root / "annotations" / f"{name}.jpg.mat"
    table = read_variable(table_path, BOX_VARIABLES, hint=_LAYOUT)
    if table.size == 0:
        table = np.zeros((0, 5))
    if table.ndim != 2 or table.shape[1] != 5 or table.dtype.kind not in "iuf":
        raise AnnotationError(
            f"{table_path}: boxes must be rows of id x y w h, got {table.dtype} {table.shape}"
        )
    table = table.astype(np.float64)  # integers of MATLAB may be too narrow for x + w
    path = find_picture(path)
    size = picture_size(path)
    usable = np.ones(len(table), dtype=bool)
    for number, row in enumerate(table):
        usable[number] = False
        with findings.tolerated():
            where = f"{table_path}, row {number + 1}"
            corners = _check(row, size, where)
            findings.boxes.add(corners, size, path, where)
            usable[number] = True
    table = table[usable]
    boxes = _clipped(table[:, 1:], size)
    inside = is_valid(boxes)
    ids = np.maximum(table[:, 0].astype(np.int64), UNLABELLED)
    _note_oddities(table, boxes, inside, ids, str(table_path), findings)
    return Scene(
        name=name,
        path=path,
        boxes=boxes[inside],
        person_ids=ids[inside],
        camera=parts["camera"],
        frame=(int(parts["session"]) - 1) * SESSION_FRAMES + int(parts["frame"]),
    )


def _note_oddities(
    table: np.ndarray,
    boxes: np.ndarray,
    inside: np.ndarray,
    ids: np.ndarray,
    path: str,
    findings: Findings,
) -> None:
    corners = np.concatenate([table[:, 1:3], table[:, 1:3] + table[:, 3:]], axis=1)
    for row in np.flatnonzero(~inside):
        findings.note(
            "box lies beyond the border of its frame: dropped", f"{path}: {table[row].tolist()}"
        )
    for row in np.flatnonzero(inside & (np.abs(corners - boxes) > 1e-3).any(axis=1)):
        findings.note(
            "box passes the border of its frame: cut there", f"{path}: {table[row].tolist()}"
        )
    named = ids[inside & (ids != UNLABELLED)].tolist()
    for person_id in sorted({i for i in named if named.count(i) > 1}):
        findings.note("person twice in a frame: both kept", f"{path}: {person_id}")


def _queries(path: Path, scenes: SceneSet, findings: Findings) -> tuple[Query, ...]:
    if not path.is_file():
        raise MissingDataError(f"no file {path}", hint=_LAYOUT)
    pictures = {scene.name: scene.path for scene in scenes.scenes}
    queries: list[Query] = []
    # strip() ends lines of both kinds; the original has CRLF, many copies have LF
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            with findings.tolerated():
                queries.append(_query(line.strip(), pictures, f"{path} line {number}"))
    return tuple(queries)


def _query(line: str, pictures: Mapping[str, Path], where: str) -> Query:
    *numbers, name = line.split()
    try:
        row = np.array(numbers, dtype=np.float64)
    except ValueError:
        row = np.zeros(0)
    if row.shape != (5,):
        raise AnnotationError(f"{where}: expected 'id x y w h frame', got {line!r}")
    if name not in pictures:
        raise AnnotationError(f"{where}: {name!r} is not a frame of the test list")
    size = picture_size(pictures[name])
    _check(row, size, where)
    box = _clipped(row[None, 1:], size)
    if row[0] < 0 or not is_valid(box)[0]:
        raise AnnotationError(f"{where}: no person inside {name!r}: {line!r}")
    return Query(scene=name, box=box[0], person_id=int(row[0]))


def _check(row: Float[np.ndarray, " 5"], size: tuple[int, int], where: str) -> Corners:
    """Return the corners of a row ``id x y w h``; refuse one that cannot mean a person."""
    person_id, x, y, w, h = row.tolist()
    is_whole = person_id.is_integer() and abs(person_id) < 2**53
    if not (is_whole and np.isfinite(row).all() and w > 0 and h > 0):
        raise AnnotationError(
            f"{where}: expected a whole id and a box with w > 0 and h > 0, "
            f"got id x y w h = {row.tolist()}"
        )
    corners = (x, y, x + w, y + h)
    check_pixels(corners, size, where)
    return corners


def _clipped(xywh: Float[np.ndarray, "N 4"], size: tuple[int, int]) -> np.ndarray:
    # Add, then cut: cutting x at 0 first would move the right border of a box that starts outside.
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    return clip(corners, *size).astype(np.float32)
