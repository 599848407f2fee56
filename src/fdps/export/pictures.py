"""Pictures to compare and to time networks on: given ones, else drawn ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fdps.data.synthetic import SyntheticConfig, draw_scene
from fdps.errors import MissingDataError
from fdps.export.given import PeopleInPictures, Pictures
from fdps.pictures import read_picture
from fdps.search import find_pictures

DRAWN = 6
"""Drawn scenes that stand for pictures where none are given; one more is empty."""


def pictures_in(folder: Path, *, most: int = 200) -> Pictures:
    """Read the pictures of a folder and its folders, spread over all of them.

    Args:
        folder: The folder.
        most: Number of pictures that are read at most.

    Raises:
        MissingDataError: There is no picture.
        PictureError: A file cannot be decoded.
    """
    files = picture_paths([str(folder)])
    step = -(-len(files) // most)
    return [read_picture(file) for file in files[::step]]


def picture_paths(sources: Sequence[str]) -> list[Path]:
    """List pictures, those of folders and patterns, too.

    Raises:
        MissingDataError: There is no picture.
    """
    files = [file.path for file in find_pictures(sources).frames]
    if not files:
        raise MissingDataError(
            f"no picture in {', '.join(sources)}",
            hint="name pictures, or a folder with JPEG or PNG files, that show people",
        )
    return files


def drawn_pictures() -> tuple[Pictures, PeopleInPictures]:
    """Draw scenes with people, whose boxes are known, and a picture with nobody."""
    config = SyntheticConfig(width=640, height=480)
    scenes = [draw_scene(config, "test", index) for index in range(DRAWN)]
    grey = np.full((480, 640, 3), 127, dtype=np.uint8)
    pictures = [scene.picture for scene in scenes]
    boxes = [scene.boxes.astype(np.float32) for scene in scenes]
    return [*pictures, grey], [*boxes, np.zeros((0, 4), dtype=np.float32)]
