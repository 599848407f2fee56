"""Find pictures to paste people into, and cut a view out of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from fdps.boxes import clip, is_valid
from fdps.data import load_scenes
from fdps.data.collage.cutouts import picture_files
from fdps.data.detect_kind import kind_of, splits_of
from fdps.errors import MissingDataError
from fdps.pictures import picture_size, read_picture

_ZOOM = (1.0, 1.6)  # of the largest view that fits
_PATCH_ZOOM = (2.0, 5.0)  # a patch is a texture and no small picture
_NARROW = 0.75  # width per height of a picture that is set in a row, as share of that of the view
_TRIES = 8

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Background:
    """A picture to paste people into.

    Args:
        path: The picture.
        people: Boxes ``x1 y1 x2 y2`` of the people who are in it already, in its pixels.
    """

    path: Path
    people: tuple[Corners, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A part of a background in the size of a picture.

    Args:
        picture: RGB picture.
        people: Boxes of the people in it, in its pixels; they may pass its border.
    """

    picture: Image.Image
    people: Float32[np.ndarray, "N 4"]

    def inside(self) -> Float32[np.ndarray, "N 4"]:
        """Return the boxes, cut at the border of the view."""
        return np.asarray(clip(self.people, *self.picture.size))

    def visible(self) -> Float32[np.ndarray, " N"]:
        """Return the share of each box that is inside the view, in (0, 1]."""
        return np.asarray(_area(self.inside()) / _area(self.people))


def find_backgrounds(folder: Path) -> tuple[Background, ...]:
    """Find the pictures of a folder in which nobody is to be seen.

    Nothing checks that: whoever is there would be taught to be background.

    Raises:
        MissingDataError: There is no such folder, or no picture in it.
        PictureError: A file is not a picture.
    """
    files = picture_files(folder, "--backgrounds")
    for path in files:
        picture_size(path)  # a fault is found here and not an hour later
    return tuple(Background(path) for path in files)


def backgrounds_with_people(root: Path) -> tuple[Background, ...]:
    """Take the pictures of a data set, all splits of it, with the boxes of its people.

    Args:
        root: Folder of a data set of any kind, whose boxes are complete.

    Raises:
        MissingDataError: There is no data set; the hint says how to make one.
        AnnotationError: The annotations are malformed.
        PictureError: A file is not a picture.
    """
    try:
        kind = kind_of(root)
    except MissingDataError as error:
        raise MissingDataError(
            f"no boxes of people at {root}: {error}",
            hint="--backgrounds-with-people needs a data set, so that nobody in the pictures "
            "becomes background; pictures without people go to --backgrounds",
        ) from error
    found: dict[Path, Background] = {}
    for split in splits_of(kind, root):
        for scene in load_scenes(kind, root, split).scenes:
            rows = (tuple(row) for row in scene.boxes.tolist())
            found[scene.path] = Background(scene.path, tuple((a, b, c, d) for a, b, c, d in rows))
    return tuple(found.values())


def cut_scene(
    backgrounds: Sequence[Background], size: tuple[int, int], rng: np.random.Generator
) -> View:
    """Choose a background at random and cut a view out of it.

    An upright picture is too narrow for a wide view, which would show little of it and much
    enlarged. Such pictures are set side by side: the rest of the view is filled the same way.

    Args:
        backgrounds: Where to choose from; at least one.
        size: Width and height of the view, in pixels.
        rng: Decides what is seen.

    Raises:
        MissingDataError: A picture is not there any more.
        PictureError: It cannot be decoded.
    """
    width, height = size
    views: list[View] = []
    while width > 0:
        background = backgrounds[int(rng.integers(len(backgrounds)))]
        rows, columns = _pixels(background.path).shape[:2]
        natural = round(columns / rows * height)
        part = min(natural, width) if natural < _NARROW * width else width
        views.append(cut_view(background, (part, height), rng))
        width -= part
    return views[0] if len(views) == 1 else _row(views, size)


def cut_view(
    background: Background,
    size: tuple[int, int],
    rng: np.random.Generator,
    zoom: tuple[float, float] = _ZOOM,
) -> View:
    """Cut a view of a size out of a background, mirrored or not, and enlarge it where needed.

    Args:
        background: The picture.
        size: Width and height of the view, in pixels.
        rng: Decides what is seen.
        zoom: Least and most enlargement of the largest view that fits.

    Raises:
        MissingDataError: The picture is not there any more.
        PictureError: It cannot be decoded.
    """
    whole = Image.fromarray(_pixels(background.path))
    largest = min(whole.width / size[0], whole.height / size[1])
    scale = largest / rng.uniform(*zoom)  # pixels of the background per pixel
    width, height = size[0] * scale, size[1] * scale
    left = rng.uniform(0, whole.width - width)
    top = rng.uniform(0, whole.height - height)
    frame = (left, top, left + width, top + height)
    picture = whole.resize(size, Image.Resampling.BICUBIC, box=frame)
    boxes = np.array(background.people, dtype=np.float64).reshape(-1, 4)
    boxes = (boxes - [left, top, left, top]) / scale
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        boxes = boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [size[0], 0, size[0], 0]
    boxes = boxes.astype(np.float32)
    return View(picture, boxes[is_valid(clip(boxes, *size))])


def cut_patch(
    backgrounds: Sequence[Background], size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Cut a patch without people out of any background; one flat colour if none is found.

    Args:
        backgrounds: Where to cut; at least one.
        size: Width and height of the patch, in pixels.
        rng: Decides where.

    Raises:
        MissingDataError: A picture is not there any more.
        PictureError: It cannot be decoded.
    """
    for _ in range(_TRIES):
        background = backgrounds[int(rng.integers(len(backgrounds)))]
        view = cut_view(background, size, rng, _PATCH_ZOOM)
        if not len(view.people):
            return view.picture
    red, green, blue = (int(level) for level in rng.integers(40, 180, size=3))
    return Image.new("RGB", size, (red, green, blue))


def _row(views: Sequence[View], size: tuple[int, int]) -> View:
    picture = Image.new("RGB", size)
    boxes = []
    left = 0
    for view in views:
        picture.paste(view.picture, (left, 0))
        # The edge of a picture hides the rest of a person, and the next picture begins there.
        inside = clip(view.people, view.picture.width, 10 * view.picture.height)
        boxes.append(inside + np.array([left, 0, left, 0], dtype=np.float32))
        left += view.picture.width
    return View(picture, np.concatenate(boxes))


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


@lru_cache(maxsize=64)
def _pixels(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    return read_picture(path)
