import numpy as np
import pytest

from fdps.crops import cut, cut_scaled, scaled


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((2, 3, 12, 33), (30, 10)),
        ((-5, -5, 4.4, 4.6), (5, 4)),
        ((29.9, 39.9, 30, 40), (1, 1)),
        ((7.2, 8.2, 7.4, 8.4), (1, 1)),
        ((0, 0, 100, 100), (40, 30)),
    ],
)
def test_boxes_are_cut_at_pixels_and_never_empty(
    box: tuple[float, ...], shape: tuple[int, int]
) -> None:
    image = np.zeros((40, 30, 3), np.uint8)
    assert cut(image, np.array([box], np.float32))[0].shape[:2] == shape


def test_a_crop_of_one_pixel_becomes_an_even_one() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    crop = cut_scaled(image, np.array([[4, 5, 5, 6]], np.float32), (32, 16))
    assert (crop == image[5, 4]).all()


def test_what_shrinks_is_smoothed() -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[::2] = 255
    assert np.abs(scaled(lines, (8, 8)).astype(int) - 127).max() <= 5  # of 128


def test_nobody_is_an_empty_stack() -> None:
    assert cut_scaled(
        np.zeros((9, 9, 3), np.uint8), np.zeros((0, 4), np.float32), (8, 4)
    ).shape == (
        0,
        8,
        4,
        3,
    )
