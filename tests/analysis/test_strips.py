import re

import numpy as np
import pytest
from PIL import Image

from fdps.analysis.strips import (
    RIGHT,
    UNKNOWN,
    WRONG,
    JudgedHit,
    compute_hits,
    draw_strip,
)
from fdps.errors import MissingDataError, PictureError
from fdps.evaluation import evaluate
from fdps.predictions import Predictions
from fdps.structures import Hit, Query, Scene, SceneSet

BOX = np.array([20, 10, 50, 90], np.float32)
FRAME = 6  # pixels between the person and the scene


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


def draw(pictures, *judgements):
    return draw_strip(query(), hits(*judgements), pictures, height_px=120)


def test_every_tile_says_what_it_shows(pictures):
    tiles = draw(pictures, True, False, None)
    assert [tile.kind for tile in tiles] == ["query", "right", "wrong", "unknown"]
    assert [tile.label for tile in tiles] == ["Query", "1 · 0.85", "2 · 0.80", "3 · 0.75"]
    assert [tile.description for tile in tiles] == [
        "The person looked for: person 3 of 0.png.",
        "Rank 1: 1.png, similarity 0.85, right.",
        "Rank 2: 2.png, similarity 0.80, wrong.",
        "Rank 3: 3.png, similarity 0.75, not judged.",
    ]


@pytest.mark.parametrize(("judgement", "colour"), [(True, RIGHT), (False, WRONG), (None, UNKNOWN)])
def test_hit_box_is_drawn_in_the_scene(pictures, judgement, colour):
    image = draw(pictures, judgement)[1].image
    assert image.mode == "RGB"
    assert image.size == (60 + FRAME + 160, 120)
    tile = np.asarray(image)[:, 60 + FRAME :]  # the scene at scale 1
    x1, y1, x2, y2 = (int(edge) for edge in BOX)
    for x, y in [(x1, 50), (x2, 50), (35, y1), (35, y2)]:
        assert tuple(tile[y, x]) == colour
    assert tuple(tile[50, 35]) == (200, 199, 190)


def test_no_hits_still_shows_the_query(pictures):
    assert [tile.kind for tile in draw(pictures)] == ["query"]


def test_box_at_the_border_and_thinner_than_a_pixel(pictures):
    thin = Hit("1.png", np.array([159.5, 0, 160, 120], np.float32), similarity=1.0, score=1.0)
    tiles = draw_strip(query(), [JudgedHit(thin)], pictures, height_px=120)
    assert tiles[1].image.size == (60 + FRAME + 160, 120)


def test_missing_picture_is_named(pictures):
    pictures["1.png"].unlink()
    with pytest.raises(MissingDataError, match=re.escape("1.png")):
        draw(pictures, True)


def test_unreadable_picture_is_named(pictures):
    pictures["1.png"].write_bytes(b"no picture")
    with pytest.raises(PictureError, match=re.escape("1.png")):
        draw(pictures, True)


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
