from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.found import perfect, predictions, query, scene
from fake.people import write_picture
from fdps.errors import PredictionsError
from fdps.evaluation.grouping import check_same_data, group_by_scene
from fdps.structures import SceneSet

A = (0.0, 0.0, 20.0, 50.0)
B = (30.0, 0.0, 50.0, 50.0)


def two_scenes() -> SceneSet:
    first, empty, last = scene("a", [(A, 0)]), scene("b", []), scene("c", [(A, 0), (B, 1)])
    return SceneSet("three", (first, empty, last), (query(first, 0),))


def test_detections_are_sorted_by_scene_and_keep_their_rows() -> None:
    scenes = two_scenes()
    whole = perfect(scenes, 2)
    turned = replace(  # the same file with its scenes and detections in reverse
        whole,
        scenes=whole.scenes[::-1],
        scene=2 - whole.scene[::-1],
        boxes=whole.boxes[::-1],
        embeddings=whole.embeddings[::-1],
        data_hash="",
    )

    found = group_by_scene(turned, scenes, min_score=0.5)

    assert found.starts.tolist() == [0, 1, 1, 3]
    assert found.scenes.tolist() == [0, 2, 2]
    assert found.rows.tolist() == [2, 0, 1]  # within a scene the order of the file
    assert found.boxes[found.of(2)].tolist() == [list(B), list(A)]
    assert found.of_many(np.array([2, 1, 0])).tolist() == [1, 2, 0]
    assert found.of_many(np.zeros(0, dtype=np.int64)).tolist() == []


def test_a_detection_at_the_threshold_stays() -> None:
    scenes = SceneSet("one", (scene("a", []),))
    file = predictions(scenes, [[(A, 0.5, [1]), (A, 0.499, [1])]], [])
    assert group_by_scene(file, scenes, min_score=0.5).rows.tolist() == [0]


def test_other_annotations_are_refused() -> None:
    scenes = two_scenes()
    moved = SceneSet("moved", (scene("a", [(B, 0)]), *scenes.scenes[1:]), scenes.queries)
    with pytest.raises(PredictionsError, match="data hash"):
        check_same_data(perfect(scenes, 2), moved)


def test_without_a_hash_the_scene_names_have_to_agree() -> None:
    scenes = two_scenes()
    unknown = replace(perfect(scenes, 2), data_hash="")
    check_same_data(unknown, scenes)
    with pytest.raises(PredictionsError, match="differ in 2 scenes, for example 'c'"):
        check_same_data(replace(unknown, scenes=("a", "b", "d")), scenes)


def test_without_a_hash_the_queries_have_to_agree() -> None:
    scenes = two_scenes()
    unknown = replace(perfect(scenes, 2), data_hash="")
    fewer = replace(unknown, queries=(), query_embeddings=unknown.query_embeddings[:0])
    with pytest.raises(PredictionsError, match="embed 0 queries, three has 1"):
        check_same_data(fewer, scenes)
    other = replace(unknown, queries=(query(scenes.scenes[2], 1),))
    with pytest.raises(PredictionsError, match="query 0 of the predictions is person 1 in 'c'"):
        check_same_data(other, scenes)


def in_pictures(folder: Path) -> SceneSet:
    scenes = SceneSet("two", (scene("a", [(A, 0)]), scene("b", [])))
    for one in scenes.scenes:
        write_picture(folder / f"{one.name}.png", np.zeros((80, 100, 3), np.uint8))
    rows = (replace(one, path=folder / f"{one.name}.png") for one in scenes.scenes)
    return replace(scenes, scenes=tuple(rows))


@pytest.mark.parametrize(
    "box", [(100, 5, 120, 50), (5, 80.5, 20, 90), (-30, 5, 0, 50), (5, -30, 20, -1)]
)
def test_boxes_wholly_outside_their_scene_are_refused(
    tmp_path: Path, box: tuple[float, float, float, float]
) -> None:
    scenes = in_pictures(tmp_path)
    file = predictions(scenes, [[(A, 0.9, [1.0])], [(box, 0.2, [1.0])]], [])
    with pytest.raises(PredictionsError, match=r"1 of 2 .* row 1, .* 'b' of 100x80") as caught:
        check_same_data(file, scenes)
    assert "in its own size" in caught.value.hint


def test_boxes_that_pass_the_border_are_fine(tmp_path: Path) -> None:
    scenes = in_pictures(tmp_path)
    rows = [((-5, -9, 9, 99), 0.9, [1.0]), ((99, 70, 130, 120), 0.9, [1.0])]
    check_same_data(predictions(scenes, [rows, rows], []), scenes)
    (tmp_path / "b.png").unlink()  # evaluation needs no pictures
    check_same_data(predictions(scenes, [rows, rows], []), scenes)
