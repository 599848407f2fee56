"""Pictures of people who can be told apart: each person wears two colours of their own."""

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def draw_scene(
    rng: np.random.Generator, person_ids: Sequence[int], size: tuple[int, int] = (160, 120)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw people side by side before a noisy background.

    Args:
        rng: Draws background, order and places.
        person_ids: Who is seen; equal ids look alike.
        size: Width and height of the picture.

    Returns:
        Picture, uint8 RGB, and whole ``x y w h`` of each person, float64 (N, 4), in the picture.
    """
    width, height = size
    grain = rng.integers(70, 130, size=(height // 8 + 1, width // 8 + 1, 3))
    picture = grain.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    boxes = np.zeros((len(person_ids), 4))
    slot = width // max(len(person_ids), 1)
    for row, place in enumerate(rng.permutation(len(person_ids))):
        w, h = int(slot * rng.uniform(0.5, 0.7)), int(height * rng.uniform(0.6, 0.8))
        x = int(place * slot + rng.integers(0, slot - w))
        y = int(rng.integers(0, height - h))
        draw_person(picture, person_ids[row], (x, y, w, h))
        boxes[row] = x, y, w, h
    noise = rng.integers(-12, 13, size=picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8), boxes


def draw_person(picture: np.ndarray, person_id: int, box: tuple[int, int, int, int]) -> None:
    """Draw somebody into a picture, at ``x y w h``."""
    x, y, w, h = box
    shirt, trousers = _colours(person_id)
    picture[y : y + h // 2, x : x + w] = shirt
    picture[y + h // 2 : y + h, x : x + w] = trousers


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Save in the format of the suffix; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=95)


def _colours(person_id: int) -> list[list[float]]:
    hue = person_id * 0.618  # steps of the golden ratio never come close to each other
    pair = [colorsys.hsv_to_rgb((hue + turn) % 1, 0.9, 0.9) for turn in (0, 0.37)]
    return [[255 * channel for channel in colour] for colour in pair]
