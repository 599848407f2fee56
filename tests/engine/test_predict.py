from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fdps
from fake.coco import write_coco
from fake.embedder import ColourEmbedder
from fdps.data import load_scenes
from fdps.engine.predict import predict
from fdps.errors import MissingDataError
from fdps.evaluation import evaluate
from fdps.pictures import read_picture
from fdps.predictions import data_hash, load_predictions, save_predictions
from fdps.structures import Boxes, Detections, Picture, SceneSet, empty_boxes


class Blind:
    """Finds nobody, and counts how often it is asked."""

    model_hash = "blind"
    dim = 3

    def __init__(self) -> None:
        self.n_detected = self.n_embedded = 0

    def detect(self, image: Picture) -> Detections:
        self.n_detected += 1
        return Detections(empty_boxes(), np.zeros(0, np.float32), np.zeros((0, 3), np.float32))

    def embed(self, image: Picture, boxes: Boxes) -> np.ndarray:
        self.n_embedded += 1
        return np.eye(3, dtype=np.float32)[[0] * len(boxes)]


@pytest.fixture
def scenes(tmp_path: Path) -> SceneSet:
    write_coco(tmp_path, n_images=4, person_ids=(4, 9, -1))
    return load_scenes("coco", tmp_path, "test")


def test_what_an_embedder_finds_can_be_evaluated(scenes: SceneSet, tmp_path: Path) -> None:
    save_predictions(predict(ColourEmbedder(), scenes), tmp_path / "p.safetensors")
    report = evaluate(load_predictions(tmp_path / "p.safetensors"), scenes)
    assert report.detection.recall > 0
    assert len(report.search) == 2


def test_scenes_and_queries_are_embedded_as_the_embedder_would(scenes: SceneSet) -> None:
    embedder = ColourEmbedder()
    found = predict(embedder, scenes)
    for row, scene in enumerate(scenes.scenes):
        expected = embedder.detect(read_picture(scene.path))
        assert np.array_equal(found.boxes[found.scene == row], expected.boxes)
        assert np.array_equal(found.scores[found.scene == row], expected.scores)
        assert np.array_equal(found.embeddings[found.scene == row], expected.embeddings)
    picture = read_picture(scenes.scenes[0].path)
    for query, embedding in zip(scenes.queries, found.query_embeddings, strict=True):
        assert np.array_equal(embedder.embed(picture, query.box[None])[0], embedding)


def test_rows_say_where_they_come_from(scenes: SceneSet) -> None:
    embedder = ColourEmbedder()
    found = predict(embedder, scenes)
    assert found.scenes == tuple(scene.name for scene in scenes.scenes)
    assert found.scene.tolist() == sorted(found.scene.tolist())
    assert found.queries == scenes.queries
    assert found.model_hash == embedder.model_hash
    assert found.data_hash == data_hash(scenes)
    assert found.versions["fdps"] == fdps.__version__


def test_nobody_found(scenes: SceneSet) -> None:
    embedder = Blind()
    found = predict(embedder, scenes)
    assert (found.boxes.shape, found.embeddings.shape) == ((0, 4), (0, 3))
    assert (embedder.n_detected, embedder.n_embedded) == (4, 1)  # both queries are in one scene
    assert found.query_embeddings.tolist() == [[1, 0, 0], [1, 0, 0]]


def test_no_scenes_and_no_queries() -> None:
    found = predict(Blind(), SceneSet("none", ()))
    assert (found.scenes, found.boxes.shape, found.query_embeddings.shape) == ((), (0, 4), (0, 3))


def test_progress_is_told_after_every_scene(scenes: SceneSet) -> None:
    told: list[tuple[int, int]] = []
    predict(Blind(), scenes, lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_picture_that_is_not_there_is_named(scenes: SceneSet, tmp_path: Path) -> None:
    gone = replace(scenes.scenes[0], path=tmp_path / "gone.jpg")
    with pytest.raises(MissingDataError, match=r"gone\.jpg"):
        predict(Blind(), SceneSet("s", (gone,)))


def test_annotated_people_stand_in_for_detections(scenes: SceneSet) -> None:
    embedder = ColourEmbedder()
    empty = replace(scenes.scenes[1], boxes=empty_boxes(), person_ids=np.zeros(0, dtype=np.int64))
    some = replace(scenes, scenes=(scenes.scenes[0], empty, *scenes.scenes[2:]))
    found = predict(embedder, some, ground_truth_boxes=True)
    for row, scene in enumerate(some.scenes):
        assert np.array_equal(found.boxes[found.scene == row], scene.boxes)
    picture = read_picture(some.scenes[0].path)
    expected = embedder.embed(picture, some.scenes[0].boxes)
    assert np.array_equal(found.embeddings[found.scene == 0], expected)
    assert set(found.scores.tolist()) == {1.0}
    assert (found.boxes.dtype, found.embeddings.dtype) == (np.float32, np.float32)
    report = evaluate(found, some)
    assert (report.detection.recall, report.detection.ap) == (1, 1)
