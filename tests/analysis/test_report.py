import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from PIL import Image

from fdps.analysis.report import (
    System,
    query_strip,
    results_table,
    spread_queries,
    write_report,
)
from fdps.errors import MissingDataError
from fdps.evaluation import evaluate
from fdps.predictions import Predictions
from fdps.structures import Query, Scene, SceneSet, empty_boxes


@pytest.fixture
def scenes(tmp_path):
    """Five scenes of 96×64 with one person each: 3 stands in the first three, 4 in the others."""
    box = np.array([[10, 5, 30, 60]], np.float32)
    found = []
    for i in range(5):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (96, 64), (40 * i, 90, 120)).save(path)
        found.append(Scene(path.name, path, box, np.array([3 if i < 3 else 4], np.int64)))
    queries = tuple(Query(f"{i}.png", box[0], found[i].person_ids[0].item()) for i in range(5))
    return SceneSet("drawn/test", tuple(found), queries)


def predict(scenes, angles):
    """Everybody is found; embeddings are directions in the plane."""
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return Predictions(
        scenes=tuple(scene.name for scene in scenes.scenes),
        boxes=np.concatenate([scene.boxes for scene in scenes.scenes]),
        scores=np.full(5, 0.9, np.float32),
        embeddings=embeddings,
        scene=np.arange(5),
        queries=scenes.queries,
        query_embeddings=embeddings,
    )


@pytest.fixture
def systems(scenes):
    sharp = predict(scenes, np.array([0, 0.1, 0.2, 1.5, 1.6]))
    blunt = predict(scenes, np.array([0, 1.5, 0.2, 0.1, 1.6]))
    return [System(n, evaluate(p, scenes), p) for n, p in [("sharp", sharp), ("blunt", blunt)]]


def test_table_prints_per_cent_of_every_system(systems):
    table = results_table(systems)
    assert table.columns == ("system", "recall", "AP", "mAP", "top-1", "top-5", "top-10")
    assert table.rows[0] == ("sharp", *["100.0"] * 6)
    assert table.rows[1][0] == "blunt"
    assert float(table.rows[1][3]) == pytest.approx(
        100 * systems[1].evaluation.search.mean_ap, abs=0.05
    )
    assert table.caption == "drawn/test, 5 scenes"
    assert "5 queries, 4 gallery scenes" in table.note


def test_detection_of_given_boxes_is_not_counted(systems):
    given = replace(systems[1], is_given_boxes=True)
    rows = results_table([systems[0], given]).rows
    assert rows[0][1:3] == ("100.0", "100.0")
    assert rows[1][1:3] == ("given", "given")


def test_undefined_figures_are_dashes(scenes):
    nobody = tuple(
        Scene(s.name, s.path, empty_boxes(), np.zeros(0, np.int64)) for s in scenes.scenes
    )
    empty = SceneSet("empty", nobody)
    predictions = Predictions(
        scenes=tuple(scene.name for scene in nobody),
        boxes=empty_boxes(),
        scores=np.zeros(0, np.float32),
        embeddings=np.zeros((0, 2), np.float32),
        scene=np.zeros(0, np.int64),
        queries=(),
        query_embeddings=np.zeros((0, 2), np.float32),
    )
    system = System("none", evaluate(predictions, empty), predictions)
    assert results_table([system]).rows == (("none", *["–"] * 6),)


def test_queries_are_spread_from_best_to_worst(systems):
    result = systems[1].evaluation.search
    rows = spread_queries(result, 3)
    values = result.average_precisions[rows].tolist()
    assert values == sorted(values, reverse=True)
    assert values[0] == result.average_precisions.max()
    assert values[-1] == result.average_precisions.min()
    assert sorted(spread_queries(result, 99)) == list(range(5))


@pytest.mark.long
def test_report_shows_all_systems_and_strips(systems, scenes, tmp_path):
    log = [{"step": 0, "reid": 1.0}]
    path = tmp_path / "report.html"
    write_report(path, "A test", systems, scenes, training=log, notes={"Seed": "7"}, n_strips=2)
    text = unescape(path.read_text(encoding="utf-8"))
    assert text.count("<figcaption>") == 4
    assert text.count('class="strip"') == 2
    assert re.search(r"<dt>Seed</dt><dd>7</dd>", text)
    assert "torch 2" in text
    assert "Person 3: 2 of 2 right scenes among the first 4 hits, average precision 1.00" in text


def test_lost_picture_is_named_and_no_report_is_left(systems, scenes, tmp_path):
    scenes.scenes[0].path.unlink()
    with pytest.raises(MissingDataError, match=r"0\.png"):
        write_report(tmp_path / "report.html", "A test", systems, scenes)
    assert not list(tmp_path.glob("report.html*"))


def test_a_query_without_hits_says_so(systems, scenes, tmp_path):
    nobody = replace(
        systems[0].predictions,
        boxes=empty_boxes(),
        scores=np.zeros(0, np.float32),
        embeddings=np.zeros((0, 2), np.float32),
        scene=np.zeros(0, np.int64),
    )
    strip = query_strip(System("none", evaluate(nobody, scenes), nobody), 0, scenes)
    assert strip.heading == "Person 3: nobody was found in the gallery"
    assert [tile.kind for tile in strip.tiles] == ["query"]
