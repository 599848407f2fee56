import re

import numpy as np
import pytest
from PIL import Image

from fdps.analysis.strips import (
    INK,
    RIGHT,
    UNKNOWN,
    WRONG,
    JudgedHit,
    compute_hits,
    describe_strip,
    ranked_strip,
)
from fdps.errors import MissingDataError, PictureError
from fdps.evaluation import evaluate
from fdps.predictions import Predictions
from fdps.structures import Hit, Query, Scene, SceneSet

BOX = np.array([20, 10, 50, 90], np.float32)
FRAME, LABEL = 6, 34  # of a tile, pixels


@pytest.fixture
def pictures(tmp_path):
    paths = {}
    for i in range(12):
        paths[f"{i}.png"] = tmp_path / f"{i}.png"
        Image.new("RGB", (160, 120), (200, 200 - i, 190)).save(paths[f"{i}.png"])
    return paths


def hits(*judgements):
    return [
        JudgedHit(Hit(f"{i}.png", BOX, similarity=0.9 - i / 20, score=0.8), is_right)
        for i, is_right in enumerate(judgements, start=1)
    ]


def query():
    return Query("0.png", BOX, person_id=3)


def frame_colours(strip):
    """Colours of the runs of frame pixels in the row just below the labels."""
    row = [tuple(pixel) for pixel in np.asarray(strip)[LABEL + 1]]
    runs = [colour for i, colour in enumerate(row) if i == 0 or colour != row[i - 1]]
    return [colour for colour in runs if colour in {RIGHT, WRONG, UNKNOWN, INK}]


def test_frames_follow_the_judgement(pictures):
    strip = ranked_strip(query(), hits(True, False, None), pictures)
    assert strip.mode == "RGB"
    assert frame_colours(strip) == [INK, RIGHT, WRONG, UNKNOWN]


def test_judgement_is_marked_by_a_shape_too(pictures):
    # In grey, the two tiles still differ: a tick and a cross.
    right = ranked_strip(query(), hits(True), pictures).crop((0, 0, 400, LABEL))
    wrong = ranked_strip(query(), hits(False), pictures).crop((0, 0, 400, LABEL))
    is_paper = [np.asarray(image.convert("L")) > 230 for image in (right, wrong)]
    assert (is_paper[0] != is_paper[1]).sum() > 40


def test_hit_box_is_drawn_in_the_scene(pictures):
    strip = np.asarray(ranked_strip(query(), hits(True), pictures, height_px=120))
    # Scale 1: the scene is the last thing in the row, its frame ends at the edge.
    left, top = strip.shape[1] - FRAME - 160, LABEL + FRAME
    x1, y1, x2, y2 = (int(edge) for edge in BOX)
    for x, y in [(x1, 50), (x2, 50), (35, y1), (35, y2)]:
        assert tuple(strip[top + y, left + x]) == RIGHT
    assert tuple(strip[top + 50, left + 35]) == (200, 199, 190)


@pytest.mark.parametrize(
    ("n_hits", "n_rows"),
    [(1, 1), (5, 1), (6, 2), (10, 2)],
)
def test_size_grows_by_rows_of_tiles(pictures, n_hits, n_rows):
    strip = ranked_strip(query(), hits(*[True] * n_hits), pictures, columns=5, height_px=120)
    tile_height = LABEL + 120 + 2 * FRAME
    assert strip.height == n_rows * tile_height + (n_rows - 1) * 12
    tile_width = 60 + 160 + 3 * FRAME
    query_width = (strip.height - LABEL - 2 * FRAME) // 2 + 2 * FRAME
    assert strip.width == query_width + 24 + min(n_hits, 5) * (tile_width + 12)


def test_no_hits_still_shows_the_query(pictures):
    strip = ranked_strip(query(), [], pictures)
    assert frame_colours(strip) == [INK]
    assert describe_strip(query(), []) == "Person 3 of 0.png: no hits."


def test_box_at_the_border_and_thinner_than_a_pixel(pictures):
    thin = Hit("1.png", np.array([159.5, 0, 160, 120], np.float32), similarity=1.0, score=1.0)
    assert frame_colours(ranked_strip(query(), [JudgedHit(thin)], pictures)) == [INK, UNKNOWN]


def test_missing_picture_is_named(pictures):
    pictures["1.png"].unlink()
    with pytest.raises(MissingDataError, match=re.escape("1.png")):
        ranked_strip(query(), hits(True), pictures)


def test_unreadable_picture_is_named(pictures):
    pictures["1.png"].write_bytes(b"no picture")
    with pytest.raises(PictureError, match=re.escape("1.png")):
        ranked_strip(query(), hits(True), pictures)


@pytest.fixture
def searched(tmp_path):
    """Query in scene 0; scene 1 shows persons 3 and 4, scene 2 only person 4, scene 3 nobody."""
    other = BOX + np.array([60, 0, 60, 0], np.float32)
    people = [([BOX], [3]), ([BOX, other], [3, 4]), ([other], [4]), ([], [])]
    scenes = SceneSet(
        "test",
        tuple(
            Scene(
                f"{i}.png",
                tmp_path / f"{i}.png",
                np.array(boxes, np.float32).reshape(-1, 4),
                np.array(ids, np.int64),
            )
            for i, (boxes, ids) in enumerate(people)
        ),
        (query(),),
    )
    found = [(0, BOX, 1.0), (1, BOX + 2, 0.6), (1, other, 0.8), (2, other, 0.28)]
    predictions = Predictions(
        scenes=tuple(scene.name for scene in scenes.scenes),
        boxes=np.array([box for _, box, _ in found], np.float32),
        scores=np.full(4, 0.9, np.float32),
        embeddings=np.array([[s, (1 - s * s) ** 0.5] for _, _, s in found], np.float32),
        scene=np.array([row for row, _, _ in found], np.int64),
        queries=scenes.queries,
        query_embeddings=np.array([[1, 0]], np.float32),
    )
    return evaluate(predictions, scenes).search, predictions


def test_hits_are_those_that_were_scored(searched):
    result, predictions = searched
    ranked = compute_hits(result, 0, predictions)
    # Fewer than ten: the own scene of the query is no hit, and nobody else was found.
    assert [(j.hit.scene, j.is_right) for j in ranked] == [
        ("1.png", False),
        ("1.png", True),
        ("2.png", False),
    ]
    np.testing.assert_allclose([j.hit.similarity for j in ranked], [0.8, 0.6, 0.28], rtol=1e-6)
    np.testing.assert_array_equal(ranked[1].hit.box, BOX + 2)


def test_no_more_hits_than_asked_for(searched):
    result, predictions = searched
    assert len(compute_hits(result, 0, predictions, top=2)) == 2
