"""CVAT's own XML, version 1.1: tracks of a video, or boxes of pictures.

.. code-block:: text

    root/
      annotations.xml      or <split>.xml, which comes first
      images/              frame_000000.png ... of a video, or the pictures by name

A track is a person, numbered as CVAT numbers it. Where an export joins tasks that each number
their tracks from 0, tracks of one number are different people. An attribute ``person_id`` of a
track or of a shape says otherwise. Rectangles may be turned; polygons, polylines, ellipses, cuboids
and masks give the upright box around them. Points, skeletons and tags have none and are left out
with a note. A track that has key frames alone is filled in between two of them as CVAT does it.

Source: docs.cvat.ai, XML annotation format.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from xml.etree.ElementTree import Element

from fdps.data.findings import Findings
from fdps.data.identities import contiguous
from fdps.data.parsing.csv_rows import number, whole_number
from fdps.data.parsing.picture_files import find_picture
from fdps.data.parsing.query_list import by_rule
from fdps.data.parsing.scene_rows import (
    PERSON_LABELS,
    PersonRow,
    check_size,
    inner_path,
    make_scene,
)
from fdps.data.parsing.shapes import Corners, box_around, ellipse_box, upright_box
from fdps.data.parsing.xml_tree import read_xml
from fdps.data.readers.reader import reader
from fdps.errors import AnnotationError, MissingDataError
from fdps.pictures import picture_size
from fdps.structures import UNLABELLED, Scene, SceneSet

_FRAME = re.compile(r"\D*(\d{1,12})\.\w+", re.ASCII)
_EDGES = ("xtl", "ytl", "xbr", "ybr")
_CUBOID = [f"{edge}{side}" for side in (1, 2) for edge in ("tl", "bl", "tr", "br")]
_STEADY = {
    "box": _EDGES,
    "ellipse": ("cx", "cy", "rx", "ry"),
    "cuboid": tuple(f"{axis}{edge}" for edge in _CUBOID for axis in "xy"),
}
"""Shapes that CVAT moves evenly from one key frame to the next, and their numbers."""
SHAPES = ("box", "polygon", "polyline", "ellipse", "cuboid", "mask")
"""Shapes that have a box around them."""
WITHOUT_EXTENT = ("points", "skeleton", "tag")
"""Marks that have no box."""


@reader
def read(root: Path, split: str, findings: Findings) -> SceneSet:
    """Read an export of CVAT.

    Boxes that are outside the view (``outside="1"``) are left out, and so are other labels where
    the file has one of :data:`PERSON_LABELS`.

    Args:
        root: Folder of the export, or the XML file.
        split: ``train`` numbers the identities 0..L-1; any other split has a query for everybody
            who is in two scenes or more, by the largest box.
        findings: Collects faults and odd rows; by default the first fault is raised.

    Raises:
        MissingDataError: There is no XML file, or a picture is not there.
        AnnotationError: The file is not XML or not CVAT's, or a row is malformed.
        PictureError: A file is not a picture.
    """
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
    wanted = _labels(tree, file, findings)
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


def _labels(tree: Element, file: Path, findings: Findings) -> set[str] | None:
    """Return the labels that mean a person; ``None`` if none does, and all count as people."""
    used = {
        str(element.get("label"))
        for tag in ("track", *SHAPES, *WITHOUT_EXTENT)
        for element in tree.iter(tag)
    }
    people = {label for label in used if label.lower() in PERSON_LABELS}
    if used - {"None"} and not people:
        findings.note(
            f"no shape has a label of {', '.join(PERSON_LABELS)}: all are taken as people",
            f"{file} has {', '.join(sorted(used))}",
            is_loss=True,
        )
    return people or None


def _video_scenes(
    tree: Element, wanted: set[str] | None, file: Path, folder: Path, findings: Findings
) -> list[Scene]:
    frames: dict[int, list[PersonRow]] = {}
    pictures = _numbered(folder)
    tracks = list(tree.iter("track"))
    numbers = _track_numbers(tracks, file, findings)
    for position, track in enumerate(tracks):
        where = f"{file}, track {track.get('id', f'number {position + 1}')}"
        if _is_other(track, wanted, where, findings) or position not in numbers:
            continue
        with findings.tolerated():
            for frame, row in _track_rows(track, numbers[position], pictures, where, findings):
                frames.setdefault(frame, []).append(row)
    for frame in sorted(frames.keys() - pictures.keys()):
        findings.fault(
            MissingDataError(
                f"no picture of frame {frame} in {folder}, which {frames[frame][0].where} shows",
                hint="pictures are named frame_000000.png and so on",
            )
        )
    sizes = [
        {child.tag: child.text or "" for child in found} for found in tree.iter("original_size")
    ]
    stated = sizes[0] if sizes and all(size == sizes[0] for size in sizes) else None
    scenes: list[Scene] = []
    for frame, path in pictures.items():
        with findings.tolerated():
            size = picture_size(path)
            if stated is not None:
                given, stated = stated, None  # one picture stands for the video
                with findings.tolerated():
                    _check_stated(given, size, path, f"{file}: the video")
            rows = frames.get(frame, ())
            scenes.append(make_scene(path.name, path, rows, findings, frame=frame, size=size))
    return scenes


def _track_numbers(tracks: Sequence[Element], file: Path, findings: Findings) -> dict[int, int]:
    """Give the person of each track a number, by the position of the track.

    An attribute ``person_id`` says who it is, and such tracks may share a person. Any other track
    is a person of its own, numbered by its ``id`` unless somebody has that number: exports of a
    whole project join tasks that each count from 0. Numbers from the highest on tell them apart.
    """
    stated: dict[int, int] = {}
    ids: dict[int, int] = {}
    for position, track in enumerate(tracks):
        with findings.tolerated():
            where = f"{file}, track number {position + 1}"
            own = _stated_id(track, where)
            ids[position] = whole_number(track.get("id", ""), "id", where)
            if own is not None:
                stated[position] = own
    taken = set(stated.values())
    free = count(max([*ids.values(), *taken], default=-1) + 1)
    numbers = dict(stated)
    for position in sorted(ids.keys() - stated.keys()):
        track_id = ids[position]
        numbers[position] = track_id
        if track_id in taken:
            numbers[position] = next(free)
            task = tracks[position].get("task_id")
            findings.note(
                "track id that somebody else has: taken as another person",
                f"{file}, track {track_id}" + (f" of task {task}" if task else ""),
                is_loss=True,
            )
        taken.add(track_id)
    return numbers


def _is_other(element: Element, wanted: set[str] | None, where: str, findings: Findings) -> bool:
    """Tell whether the label means something other than a person, which is noted."""
    label = element.get("label")
    if not wanted or label in wanted:
        return False
    findings.note(f"shape with the label {label!r}, which is no person: left out", where)
    return True


def _track_rows(
    track: Element,
    person_id: int,
    pictures: Collection[int],
    where: str,
    findings: Findings,
) -> Iterator[tuple[int, PersonRow]]:
    """Yield the rows of a track by frame, and those between its key frames."""
    ordered = sorted(pictures)
    last: tuple[int, Element] | None = None
    who, n_filled = person_id, 0
    for frame, shape in sorted(_by_frame(track, where, findings), key=lambda found: found[0]):
        place = f"{where}, frame {frame}"
        before, last = last, (None if shape.get("outside", "0") == "1" else (frame, shape))
        with findings.tolerated():
            if before is not None:
                between = ordered[bisect_right(ordered, before[0]) : bisect_left(ordered, frame)]
                n_filled += len(between)
                yield from _filled_in(before, (frame, shape), between, who, where, findings)
            if last is not None:
                stated = _stated_id(shape, place)
                who = person_id if stated is None else stated
                yield frame, PersonRow(who, _corners(shape, place, findings), place)
    if last is not None and ordered and ordered[-1] > last[0]:
        findings.note(
            'track that ends without outside="1": CVAT shows it to the end of the video, here '
            "nobody is read after its last frame",
            f"{where}, frame {last[0]}",
            is_loss=n_filled > 0,  # the file has key frames alone, so this may be one of them
        )


def _by_frame(track: Element, where: str, findings: Findings) -> Iterator[tuple[int, Element]]:
    for shape in _shapes(track, where, findings):
        with findings.tolerated():
            frame = whole_number(shape.get("frame", ""), "frame", where)
            if frame < 0:
                raise AnnotationError(f"{where}, frame {frame}: frames count from 0")
            yield frame, shape


def _filled_in(
    last: tuple[int, Element],
    following: tuple[int, Element],
    between: Iterable[int],
    person_id: int,
    where: str,
    findings: Findings,
) -> Iterator[tuple[int, PersonRow]]:
    """Yield the rows between two key frames: every number of the shape goes evenly to the next."""
    (first, shape), (end, target) = last, following
    for frame in between:
        place = f"{where}, frame {frame}"
        if shape.tag != target.tag or shape.tag not in _STEADY:
            findings.note(
                f"frame between two key frames of a {shape.tag}, which has no box there: left out",
                place,
                is_loss=True,
            )
            continue
        share = (frame - first) / (end - first)
        values = dict(shape.items())
        for name in _STEADY[shape.tag]:
            start, stop = (number(s.get(name, ""), name, place) for s in (shape, target))
            values[name] = str(start + (stop - start) * share)
        start, stop = (number(s.get("rotation", "0"), "rotation", place) for s in (shape, target))
        values["rotation"] = str(start + ((stop - start + 180) % 360 - 180) * share)
        corners = _corners(Element(shape.tag, values), place, findings)
        findings.note("frame between two key frames: box filled in as CVAT does it", place)
        yield frame, PersonRow(person_id, corners, place)


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
            path = find_picture(folder / name)
            size = picture_size(path)
            _check_stated(image.attrib, size, path, where)
            rows = []
            for number_, box in enumerate(_shapes(image, where, findings), start=1):
                place = f"{where}, {box.tag} {number_}"
                if _is_other(box, wanted, place, findings):
                    continue
                with findings.tolerated():
                    stated = _stated_id(box, place)
                    who = UNLABELLED if stated is None else stated
                    rows.append(PersonRow(who, _corners(box, place, findings), place))
            scenes[name] = make_scene(name, path, rows, findings, size=size)
    return list(scenes.values())


def _numbered(folder: Path) -> dict[int, Path]:
    found = ((_FRAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return {int(match[1]): path for match, path in found if match}


def _stated_id(element: Element, where: str) -> int | None:
    for attribute in element.findall("attribute"):
        if attribute.get("name") == "person_id" and (attribute.text or "").strip():
            return whole_number(attribute.text or "", "person_id", where)
    return None


def _shapes(parent: Element, where: str, findings: Findings) -> Iterator[Element]:
    """Yield the shapes of a track or picture that have a box around them."""
    for element in parent:
        if element.tag in SHAPES:
            yield element
        elif element.tag in WITHOUT_EXTENT:
            findings.note(
                f"{element.tag} marks a place and no extent: left out", where, is_loss=True
            )
        elif element.tag != "attribute":
            findings.note(
                f"<{element.tag}> is not known to this reader: left out", where, is_loss=True
            )


def _check_stated(stated: Mapping[str, str], size: tuple[int, int], path: Path, where: str) -> None:
    if "width" in stated and "height" in stated:
        width, height = (whole_number(stated[side], side, where) for side in ("width", "height"))
        check_size((width, height), size, path, where)


def _corners(shape: Element, where: str, findings: Findings) -> Corners:
    """Return the upright box around a shape, and note what the box does not tell."""

    def value(name: str, default: str = "") -> float:
        return number(shape.get(name, default), name, where)

    turned = value("rotation", "0")
    if shape.tag != "box" or turned:
        what = shape.tag if shape.tag != "box" else "box that is turned"
        findings.note(f"{what}: the upright box around it is taken", where)
    if shape.get("occluded") == "1":
        findings.note("shape that is occluded: taken like any other", where)
    if shape.tag == "ellipse":
        return ellipse_box(value("cx"), value("cy"), value("rx"), value("ry"), turned)
    if shape.tag == "cuboid":
        return box_around([(value(f"x{edge}"), value(f"y{edge}")) for edge in _CUBOID])
    if shape.tag == "mask":
        x, y = value("left"), value("top")
        return x, y, x + value("width"), y + value("height")
    if shape.tag in ("polygon", "polyline"):
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        if not all(len(pair) == 2 for pair in pairs):
            raise AnnotationError(
                f"{where}: points must be like 1.0,2.0;3.0,4.0, got {shape.get('points')!r}"
            )
        return box_around([(number(x, "x", where), number(y, "y", where)) for x, y in pairs])
    x1, y1, x2, y2 = map(value, _EDGES)
    return upright_box((x1, y1, x2, y2), turned) if turned else (x1, y1, x2, y2)
