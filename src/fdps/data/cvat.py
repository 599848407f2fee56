"""CVAT's own XML, version 1.1: tracks of a video, or boxes of pictures.

.. code-block:: text

    root/
      annotations.xml      or <split>.xml, which comes first
      images/              frame_000000.png ... of a video, or the pictures by name

A track is a person, numbered as CVAT numbers it. An attribute ``person_id`` of a track or of a
box says otherwise. Source: docs.cvat.ai, XML annotation format.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from fdps.data.csv_rows import number, whole_number
from fdps.data.findings import Findings
from fdps.data.identities import contiguous
from fdps.data.query_list import by_rule
from fdps.data.scene_rows import Corners, PersonRow, inner_path, make_scene
from fdps.data.xml_tree import read_xml
from fdps.errors import AnnotationError, MissingDataError
from fdps.structures import UNLABELLED, Scene, SceneSet

PERSON_LABELS = ("person", "pedestrian", "people")
_FRAME = re.compile(r"\D*(\d{1,12})\.\w+", re.ASCII)
_EDGES = ("xtl", "ytl", "xbr", "ybr")


def read(root: Path, split: str, findings: Findings | None = None) -> SceneSet:
    """Read an export of CVAT.

    Boxes that are outside the view (``outside="1"``) are left out, and so are other labels where
    the file has one of :data:`PERSON_LABELS`.

    Args:
        root: Folder of the export, or the XML file.
        split: ``train`` numbers the identities 0..L-1; any other split has a query for everybody
            who is in two scenes or more, by the largest box.
        findings: Where faults and odd rows go; by default the first fault is raised.

    Raises:
        MissingDataError: No XML file, or a picture is not there.
        AnnotationError: The file is no XML or not CVAT's, or a row is malformed.
        PictureError: A file is no picture.
    """
    findings = findings or Findings()
    file = _annotation_file(root, split)
    tree = read_xml(file)
    if tree.tag != "annotations":
        raise AnnotationError(
            f"{file} must have <annotations> outermost, got <{tree.tag}>",
            hint="export the task as 'CVAT for video 1.1' or 'CVAT for images 1.1'",
        )
    folder = file.parent / "images"
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder}", hint="export the task with its pictures")
    images = list(tree.iter("image"))
    wanted = _labels(tree)
    if images:
        scenes = _image_scenes(images, wanted, file, folder, findings)
    else:
        scenes = _video_scenes(tree, wanted, file, folder, findings)
    result = SceneSet(f"cvat/{split}", tuple(scenes))
    if split == "train":
        return contiguous(result)
    return SceneSet(result.name, result.scenes, tuple(by_rule(result)))


def _annotation_file(root: Path, split: str) -> Path:
    candidates = (
        [root] if root.suffix == ".xml" else [root / f"{split}.xml", root / "annotations.xml"]
    )
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise MissingDataError(
        f"no annotations at {root}",
        hint=f"expected a .xml file, or a folder with {split}.xml or annotations.xml",
    )


def _labels(tree: Element) -> set[str] | None:
    """Labels that mean a person; ``None``: all do."""
    used = {str(element.get("label")) for element in (*tree.iter("track"), *tree.iter("box"))}
    people = {label for label in used if label.lower() in PERSON_LABELS}
    return people or None


def _video_scenes(
    tree: Element, wanted: set[str] | None, file: Path, folder: Path, findings: Findings
) -> list[Scene]:
    frames: dict[int, list[PersonRow]] = {}
    for position, track in enumerate(tree.iter("track")):
        if wanted and track.get("label") not in wanted:
            continue
        with findings.tolerated():
            where = f"{file}, track {track.get('id', f'number {position + 1}')}"
            track_id = whole_number(track.get("id", ""), "id", where)
            own = _stated_id(track, where)
            for frame, row in _track_rows(track, track_id if own is None else own, where, findings):
                frames.setdefault(frame, []).append(row)
    pictures = _numbered(folder)
    for frame in sorted(frames.keys() - pictures.keys()):
        findings.fault(
            MissingDataError(
                f"no picture of frame {frame} in {folder}, which {frames[frame][0].where} shows",
                hint="pictures are named frame_000000.png and so on",
            )
        )
    scenes: list[Scene] = []
    for frame, path in pictures.items():
        with findings.tolerated():
            scenes.append(make_scene(path.name, path, frames.get(frame, ()), findings, frame=frame))
    return scenes


def _track_rows(
    track: Element, person_id: int, where: str, findings: Findings
) -> Iterator[tuple[int, PersonRow]]:
    for box in track.iter("box"):
        with findings.tolerated():
            frame = whole_number(box.get("frame", ""), "frame", where)
            place = f"{where}, frame {frame}"
            if frame < 0:
                raise AnnotationError(f"{place}: frames count from 0")
            if box.get("outside", "0") != "1":
                stated = _stated_id(box, place)
                who = person_id if stated is None else stated
                yield frame, PersonRow(who, _corners(box, place), place)


def _image_scenes(
    images: list[Element],
    wanted: set[str] | None,
    file: Path,
    folder: Path,
    findings: Findings,
) -> list[Scene]:
    scenes: dict[str, Scene] = {}
    for position, image in enumerate(images):
        with findings.tolerated():
            where = f"{file}, image {image.get('name', f'number {position + 1}')!r}"
            name = inner_path(image.get("name", ""), where)
            if name in scenes:
                raise AnnotationError(f"{where} occurs twice")
            rows = []
            for number_, box in enumerate(image.iter("box"), start=1):
                if wanted and box.get("label") not in wanted:
                    continue
                with findings.tolerated():
                    place = f"{where}, box {number_}"
                    stated = _stated_id(box, place)
                    who = UNLABELLED if stated is None else stated
                    rows.append(PersonRow(who, _corners(box, place), place))
            scenes[name] = make_scene(name, folder / name, rows, findings)
    return list(scenes.values())


def _numbered(folder: Path) -> dict[int, Path]:
    found = ((_FRAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return {int(match[1]): path for match, path in found if match}


def _stated_id(element: Element, where: str) -> int | None:
    for attribute in element.findall("attribute"):
        if attribute.get("name") == "person_id" and (attribute.text or "").strip():
            return whole_number(attribute.text or "", "person_id", where)
    return None


def _corners(box: Element, where: str) -> Corners:
    x1, y1, x2, y2 = (number(box.get(edge, ""), edge, where) for edge in _EDGES)
    return x1, y1, x2, y2
