"""The picture from which a user chooses a person by number."""

import numpy as np
import pytest
from PIL import Image

from fdps.analysis.numbered import COLOURS, numbered_picture
from fdps.structures import Detections

GREY = 128


def picture(width=1100, height=800):
    return np.full((height, width, 3), GREY, np.uint8)


def found(*rows):
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(rows), dtype=np.float32)
    return Detections(boxes, scores, np.zeros((len(rows), 4), np.float32))


def is_on(image, colour):
    return (np.asarray(image) == colour).all(axis=2)


def extent(mask):
    """First and last column and row of the pixels of a mask."""
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_everybody_has_a_frame_of_their_colour_at_their_box():
    rows = [(100 + 180 * k, 300, 180 + 180 * k, 560) for k in range(5)]
    image = numbered_picture(picture(), found(*rows))
    assert image.size == (1100, 800)
    for (x1, y1, x2, y2), colour in zip(rows, COLOURS, strict=True):
        left, _, right, bottom = extent(is_on(image, colour))
        np.testing.assert_allclose((left, right, bottom), (x1, x2, y2), atol=3)
        middle = np.asarray(image)[y1 + 40 : y2 - 10, x1 + 10 : x2 - 10]
        assert (middle == GREY).all()  # the person is not covered


def test_each_number_is_another_glyph_and_the_best_is_one():
    one = numbered_picture(picture(), found((500, 300, 580, 560)))
    first_of_two = numbered_picture(
        picture(), found((500, 300, 580, 560), (900, 300, 980, 560))
    ).crop((0, 0, 700, 800))
    np.testing.assert_array_equal(np.asarray(one)[:, :700], np.asarray(first_of_two))
    rows = [(20 + 105 * k, 300, 90 + 105 * k, 560) for k in range(10)]
    image = numbered_picture(picture(), found(*rows))
    labels = {image.crop((x1 - 3, 255, x1 + 40, 297)).convert("1").tobytes() for x1, *_ in rows}
    assert len(labels) == 10


@pytest.mark.long
@pytest.mark.parametrize("scale", [0.05, 0.3, 1, 8])
def test_numbers_keep_their_share_of_the_picture(scale):
    box = np.array([400, 300, 480, 560]) * scale
    image = numbered_picture(
        picture(round(1100 * scale), round(800 * scale)), found(tuple(box.tolist()))
    )
    assert max(image.size) == max(640, round(1100 * scale))
    blue = is_on(image, COLOURS[0])
    factor = image.width / 1100
    above = blue[: round(295 * factor)]
    _, top, _, bottom = extent(above)
    assert (bottom - top) / image.width == pytest.approx(1.3 / 55, rel=0.35)
    assert bottom - top >= 14


def test_numbers_of_people_in_one_place_do_not_hide_each_other():
    same = (500, 300, 580, 560)
    image = numbered_picture(picture(), found(*[same] * 4))
    blocks = [int(is_on(image, colour).sum()) for colour in COLOURS[:4]]
    label = 1.3 * 20 * 1.1 * 20  # pixels of a label of one digit
    assert min(blocks) > 0.4 * label


@pytest.mark.parametrize("box", [(0, 0, 30, 60), (1070, 0, 1100, 60), (0, 0, 1100, 800)])
def test_numbers_at_the_border_are_whole(box):
    inside = numbered_picture(picture(), found((500, 300, 580, 560)))
    at_border = numbered_picture(picture(), found(box))
    white = [int(is_on(image, (255, 255, 255)).sum()) for image in (inside, at_border)]
    assert white[1] > 0
    rows, columns = np.nonzero(is_on(at_border, COLOURS[0]))
    assert len(rows) > 300
    assert columns.max() <= 1099
    assert rows.max() <= 799


def test_nobody_and_the_smallest_picture():
    untouched = picture()
    image = numbered_picture(untouched, found())
    np.testing.assert_array_equal(np.asarray(image), untouched)
    tiny = numbered_picture(np.zeros((1, 1, 3), np.uint8), found((0, 0, 1, 1)))
    assert tiny.size == (640, 640)


def test_the_picture_given_is_not_changed():
    given = picture()
    numbered_picture(given, found((500, 300, 580, 560)))
    assert (given == GREY).all()
    assert isinstance(numbered_picture(given, found()), Image.Image)
