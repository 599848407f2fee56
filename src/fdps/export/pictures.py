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
    return [read_picture(file) for file in picture_paths([str(folder)], most=most)]


def picture_paths(sources: Sequence[str], *, most: int) -> list[Path]:
    """List pictures, those of folders and patterns, too, spread over all of them.

    Args:
        sources: Pictures, folders, patterns and lists.
        most: Number of pictures that are listed at most.

    Raises:
        MissingDataError: There is no picture.
    """
    files = [file.path for file in find_pictures(sources).frames]
    if not files:
        raise MissingDataError(
            f"no picture in {', '.join(sources)}",
            hint="name pictures, or a folder with JPEG or PNG files, that show people",
        )
    return files[:: -(-len(files) // most)]


def drawn_pictures() -> tuple[Pictures, PeopleInPictures]:
    """Draw scenes with people, whose boxes are known, and a picture with nobody."""
    config = SyntheticConfig(width=640, height=480)
    scenes = [draw_scene(config, "test", index) for index in range(DRAWN)]
    grey = np.full((480, 640, 3), 127, dtype=np.uint8)
    pictures = [scene.picture for scene in scenes]
    boxes = [scene.boxes.astype(np.float32) for scene in scenes]
    return [*pictures, grey], [*boxes, np.zeros((0, 4), dtype=np.float32)]
