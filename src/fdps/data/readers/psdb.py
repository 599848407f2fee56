"""Read the ``.mat`` structures that CUHK-SYSU introduced and MovieNet-PS took over.

``Images.mat`` has the boxes of all images, without identities. Lists of training identities and
of queries name an image and repeat the box of the person there; the person is found again by
equality of the four numbers. Boxes are ``x y w h`` in pixels.

Axes: N boxes of an image.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float64

from fdps.boxes import clip, is_valid
from fdps.data.findings import Findings
from fdps.data.parsing.mat import read_variable
from fdps.data.parsing.picture_files import find_picture
from fdps.data.parsing.shapes import check_pixels
from fdps.errors import AnnotationError
from fdps.pictures import picture_size
from fdps.structures import UNLABELLED, Query, Scene

XYWH = Float64[np.ndarray, " 4"]

IMAGE = ("imname", "nAppear", "box")
BOX = ("idlocate", "ishard")
PERSON = ("idname", "nAppear", "scene")
SIGHTING = ("imname", "idlocate", "ishard")
SEARCH = ("Query", "Gallery")
QUERY = ("imname", "idlocate", "ishard", "idname")
_UNUSED = ("nAppear", "ishard")


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """A query as a list has it; its boxes are neither checked nor cut.

    Args:
        scene: Image of the query.
        box: Box of the person there.
        person_id: Identity, at least 0.
        gallery: Images to search, in order.
        boxes: Box of the person by position in ``gallery``.
        where: File and row.
    """

    scene: str
    box: XYWH
    person_id: int
    gallery: tuple[str, ...]
    boxes: dict[int, XYWH]
    where: str


def records(
    value: np.ndarray, columns: Sequence[str], where: str
) -> Iterator[tuple[np.ndarray | None, ...]]:
    """Yield rows of a structure array, of cells that hold one each, or of a table of cells.

    Raises:
        AnnotationError: The value is something else, or a field is missing.
    """
    if value.dtype.names:
        missing = [
            name for name in columns if name not in value.dtype.names and name not in _UNUSED
        ]
        if missing:
            raise AnnotationError(
                f"{where}: no field {missing[0]!r}, found: {', '.join(value.dtype.names)}"
            )
        n = value.size
        fields = [
            value[name].ravel() if name in value.dtype.names else [None] * n for name in columns
        ]
        yield from zip(*fields, strict=True)
    elif value.size == 0:
        return
    elif value.dtype != object:
        raise AnnotationError(f"{where}: expected a structure, got {value.dtype} {value.shape}")
    elif not value.flat[0].dtype.names and value.shape[-1] == len(columns):
        yield from (tuple(row) for row in value.reshape(-1, len(columns)))
    else:
        for cell in value.ravel():
            if cell.dtype != object and not cell.dtype.names:
                raise AnnotationError(f"{where}: expected structures, got {cell.dtype}")
            yield from records(cell, columns, where)


def text(value: np.ndarray | None, where: str) -> str:
    """Return the one text of an array.

    Raises:
        AnnotationError: It is not a text, or empty, or there are several.
    """
    while value is not None and value.dtype == object and value.size == 1:
        value = value.item()
    if value is None or value.dtype.kind != "U" or value.size != 1 or not value.item():
        raise AnnotationError(f"{where}: expected a text, got {_short(value)}")
    return str(value.item())


def image_name(value: np.ndarray | None, where: str) -> str:
    """Return a text that names a file below the folder of the images.

    Raises:
        AnnotationError: It is not a text, or leads out of the folder.
    """
    name = text(value, where)
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise AnnotationError(f"{where}: image name {name!r} leads out of the data set")
    return name


def xywh(value: np.ndarray | None, where: str) -> XYWH | None:
    """Return the box of a sighting; ``None`` where the list leaves it empty.

    The numbers are float64: the files hold bytes and 16-bit numbers, in which ``x + w`` overflows.

    Raises:
        AnnotationError: The value is something else than four finite numbers.
    """
    if value is None or value.size == 0:
        return None
    if value.size != 4 or value.dtype.kind not in "iuf":
        raise AnnotationError(f"{where}: a box must be x y w h, got {_short(value)}")
    box = value.ravel().astype(np.float64)
    if not np.isfinite(box).all():
        raise AnnotationError(f"{where}: a box must be four finite numbers, got {box.tolist()}")
    return box


def read_boxes(path: Path, findings: Findings, hint: str) -> dict[str, np.ndarray]:
    """Read ``Images.mat``: image name → boxes (N, 4), in the order of the file.

    Boxes without width or height, which the file has, are dropped and noted.

    Raises:
        MissingDataError: There is no such file.
        AnnotationError: The file is not such a file, or a row is malformed.
    """
    boxes: dict[str, np.ndarray] = {}
    images = records(read_variable(path, ("Img",), hint=hint), IMAGE, str(path))
    for number, (name_cell, _, people) in enumerate(images, start=1):
        with findings.tolerated():
            name = image_name(name_cell, f"{path}, image {number}")
            where = f"{path}, image {number} ({name})"
            if name in boxes:
                raise AnnotationError(f"{where} occurs twice", hint="leave one of them")
            boxes[name] = _boxes_of_image(people, where, findings)
    return boxes


def _boxes_of_image(people: np.ndarray | None, where: str, findings: Findings) -> np.ndarray:
    kept: list[np.ndarray] = []
    rows = () if people is None else records(people, BOX, where)
    for number, (cell, *_) in enumerate(rows, start=1):
        with findings.tolerated():
            box = xywh(cell, f"{where}, box {number}")
            if box is None or box[2] <= 0 or box[3] <= 0:
                values = None if box is None else box.tolist()
                findings.note(
                    "box without width or height is dropped", f"{where}, box {number}: {values}"
                )
            else:
                kept.append(box)
    return np.array(kept, dtype=np.float64).reshape(-1, 4)


class People:
    """The boxes of all images and, step by step, who they are.

    Args:
        boxes: Boxes of each image.
        findings: Collects notes on identities without a box.

    Attributes:
        sizes: Width and height of the pictures that :meth:`scenes` opened.
    """

    def __init__(self, boxes: dict[str, np.ndarray], findings: Findings) -> None:
        self.boxes, self.findings = boxes, findings
        self.sizes: dict[str, tuple[int, int]] = {}
        self._ids: dict[str, np.ndarray] = {}

    def identify(self, name: str, box: XYWH, person_id: int, where: str) -> None:
        """Give an identity to the box of an image that equals the given one; note a miss."""
        rows = self.boxes.get(name, np.zeros((0, 4)))
        same = np.flatnonzero((rows == box).all(axis=1))
        if len(same) == 0:
            self.findings.note(
                "sighting equals no box of its image: nobody there gets the identity",
                f"{where}: {name} {box.tolist()}",
                is_loss=True,
            )
            return
        ids = self._ids.setdefault(name, np.full(len(rows), UNLABELLED, dtype=np.int64))
        if ids[same[0]] not in (UNLABELLED, person_id):
            self.findings.note(
                "two identities claim one box: the later one gets it", where, is_loss=True
            )
        ids[same[0]] = person_id

    def shows(self, name: str, box: XYWH) -> bool:
        """Tell whether an image has this box."""
        return bool((self.boxes.get(name, np.zeros((0, 4))) == box).all(axis=1).any())

    def scenes(self, names: Iterable[str], folder: Path) -> tuple[Scene, ...]:
        """Return the scenes of these images.

        Boxes are cut at the border of the picture after ``x + w`` and ``y + h`` were formed; one
        that lies beyond it is dropped. Both are noted.

        Raises:
            AnnotationError: An image has no row in ``Images.mat``.
            MissingDataError: A picture is not there.
            PictureError: A file is not a picture.
        """
        scenes: list[Scene] = []
        for name in names:
            with self.findings.tolerated():
                scenes.append(self._scene(name, folder / name))
        return tuple(scenes)

    def _scene(self, name: str, path: Path) -> Scene:
        if name not in self.boxes:
            raise AnnotationError(f"image {name!r} is listed, but has no row in Images.mat")
        rows = self.boxes[name]
        ids = self._ids.get(name, np.full(len(rows), UNLABELLED, dtype=np.int64))
        path = find_picture(path)
        size = self.sizes[name] = picture_size(path)
        boxes = cut(rows, size)
        inside = is_valid(boxes)
        for stated, (x1, y1, x2, y2) in zip(rows.tolist(), to_corners(rows).tolist(), strict=True):
            with self.findings.tolerated():
                where = f"{name}, box {stated} (x y w h)"
                check_pixels((x1, y1, x2, y2), size, where)
                self.findings.boxes.add((x1, y1, x2, y2), size, path, where)
        for row in np.flatnonzero(
            (rows[:, :2] < 0).any(1) | (to_corners(rows)[:, 2:] > size).any(1)
        ):
            what = "is cut there" if inside[row] else "lies beyond it and is dropped"
            self.findings.note(
                f"box passes the border of its picture: it {what}", f"{name} {rows[row].tolist()}"
            )
        return Scene(name, path, boxes[inside], ids[inside])


def to_corners(rows: Float64[np.ndarray, "N 4"]) -> Float64[np.ndarray, "N 4"]:
    """Turn ``x y w h`` into ``x1 y1 x2 y2``."""
    return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)


def cut(rows: Float64[np.ndarray, "N 4"], size: tuple[int, int]) -> np.ndarray:
    """Turn ``x y w h`` into float32 corners inside a picture of this width and height."""
    return clip(to_corners(rows), *size).astype(np.float32)


def build_queries(
    searches: Iterable[Search], sizes: Mapping[str, tuple[int, int]], findings: Findings
) -> tuple[Query, ...]:
    """Build the queries of a list, with their boxes cut at the border of the pictures.

    Entries that repeat, and the query's own image among them, are kept as the protocol has them
    and noted; so is a sighting behind an entry without one, where other loaders stop to read.

    Args:
        searches: Queries as the list has them.
        sizes: Width and height of the test images.
        findings: Collects faults and oddities.

    Raises:
        AnnotationError: A query or an entry names an image that is not among the scenes, or a
            box lies outside its picture.
    """
    queries: list[Query] = []
    for search in searches:
        with findings.tolerated():
            for name in (search.scene, *search.gallery):
                if name not in sizes:
                    raise AnnotationError(
                        f"{search.where}: image {name!r} is not among the images of the test split"
                    )
            boxes = {
                position: _inside(box, sizes[search.gallery[position]], search.where)
                for position, box in search.boxes.items()
            }
            _note_oddities(search, findings)
            box = _inside(search.box, sizes[search.scene], search.where)
            queries.append(Query(search.scene, box, search.person_id, search.gallery, boxes))
    return tuple(queries)


def _note_oddities(search: Search, findings: Findings) -> None:
    if search.scene in search.gallery:
        findings.note("query lists its own image: kept", f"{search.where}: {search.scene}")
    if len(set(search.gallery)) < len(search.gallery):
        twice = [name for name, n in Counter(search.gallery).items() if n > 1]
        findings.note("gallery lists an image twice: kept", f"{search.where}: {', '.join(twice)}")
    if sorted(search.boxes) != list(range(len(search.boxes))):
        findings.note(
            "sighting stands behind an entry without one: read all the same", search.where
        )


def _inside(box: XYWH, size: tuple[int, int], where: str) -> np.ndarray:
    corners = cut(box[None], size)
    if box[2] <= 0 or box[3] <= 0 or not is_valid(corners)[0]:
        raise AnnotationError(
            f"{where}: box {box.tolist()} (x y w h) has no part inside its picture of "
            f"{size[0]}x{size[1]}"
        )
    return np.asarray(corners[0])


def _short(value: np.ndarray | None) -> str:
    if value is None:
        return "nothing"
    return f"{value.dtype} {value.shape}" if value.size > 8 else repr(value.tolist())
