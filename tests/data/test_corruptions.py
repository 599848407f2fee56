"""Corruptions: their number, their size, their strength, and that they repeat themselves."""

import numpy as np
import pytest

from fdps.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fdps.data.synthetic import SyntheticConfig, draw_scene
from fdps.errors import UsageError

PICTURE = draw_scene(SyntheticConfig(), "test", 3).picture
FLAT = np.full((48, 64, 3), 128, dtype=np.uint8)


def change(name: str, severity: int) -> float:
    """Mean absolute difference to the picture, in grey levels."""
    damaged = corrupt(PICTURE, name, severity).astype(np.int64)
    return float(np.abs(damaged - PICTURE).mean())


def test_there_are_eighteen_at_five_severities() -> None:
    assert len(CORRUPTIONS) == 18
    assert SEVERITIES == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_keeps_the_size_repeats_itself_and_grows(name: str) -> None:
    once, again = corrupt(PICTURE, name, 3), corrupt(PICTURE, name, 3)
    assert once.shape == PICTURE.shape
    assert once.dtype == np.uint8
    assert np.array_equal(once, again)
    changes = [change(name, severity) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert changes[0] > 0
    assert changes[-1] > 1.5 * changes[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (41, 2)])
def test_small_and_odd_pictures_are_corrupted_too(name: str, size: tuple[int, int]) -> None:
    tiny = np.full((*size, 3), 90, dtype=np.uint8)
    assert corrupt(tiny, name, 5).shape == tiny.shape


@pytest.mark.parametrize(
    "name", ["gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur", "glass_blur", "pixelate"]
)
def test_what_spreads_light_leaves_a_flat_picture_as_it_is(name: str) -> None:
    assert np.abs(corrupt(FLAT, name, 5).astype(int) - FLAT).max() <= 1


def test_values_by_hand() -> None:
    assert corrupt(FLAT, "brightness", 1)[0, 0, 0] == round((128 / 255 + 0.08) * 255)
    assert np.array_equal(corrupt(FLAT, "contrast", 5), FLAT)  # nothing to flatten
    red = np.zeros((8, 8, 3), dtype=np.uint8)
    red[..., 0] = 200
    grey = corrupt(red, "saturation", 5)
    assert grey[0, 0].tolist() == [60, 60, 60]  # 0.299 of 200
    impulses = corrupt(FLAT, "impulse_noise", 5)
    share = np.isin(impulses[..., 0], (0, 255)).mean()
    assert share == pytest.approx(0.18, abs=0.03)


def test_two_pictures_have_different_noise() -> None:
    brighter = FLAT + np.uint8(1)
    first = corrupt(FLAT, "gaussian_noise", 5).astype(int) - 128
    second = corrupt(brighter, "gaussian_noise", 5).astype(int) - 129
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.1


@pytest.mark.parametrize(
    ("name", "severity", "words"),
    [("acid", 1, "no corruption is called 'acid'"), ("fog", 6, "severity must be 1 to 5, got 6")],
)
def test_what_is_not_there_is_refused(name: str, severity: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        corrupt(FLAT, name, severity)
