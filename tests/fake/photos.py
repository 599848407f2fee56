"""Folders of pictures with people, and random people for archives."""

from pathlib import Path

import numpy as np

from fake.people import draw_scene, write_picture
from fdps.structures import Detections


def write_photos(folder: Path, n_scenes: int, *, seed: int = 0, suffix: str = ".png") -> None:
    """Pictures ``000.png``, ``001.png`` ... of one to three people out of twelve."""
    rng = np.random.default_rng(seed)
    for number in range(n_scenes):
        ids = rng.choice(12, size=rng.integers(1, 4), replace=False).tolist()
        picture, _ = draw_scene(rng, ids)
        write_picture(folder / f"{number:03}{suffix}", picture)


def unit_rows(rng: np.random.Generator, n: int, dim: int = 6) -> np.ndarray:
    rows = rng.normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_people(rng: np.random.Generator, n: int, dim: int = 6) -> Detections:
    corner = rng.uniform(0, 50, size=(n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 50, size=(n, 2))], axis=1)
    return Detections(
        boxes=boxes.astype(np.float32),
        scores=np.sort(rng.uniform(size=n))[::-1].astype(np.float32),
        embeddings=unit_rows(rng, n, dim),
    )
