"""WILDTRACK: seven cameras that look at one place at the same time.

.. code-block:: text

    root/
      Image_subsets/C1/00000000.png ...          to C7; frames 0, 5, 10 ... of ten per second
      annotations_positions/00000000.json ...    a list of personID, positionID and views:
                                                 viewNum 0..6, xmin, ymin, xmax, ymax; -1: not seen

Source: Chavdarova et al., WILDTRACK: A Multi-Camera HD Dataset for Dense Unscripted Pedestrian
Detection, CVPR 2018. The first nine tenths of the moments are for training, as the authors split
them; people stay on the place, so training and test share identities.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdps.data.findings import Findings
from fdps.data.identities import contiguous
from fdps.data.parsing.json_rows import whole
from fdps.data.parsing.query_list import by_rule
from fdps.data.parsing.scene_rows import PersonRow, make_scene
from fdps.data.readers.reader import reader
from fdps.errors import AnnotationError, MissingDataError, UsageError
from fdps.structures import Scene, SceneSet

SPLITS = ("train", "test")
N_CAMERAS = 7
FRAMES_PER_SECOND = 10.0
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_LAYOUT = "expected root/: Image_subsets/C1..C7/*.png, annotations_positions/*.json"


@reader
def read(root: Path, split: str, findings: Findings) -> SceneSet:
    """Read a split of WILDTRACK.

    Args:
        root: Folder with ``Image_subsets`` and ``annotations_positions``.
        split: ``train`` (identities renumbered 0..L-1) or ``test`` (``personID``; everybody in
            two scenes or more is looked for once, by the largest box).
        findings: Collects faults and odd rows; by default the first fault is raised.

    Returns:
        Seven scenes for each moment, ``C1/00000000.png`` to ``C7/...``, with camera, frame and
        seconds: the cameras share a clock.

    Raises:
        UsageError: The split is another one.
        MissingDataError: A folder or a picture is not there.
        AnnotationError: A JSON file is malformed; the message has file, person and view.
        PictureError: A file is not a picture.
    """
    if split not in SPLITS:
        raise UsageError(f"WILDTRACK has no split {split!r}", hint=f"choose {' or '.join(SPLITS)}")
    moments = sorted((root / "annotations_positions").glob("*.json"))
    if not moments:
        raise MissingDataError(f"no annotations_positions/*.json in {root}", hint=_LAYOUT)
    n_train = len(moments) * 9 // 10
    chosen = moments[:n_train] if split == "train" else moments[n_train:]
    scenes: list[Scene] = []
    for file in chosen:
        with findings.tolerated():
            scenes += _scenes(root, file, findings)
    result = SceneSet(f"wildtrack/{split}", tuple(scenes))
    if split == "train":
        return contiguous(result)
    return SceneSet(result.name, result.scenes, tuple(by_rule(result)))


def _scenes(root: Path, file: Path, findings: Findings) -> Iterator[Scene]:
    if not (file.stem.isascii() and file.stem.isdigit()):
        raise AnnotationError(f"{file}: the name must be a frame number, like 00000005.json")
    frame = int(file.stem)
    views: list[list[PersonRow]] = [[] for _ in range(N_CAMERAS)]
    for position, person in enumerate(_people(file)):
        with findings.tolerated():
            where = f"{file}, person {position + 1}"
            person_id = whole(person, "personID", where)
            for view in _views(person, where):
                number = whole(view, "viewNum", where)
                place = f"{where}, view {number}"
                if not 0 <= number < N_CAMERAS:
                    raise AnnotationError(f"{place}: viewNum must be 0..{N_CAMERAS - 1}")
                x1, y1, x2, y2 = (float(whole(view, edge, place)) for edge in _EDGES)
                if (x1, y1, x2, y2) != (-1, -1, -1, -1):
                    views[number].append(PersonRow(person_id, (x1, y1, x2, y2), place))
    for number, rows in enumerate(views):
        with findings.tolerated():
            name = f"C{number + 1}/{file.stem}.png"
            yield make_scene(
                name,
                root / "Image_subsets" / name,
                rows,
                findings,
                camera=f"C{number + 1}",
                frame=frame,
                seconds=frame / FRAMES_PER_SECOND,
            )


def _people(file: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise AnnotationError(f"{file} must hold a list of people", hint=_LAYOUT)
    return content


def _views(person: dict[str, Any], where: str) -> list[dict[str, Any]]:
    views = person.get("views")
    if not isinstance(views, list) or not all(isinstance(view, dict) for view in views):
        raise AnnotationError(f"{where}: 'views' must be a list of objects, got {views!r:.80}")
    return views
