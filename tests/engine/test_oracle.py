from pathlib import Path

import numpy as np
import pytest

from fdps.engine.oracle import with_oracle
from fdps.evaluation import evaluate
from fdps.predictions import Predictions
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

ONE, TWO = (0, 0, 10, 20), (30, 0, 40, 20)


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def scene(name: str, ids: list[int]) -> Scene:
    return Scene(name, Path(name), boxes(ONE, TWO), np.array(ids, dtype=np.int64))


@pytest.fixture
def scenes() -> SceneSet:
    queries = (Query("a", boxes(ONE)[0], 5),)
    return SceneSet(
        "s", (scene("a", [5, 6]), scene("b", [6, 5]), scene("c", [UNLABELLED, 5])), queries
    )


def found(scenes: SceneSet, *each: tuple[int, tuple[float, ...], float]) -> Predictions:
    rows = np.random.default_rng(0).standard_normal((len(each), 8)).astype(np.float32)
    return Predictions(
        scenes=tuple(scene.name for scene in scenes.scenes),
        boxes=boxes(*(box for _, box, _ in each)),
        scores=np.array([score for *_, score in each], dtype=np.float32),
        embeddings=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        scene=np.array([row for row, *_ in each], dtype=np.int64),
        queries=scenes.queries,
        query_embeddings=np.ones((1, 8), np.float32) / np.float32(np.sqrt(8)),
        model_hash="abc",
    )


def test_it_finds_everybody_whom_the_detector_has(scenes: SceneSet) -> None:
    seen = found(scenes, (0, ONE, 0.9), (1, ONE, 0.9), (1, TWO, 0.8), (2, ONE, 0.9), (2, TWO, 0.6))
    oracle = with_oracle(seen, scenes)
    report = evaluate(oracle, scenes).json()["search"]
    assert (report["mAP"], report["top1"]) == (1.0, 1.0)
    assert oracle.model_hash == "abc+oracle"
    assert np.array_equal(oracle.boxes, seen.boxes)


def test_it_misses_whom_the_detector_misses(scenes: SceneSet) -> None:
    seen = found(scenes, (1, ONE, 0.9), (1, (30, 0, 40, 6), 0.8), (2, TWO, 0.6))
    assert evaluate(with_oracle(seen, scenes), scenes).json()["search"]["mAP"] == 0.5


def test_one_person_is_found_once_and_others_are_like_nobody(scenes: SceneSet) -> None:
    seen = found(
        scenes, (1, TWO, 0.5), (1, (30, 0, 40, 19), 0.9), (2, ONE, 0.9), (1, (50, 0, 55, 9), 0.4)
    )
    rows = with_oracle(seen, scenes)
    alike = rows.embeddings @ rows.query_embeddings[0]
    assert alike[1] == pytest.approx(1, abs=1e-6)  # the better one of the two
    assert np.abs(alike[[0, 2, 3]]).max() < 0.5
    assert np.linalg.norm(rows.embeddings, axis=1) == pytest.approx(np.ones(4), abs=1e-6)


def test_nobody_found(scenes: SceneSet) -> None:
    assert with_oracle(found(scenes), scenes).embeddings.shape == (0, 128)
