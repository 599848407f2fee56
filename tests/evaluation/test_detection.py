import math

import numpy as np
import pytest

from fake.found import predictions, scene
from fdps.evaluation.detection import DetectionResult, evaluate_detection, precision_recall
from fdps.evaluation.grouping import group_by_scene
from fdps.structures import SceneSet

A = (0.0, 0.0, 20.0, 50.0)
B = (30.0, 0.0, 50.0, 50.0)
FAR = (70.0, 0.0, 90.0, 50.0)


def measure(scenes: SceneSet, found: list[list[tuple[tuple, float]]]) -> DetectionResult:
    triples = [[(box, score, [1.0]) for box, score in row] for row in found]
    return evaluate_detection(
        group_by_scene(predictions(scenes, triples, []), scenes, min_score=0.5), scenes
    )


def test_by_hand() -> None:
    scenes = SceneSet("s", (scene("a", [(A, 0), (B, -1)]), scene("b", [(A, 1)])))

    result = measure(scenes, [[(A, 0.9), (FAR, 0.8), (B, 0.7)], []])

    assert result.recall == pytest.approx(2 / 3)
    assert result.ap == pytest.approx((1 + 2 / 3) / 3)  # precision at rank 1 and rank 3
    assert result.labelled_recall == pytest.approx(1 / 2)
    assert (result.n_people, result.n_detections) == (3, 3)
    np.testing.assert_allclose(result.curve_score, [0.9, 0.8, 0.7], rtol=1e-6)
    np.testing.assert_allclose(result.curve_precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(result.curve_recall, [1 / 3, 1 / 3, 2 / 3])


def test_a_second_detection_of_a_person_is_false() -> None:
    scenes = SceneSet("s", (scene("a", [(A, 0)]),))
    result = measure(scenes, [[(A, 0.6), (A, 0.9)]])
    assert result.recall == 1
    assert result.ap == 0.5  # the first of equals is the pair, though its score is lower


def test_perfect_detections() -> None:
    scenes = SceneSet("s", (scene("a", [(A, 0), (B, -1)]), scene("b", [])))
    result = measure(scenes, [[(A, 1.0), (B, 1.0)], []])
    assert (result.recall, result.ap, result.labelled_recall) == (1, 1, 1)


def test_nothing_found() -> None:
    result = measure(SceneSet("s", (scene("a", [(A, 0)]),)), [[]])
    assert (result.recall, result.ap, result.labelled_recall) == (0, 0, 0)
    assert len(result.curve_score) == 0


def test_nobody_annotated_leaves_the_figures_open() -> None:
    result = measure(SceneSet("s", (scene("a", []),)), [[(A, 1.0)]])
    assert math.isnan(result.recall)
    assert math.isnan(result.ap)
    assert math.isnan(result.labelled_recall)


def test_the_curve_has_a_point_per_distinct_score() -> None:
    score, precision, recall = precision_recall(
        np.array([0.5, 0.9, 0.5, 0.5]), np.array([True, True, False, True]), 4
    )
    assert score.tolist() == [0.9, 0.5]
    assert precision.tolist() == [1, 0.75]
    assert recall.tolist() == [0.25, 0.75]
