import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdps.data.parsing.shapes import box_around, check_pixels, ellipse_box, upright_box
from fdps.errors import AnnotationError

sides = st.floats(1, 500)
angles = st.floats(-720, 720)


def turned(x: float, y: float, degrees: float) -> tuple[float, float]:
    """Turn a point about the origin."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x * cos - y * sin, x * sin + y * cos


@given(x=sides, y=sides, width=sides, height=sides, degrees=angles)
def test_a_turned_rectangle_is_held_by_its_box(
    x: float, y: float, width: float, height: float, degrees: float
) -> None:
    corners = [turned(sx * width / 2, sy * height / 2, degrees) for sx in (-1, 1) for sy in (-1, 1)]
    expected = box_around([(x + dx, y + dy) for dx, dy in corners])
    box = upright_box((x - width / 2, y - height / 2, x + width / 2, y + height / 2), degrees)
    assert box == pytest.approx(expected, abs=1e-6)


@pytest.mark.long
@given(rx=sides, ry=sides, degrees=angles)
def test_a_turned_ellipse_is_held_by_its_box(rx: float, ry: float, degrees: float) -> None:
    outline = [
        turned(rx * math.cos(t), ry * math.sin(t), degrees)
        for t in (2 * math.pi * k / 3600 for k in range(3600))
    ]
    box = ellipse_box(0.0, 0.0, rx, ry, degrees)
    assert box == pytest.approx(box_around(outline), abs=1e-5 * max(rx, ry))


@pytest.mark.parametrize("degrees", [0.0, 180.0, 360.0, -180.0])
def test_half_turns_change_nothing(degrees: float) -> None:
    assert upright_box((1.5, 2.0, 7.0, 30.25), degrees) == (1.5, 2.0, 7.0, 30.25)


@pytest.mark.parametrize("box", [(0.1, 0.2, 0.3, 0.9), (0.0, 0.0, 1.0, 0.5)])
def test_shares_of_a_picture_are_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(AnnotationError, match=r"row 3: .* look like shares") as caught:
        check_pixels(box, (640, 480), "row 3")
    assert "multiply" in caught.value.hint


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((0.0, 0.0, 1.0, 1.0), (640, 480)),  # one pixel, in whole numbers
        ((0.25, 0.5, 3.0, 9.0), (640, 480)),  # it begins within the first pixel
        ((0.1, 0.2, 0.3, 0.9), (2, 2)),  # the picture itself is that small
    ],
)
def test_small_boxes_are_boxes(
    box: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    check_pixels(box, size, "row 3")
