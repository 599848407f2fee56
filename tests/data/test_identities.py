from pathlib import Path

import numpy as np
import pytest

from fdps.data.identities import concatenate, contiguous
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

BOX = np.array([0, 0, 5, 5], dtype=np.float32)


def scene(name: str, person_ids: list[int], camera: str | None = None) -> Scene:
    boxes = np.tile(BOX, (len(person_ids), 1))
    return Scene(name, Path(name), boxes, np.array(person_ids, dtype=np.int64), camera)


def ids(scenes: SceneSet) -> list[list[int]]:
    return [scene.person_ids.tolist() for scene in scenes.scenes]


def test_contiguous_keeps_the_order_of_identities() -> None:
    scenes = SceneSet("a", (scene("1", [9, UNLABELLED, 4]), scene("2", []), scene("3", [7, 4])))
    renumbered = contiguous(scenes)
    assert ids(renumbered) == [[2, UNLABELLED, 0], [], [1, 0]]
    assert renumbered.scenes[1].person_ids.dtype == np.int64
    assert ids(scenes)[0] == [9, UNLABELLED, 4]  # the old set is as it was


def test_contiguous_renumbers_queries_alike() -> None:
    queries = (Query("1", BOX, 9), Query("1", BOX, 2))  # person 2 is in no scene
    renumbered = contiguous(SceneSet("a", (scene("1", [9]),), queries))
    assert [query.person_id for query in renumbered.queries] == [1, 0]
    assert ids(renumbered) == [[1]]


def test_contiguous_drops_lists_of_the_old_identities() -> None:
    queries = (Query("1", BOX, 9),)
    scenes = SceneSet("a", (scene("1", [9]),), queries, {"100": lambda: queries})
    assert contiguous(scenes).query_lists == {}


def test_contiguous_without_identities() -> None:
    assert ids(contiguous(SceneSet("a", (scene("1", [UNLABELLED]),)))) == [[UNLABELLED]]
    assert contiguous(SceneSet("a", ())).scenes == ()


def test_concatenate_keeps_people_apart() -> None:
    first = SceneSet("a", (scene("1", [5, UNLABELLED]), scene("2", [8])), (Query("1", BOX, 5),))
    second = SceneSet("b", (scene("3", [5, 6]),), (Query("3", BOX, 6, ("3",)),))
    both = concatenate([first, second], "both")
    assert both.name == "both"
    assert ids(both) == [[0, UNLABELLED], [1], [2, 3]]
    assert [scene.name for scene in both.scenes] == ["1", "2", "3"]
    assert [(query.scene, query.person_id, query.gallery) for query in both.queries] == [
        ("1", 0, None),
        ("3", 3, ("3",)),
    ]


def test_concatenate_keeps_equal_names_apart() -> None:
    first = SceneSet("a", (scene("1", [5], "c1"), scene("2", [5])), (Query("1", BOX, 5),))
    second = SceneSet("b", (scene("1", [5], "c1"),), (Query("1", BOX, 5, ("1", "1")),))
    both = concatenate([first, second], "both")
    assert [scene.name for scene in both.scenes] == ["0/1", "0/2", "1/1"]
    assert [scene.camera for scene in both.scenes] == ["0/c1", None, "1/c1"]
    assert [(query.scene, query.gallery) for query in both.queries] == [
        ("0/1", None),
        ("1/1", ("1/1", "1/1")),
    ]


def test_concatenate_one_set_renumbers_it() -> None:
    assert ids(concatenate([SceneSet("a", (scene("1", [7, 3]),))], "b")) == [[1, 0]]


def test_concatenate_nothing() -> None:
    with pytest.raises(ValueError, match="at least one"):
        concatenate([], "none")
