import numpy as np
import pytest

from fdps.analysis.drawn_detections import (
    ANNOTATED,
    FOUND,
    Sample,
    draw_detections,
    sample_sheet,
)
from fdps.structures import Detections, empty_boxes

GREY = 128
REACH = 3  # pixels that a frame reaches to either side of the edge of its box
BOX = (60.0, 80.0, 110.0, 180.0)


def picture(width=240, height=220):
    return np.full((height, width, 3), GREY, np.uint8)


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def found(*rows, scores=None):
    scores = np.linspace(0.9, 0.6, len(rows)) if scores is None else scores
    embeddings = np.zeros((len(rows), 4), np.float32)
    return Detections(boxes(*rows), np.array(scores, np.float32), embeddings)


def changed(image):
    return (np.asarray(image) != GREY).any(axis=2)


def is_on(image, colour):
    return (np.asarray(image) == colour).all(axis=2)


def frame_mask(box, shape, reach=REACH):
    """Pixels that are near the border of a box."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    x1, y1, x2, y2 = box

    def is_inside(grown):
        return (x >= x1 - grown) & (x <= x2 + grown) & (y >= y1 - grown) & (y <= y2 + grown)

    return is_inside(reach) & ~is_inside(-reach)


def test_a_detection_changes_its_frame_and_a_label_above_it():
    image = draw_detections(picture(), found(BOX, scores=[0.87]))
    assert image.mode == "RGB"
    mask = changed(image)
    frame = frame_mask(BOX, mask.shape)
    beside = mask & ~frame
    rows, columns = np.nonzero(beside)
    assert rows.max() < BOX[1]
    assert rows.min() > BOX[1] - 25
    assert columns.min() >= BOX[0] - REACH
    assert columns.max() < BOX[0] + 45
    # The edge itself is drawn without a gap.
    x1, y1, x2, y2 = map(int, BOX)
    colour = is_on(image, FOUND)
    assert colour[y1 : y2 + 1, [x1, x2]].all()
    assert colour[[y1, y2], x1 : x2 + 1].all()
    assert not mask[y1 + 10 : y2 - 10, x1 + 10 : x2 - 10].any()


def test_an_annotation_changes_parts_of_its_frame_and_nothing_else():
    image = draw_detections(picture(), found(), boxes(BOX))
    mask = changed(image)
    assert not (mask & ~frame_mask(BOX, mask.shape)).any()
    x1, y1, x2, y2 = map(int, BOX)
    for line in (mask[y1 : y2 + 1, x1], mask[y1 : y2 + 1, x2], mask[y1, x1 : x2 + 1]):
        assert 0.3 < line.mean() < 0.9
        assert (np.diff(line.astype(int)) == -1).sum() >= 2  # dashes, not one stroke
    assert is_on(image, ANNOTATED).any()


def test_found_and_annotated_differ_in_grey():
    detected = changed(draw_detections(picture(), found(BOX)).convert("L").convert("RGB"))
    annotated = changed(draw_detections(picture(), found(), boxes(BOX)).convert("L").convert("RGB"))
    x1, y1 = int(BOX[0]), int(BOX[1])
    assert detected[y1:180, x1].all()
    assert not annotated[y1:180, x1].all()


@pytest.mark.parametrize("truth", [None, empty_boxes()])
def test_nobody_found_leaves_the_picture(truth):
    original = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw_detections(original, found(), truth), original)


def test_the_given_picture_is_not_drawn_on():
    original = picture()
    draw_detections(original, found(BOX), boxes(BOX))
    assert (original == GREY).all()


def test_boxes_follow_the_scale_and_lines_keep_their_width():
    image = draw_detections(picture(), found(BOX), width=480)
    assert image.size == (480, 440)
    colour = is_on(image, FOUND)
    assert colour[160:361, [120, 220]].all()
    assert colour[300, 110:130].sum() == 2


def test_a_score_at_the_upper_border_is_written_below_it():
    top = (60.0, 0.0, 110.0, 100.0)
    mask = changed(draw_detections(picture(), found(top)))
    assert mask[5:13, 63:80].all()


def test_boxes_at_all_borders_stay_inside():
    whole = (0.0, 0.0, 240.0, 220.0)
    image = draw_detections(picture(), found(whole), boxes(whole))
    assert image.size == (240, 220)
    assert is_on(image, FOUND).any()


def test_a_box_thinner_than_a_dash_is_seen():
    thin = (60.0, 80.0, 60.2, 80.2)
    assert changed(draw_detections(picture(), found(), boxes(thin))).any()


def test_the_best_detection_lies_on_top():
    # The same frame but for its score: that of the better one is to be read.
    both = draw_detections(picture(), found(BOX, BOX, scores=[0.9, 0.6]))
    best = draw_detections(picture(), found(BOX, scores=[0.9]))
    np.testing.assert_array_equal(np.asarray(both), np.asarray(best))


def sample(name="scene", truth=None, height=220):
    return Sample(name, picture(height=height), found(BOX), truth)


@pytest.mark.parametrize(
    ("n", "columns", "size"),
    [
        # width: 12 + n (100 + 12); height: 12 + rows (24 + 92 + 12) + 24 for the legend
        (1, 3, (124, 164)),
        (3, 3, (348, 164)),
        (5, 3, (348, 292)),
        (5, 5, (572, 164)),
    ],
)
def test_pictures_stand_side_by_side_in_rows(n, columns, size):
    sheet = sample_sheet([sample("a")] * n, columns=columns, width=100)
    assert sheet.size == size
    left = np.asarray(sheet)[:, 12:112]
    assert (left[40:120] == GREY).all(axis=2).mean() > 0.4


def test_a_row_is_as_high_as_its_highest_picture():
    sheet = sample_sheet([sample(), sample(height=480)], width=120)
    assert sheet.height == 12 + 24 + 240 + 12 + 24


def test_no_picture_gives_a_sheet_that_says_so():
    sheet = sample_sheet([])
    assert sheet.size == (504, 70)
    assert (np.asarray(sheet) < 128).any()


def test_a_caption_has_the_name_and_the_counts():
    def caption(**of):
        return np.asarray(sample_sheet([sample(**of)], width=400))[12:36]

    named, other = caption(name="a.jpg"), caption(name="b.jpg")
    assert (named[:, :200] != other[:, :200]).any()
    np.testing.assert_array_equal(named[:, 200:], other[:, 200:])
    counted = caption(name="a.jpg", truth=boxes(BOX, BOX))
    assert (counted[:, 200:] != named[:, 200:]).any()


def test_a_long_name_wraps_beside_the_counts():
    name = "a/very/long/path/" * 9
    short, long = (sample_sheet([sample(n)], width=300) for n in ("x", name))
    right = slice(12 + 300 - 55, None)
    np.testing.assert_array_equal(np.asarray(short)[:36, right], np.asarray(long)[:36, right])
    assert (np.asarray(long)[14:34, 12:200] < 128).any()
    assert long.height > short.height + 80


def test_the_legend_speaks_of_annotations_where_there_are_some():
    without, with_truth = (
        np.asarray(sample_sheet([sample(truth=truth)], width=400))[-24:]
        for truth in (None, boxes(BOX))
    )
    assert is_on(without, FOUND).any()
    assert not is_on(without, ANNOTATED).any()
    assert is_on(with_truth, ANNOTATED).any()
