"""Scaling without torch gives what torch gives, bit for bit."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from fdps.runtime.network_input import resize
from fdps.structures import Picture


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (480, 640, (416, 312)),  # a photograph into a detector: most weights are no round numbers
        (1080, 1920, (416, 234)),
        (123, 57, (128, 256)),  # a crop of a person grows
        (300, 90, (128, 256)),
        (600, 400, (200, 300)),  # half: every level is a tie or exact
        (1, 1, (3, 5)),
        (5, 7, (1, 1)),
        (1, 900, (128, 256)),
        (31, 17, (17, 31)),  # nothing changes
    ],
)
def test_levels_are_those_of_torch(height: int, width: int, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(resize(picture, size), _by_torch(picture, size))


def test_any_sizes_and_views_of_larger_pictures() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    for _ in range(100):
        top, left = rng.integers(0, 150, 2)
        crop = picture[top : top + int(rng.integers(1, 50)), left : left + int(rng.integers(1, 50))]
        size = int(rng.integers(1, 150)), int(rng.integers(1, 150))
        assert np.array_equal(resize(crop, size), _by_torch(crop, size))


def _by_torch(picture: Picture, size: tuple[int, int]) -> np.ndarray:
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(pixels, size=size[::-1], mode="bilinear", align_corners=False)
    return scaled[0].permute(1, 2, 0).round().numpy()
