"""The colour histogram: known pictures have known similarities."""

from pathlib import Path

import numpy as np
import pytest

from fake.people import draw_scene, write_picture
from fdps.analysis.colour_histogram import STRIPES, colour_histograms, predict_by_colour
from fdps.errors import MissingDataError
from fdps.evaluation import evaluate
from fdps.structures import Query, Scene, SceneSet, empty_boxes

RED, BLUE = (200, 0, 0), (0, 0, 200)


def flag(*stripes: tuple[int, int, int]) -> np.ndarray:
    """Horizontal stripes, each 10 pixels high and 8 wide."""
    return np.repeat(np.array(stripes, dtype=np.uint8)[:, None], 10, axis=0).repeat(8, axis=1)


def whole(picture: np.ndarray) -> np.ndarray:
    box = np.array([[0, 0, picture.shape[1], picture.shape[0]]], dtype=np.float32)
    return colour_histograms(picture, box)[0]


@pytest.mark.parametrize(
    ("other", "similarity"),
    [
        (flag(RED, RED, RED), 1.0),  # the same
        (flag(BLUE, BLUE, BLUE), 0.0),  # nothing in common
        (flag(RED, BLUE, BLUE), 1 / 3),  # one stripe of three
        (flag(RED, RED, RED)[:, :3], 1.0),  # size does not count
    ],
)
def test_similarity_is_the_mean_overlap_of_the_stripes(
    other: np.ndarray, similarity: float
) -> None:
    assert whole(flag(RED, RED, RED)) @ whole(other) == pytest.approx(similarity)


def test_half_of_a_stripe_counts_as_bhattacharyya_says() -> None:
    half = flag(RED, RED, RED).copy()
    half[:, :4] = BLUE
    assert whole(half) @ whole(flag(RED, RED, RED)) == pytest.approx(np.sqrt(0.5))


def test_boxes_of_a_fraction_of_a_pixel_and_at_the_edge_are_described() -> None:
    picture = flag(RED, RED, BLUE)
    boxes = np.array([[7.6, 29.5, 8, 30], [0, 0, 0.2, 0.2]], dtype=np.float32)
    rows = colour_histograms(picture, boxes)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    assert colour_histograms(picture, empty_boxes()).shape == (0, STRIPES * 128)


def scene_set(folder: Path) -> SceneSet:
    """Two people in three scenes and nobody in the fourth; fake people differ in colour."""
    rng = np.random.default_rng(1)
    scenes = []
    for index, ids in enumerate([[0, 1], [1], [0], []]):
        picture, boxes = draw_scene(rng, ids)
        write_picture(folder / f"{index}.png", picture)
        boxes[:, 2:] += boxes[:, :2]
        scenes.append(
            Scene(
                name=f"{index}.png",
                path=folder / f"{index}.png",
                boxes=boxes.astype(np.float32),
                person_ids=np.array(ids, dtype=np.int64),
            )
        )
    queries = (Query("2.png", scenes[2].boxes[0], 0), Query("0.png", scenes[0].boxes[1], 1))
    return SceneSet("fake/test", tuple(scenes), queries)


def test_people_who_differ_in_colour_are_all_found(tmp_path: Path) -> None:
    scenes = scene_set(tmp_path)
    predictions = predict_by_colour(scenes)
    assert predictions.scene.tolist() == [0, 0, 1, 2]
    np.testing.assert_array_equal(predictions.query_embeddings[0], predictions.embeddings[3])
    np.testing.assert_array_equal(predictions.query_embeddings[1], predictions.embeddings[1])
    report = evaluate(predictions, scenes)
    assert (report.detection.recall, report.search.mean_ap) == (1.0, 1.0)


def test_a_set_without_scenes_gives_no_rows() -> None:
    predictions = predict_by_colour(SceneSet("none", ()))
    assert predictions.embeddings.shape == predictions.query_embeddings.shape == (0, STRIPES * 128)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    scenes = scene_set(tmp_path)
    scenes.scenes[1].path.unlink()
    with pytest.raises(MissingDataError, match=r"1\.png"):
        predict_by_colour(scenes)
