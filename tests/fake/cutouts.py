"""Material for collages, drawn: people with stripes, masks, and empty places."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = (90, 220)
"""Width and height of a picture of a person."""


def person(number: int, size: tuple[int, int] = SIZE) -> tuple[Image.Image, Image.Image]:
    """Draw somebody with stripes of two colours of their own, on grey; and the mask."""
    rng = np.random.default_rng([7, number])
    width, height = size
    first, second = (tuple(int(v) for v in rng.integers(20, 236, size=3)) for _ in range(2))
    picture, mask = Image.new("RGB", size, (128, 132, 125)), Image.new("1", size)
    stripes = Image.new("RGB", size, first)
    draw = ImageDraw.Draw(stripes)
    step = int(rng.integers(4, 12))
    for y in range(0, height, 2 * step):
        draw.rectangle((0, y, width, y + step - 1), fill=second)
    body = ImageDraw.Draw(mask)
    body.ellipse((width * 0.36, height * 0.03, width * 0.64, height * 0.2), fill=1)
    body.ellipse((width * 0.18, height * 0.17, width * 0.82, height * 0.97), fill=1)
    picture.paste(stripes, (0, 0), mask)
    return picture, mask


def write_cutouts(folder: Path, n: int) -> None:
    """Write people as PNG files with a transparent background."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        picture, mask = person(number)
        picture.putalpha(mask.convert("L"))
        picture.save(folder / f"p{number:03d}.png")


def write_masked(pictures: Path, masks: Path, n: int) -> None:
    """Write people as pictures and masks, two folders."""
    for folder in (pictures, masks):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        picture, mask = person(number)
        picture.save(pictures / f"p{number:03d}.jpg", quality=92)
        mask.save(masks / f"p{number:03d}.png")


def write_places(folder: Path, n: int, size: tuple[int, int] = (200, 150)) -> None:
    """Write places without anybody: a wall and a floor with joints."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        rng = np.random.default_rng([8, number])
        wall, floor = (tuple(int(v) for v in rng.integers(60, 200, size=3)) for _ in range(2))
        place = Image.new("RGB", size, wall)
        draw = ImageDraw.Draw(place)
        horizon = int(rng.integers(size[1] // 4, size[1] // 2))
        draw.rectangle((0, horizon, *size), fill=floor)
        for x in range(0, size[0], 25):
            draw.line((x, horizon, 2 * x - size[0] // 2, size[1]), fill=wall)
        place.save(folder / f"place{number:02d}.jpg", quality=90)
