import sys
from pathlib import Path

import numpy as np
import pytest

from fdps.data import load_scenes
from fdps.engine.predict import predict
from fdps.errors import MissingDataError, ModelError, UsageError
from fdps.evaluation import evaluate
from fdps.pictures import read_picture
from fdps.runtime.reid import ReidNetwork
from fdps.runtime.two_step import TwoStep, load_two_step
from fdps.runtime.yolox import YoloxDetector, suppress
from fdps.structures import Boxes, Picture, SceneSet, empty_boxes


class Halves:
    """A detector that cuts every picture in two."""

    model_hash = "halves"

    def find(self, image: Picture) -> tuple[Boxes, np.ndarray]:
        height, width = image.shape[:2]
        boxes = np.array([[0, 0, width / 2, height], [width / 2, 0, width, height]], np.float32)
        return boxes, np.array([0.9, 0.8], dtype=np.float32)


class MeanColour:
    """A describer by mean colour."""

    dim = 3

    def __init__(self, model_hash: str = "mean") -> None:
        self.model_hash = model_hash

    def embed(self, image: Picture, boxes: Boxes) -> np.ndarray:
        crops = [image[int(y1) : int(y2), int(x1) : int(x2)] for x1, y1, x2, y2 in boxes]
        rows = np.array([crop.mean(axis=(0, 1)) for crop in crops]).reshape(-1, 3)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def two_step(shared_data: Path) -> TwoStep:
    pytest.importorskip("onnxruntime")
    models = shared_data / "models"
    return load_two_step(models / "yolox_nano.onnx", models / "person_reid_retail_0248.onnx")


@pytest.fixture(scope="module")
def frames(shared_data: Path) -> SceneSet:
    whole = load_scenes("prw", shared_data / "prw_c6", "test")
    rows = range(0, len(whole), 50)
    scenes = tuple(whole.scenes[row] for row in rows)
    names = {scene.name for scene in scenes}
    return SceneSet("some", scenes, tuple(q for q in whole.queries if q.scene in names))


def test_detector_and_describer_are_joined() -> None:
    picture = np.zeros((10, 20, 3), dtype=np.uint8)
    picture[:, :10, 0] = 200
    picture[:, 10:, 2] = 100
    found = TwoStep(Halves(), MeanColour()).detect(picture)
    assert found.boxes[1].tolist() == [10, 0, 20, 10]
    assert found.embeddings.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_the_hash_tells_parts_apart() -> None:
    hashes = {
        TwoStep(Halves(), MeanColour("a")).model_hash,
        TwoStep(Halves(), MeanColour("b")).model_hash,
    }
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("max_iou", "expected"),
    [
        (0.4, [2, 0]),  # the middle box overlaps the best one by half
        (0.5, [2, 1, 0]),  # an overlap of exactly the limit stays
    ],
)
def test_suppression_keeps_the_best(max_iou: float, expected: list[int]) -> None:
    boxes = np.array([[20, 0, 30, 10], [0, 0, 10, 5], [0, 0, 10, 10]], dtype=np.float32)
    scores = np.array([0.3, 0.6, 0.9], dtype=np.float32)
    assert suppress(boxes, scores, max_iou=max_iou).tolist() == expected


def test_a_suppressed_box_suppresses_nobody() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]], dtype=np.float32)
    scores = np.array([0.9, 0.8, 0.7], dtype=np.float32)
    assert suppress(boxes, scores, max_iou=0.3).tolist() == [0, 2]


def test_suppressing_nothing() -> None:
    assert suppress(empty_boxes(), np.zeros(0, dtype=np.float32), max_iou=0.5).tolist() == []


def test_people_of_real_frames_are_found(two_step: TwoStep, frames: SceneSet) -> None:
    report = evaluate(predict(two_step, frames), frames, score_threshold=0.3)
    assert report.detection.recall > 0.9


def test_detections_keep_the_promises(two_step: TwoStep, frames: SceneSet) -> None:
    image = read_picture(frames.scenes[0].path)
    found = two_step.detect(image)
    height, width = image.shape[:2]
    assert len(found) > 0
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, rtol=1e-5)
    again = two_step.embed(image, found.boxes)
    assert np.array_equal(again, found.embeddings)
    assert two_step.embed(image, empty_boxes()).shape == (0, two_step.dim)


def test_a_box_at_the_border_is_embedded(two_step: TwoStep) -> None:
    picture = np.full((40, 30, 3), 90, dtype=np.uint8)
    boxes = np.array([[29.6, 39.7, 30, 40], [-5, -5, 60, 60]], dtype=np.float32)
    assert np.isfinite(two_step.embed(picture, boxes)).all()


def test_an_empty_picture_has_nobody(two_step: TwoStep) -> None:
    assert len(two_step.detect(np.full((50, 300, 3), 114, dtype=np.uint8))) == 0


def test_a_missing_network_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(MissingDataError, match=r"no network at .*none\.onnx"):
        YoloxDetector(tmp_path / "none.onnx")


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match=r"text\.onnx is not an ONNX network"):
        ReidNetwork(tmp_path / "text.onnx")


def test_networks_in_the_wrong_place_are_refused(shared_data: Path) -> None:
    pytest.importorskip("onnxruntime")
    models = shared_data / "models"
    with pytest.raises(ModelError, match="a YOLOX input is 1×3×H×W"):
        YoloxDetector(models / "person_reid_retail_0248.onnx")
    with pytest.raises(ModelError, match="the input must be 1×H×W×3"):
        ReidNetwork(models / "yolox_nano.onnx")


def test_without_onnxruntime_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="not installed") as caught:
        YoloxDetector(tmp_path / "any.onnx")
    assert "fdps[runtime]" in caught.value.hint
