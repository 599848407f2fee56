"""Folder → COCO → folder gives back every scene, box, identity and query."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake.people import write_picture
from fdps.data.readers import coco, folder
from fdps.data.readers.coco_writer import write_coco
from fdps.errors import AnnotationError
from fdps.structures import Query, Scene, SceneSet

WIDTH, HEIGHT = 160, 120

edges = st.tuples(
    st.floats(0, WIDTH - 2, width=32),
    st.floats(0, HEIGHT - 2, width=32),
    st.floats(1, 2, width=32),
)
people = st.lists(st.tuples(edges, st.integers(-1, 4)), max_size=4, unique=True)
scenes = st.lists(
    st.tuples(
        people,
        st.none() | st.sampled_from(["gate", "hall 2"]),
        st.none() | st.integers(0, 10**9),
        st.none() | st.floats(0, 2e9),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "a.png"
    write_picture(path, np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8))
    return path


def made(
    rows: list[tuple[list[tuple[tuple[float, float, float], int]], str, int, float]], path: Path
) -> SceneSet:
    built = []
    for number, (found, camera, frame, seconds) in enumerate(rows):
        boxes = np.array([[x, y, x + size, y + size] for (x, y, size), _ in found], np.float32)
        ids = np.array([person for _, person in found], dtype=np.int64)
        name = f"sub/{number}.png"
        built.append(Scene(name, path, boxes.reshape(-1, 4), ids, camera, frame, seconds))
    queries = [
        Query(scene.name, scene.boxes[row], int(person))
        for scene in built
        for row, person in enumerate(scene.person_ids)
        if person >= 0
    ]
    return SceneSet("mine/test", tuple(built), tuple(queries[:3]))


def assert_same(a: SceneSet, b: SceneSet) -> None:
    for x, y in zip(a.scenes, b.scenes, strict=True):
        assert (x.name, x.camera, x.frame, x.seconds) == (y.name, y.camera, y.frame, y.seconds)
        np.testing.assert_array_equal(x.boxes, y.boxes)
        np.testing.assert_array_equal(x.person_ids, y.person_ids)
    for p, q in zip(a.queries, b.queries, strict=True):
        assert (p.scene, p.person_id, p.box.tolist()) == (q.scene, q.person_id, q.box.tolist())


@pytest.mark.long
@settings(max_examples=30, deadline=None)
@given(rows=scenes)
def test_folder_to_coco_to_folder(
    tmp_path_factory: pytest.TempPathFactory,
    picture: Path,
    rows: list[tuple[list[tuple[tuple[float, float, float], int]], str, int, float]],
) -> None:
    root = tmp_path_factory.mktemp("trip")
    written = made(rows, picture)
    folder.write_folder(root / "a", {"test": written}, name="mine")
    first = folder.read(root / "a", "test")
    assert_same(first, written)
    write_coco(root / "b", {"test": first})
    second = coco.read(root / "b", "test")
    assert_same(second, written)
    folder.write_folder(root / "c", {"test": second}, name="mine")
    assert_same(folder.read(root / "c", "test"), written)


def test_coco_keeps_galleries_with_repeated_entries(tmp_path: Path, picture: Path) -> None:
    scenes = made([([((1.0, 2.0, 1.5), 4)], "a", 1, 2.0)] * 3, picture)
    names = [scene.name for scene in scenes.scenes]
    gallery = (names[2], names[1], names[2])
    query = replace(scenes.queries[0], gallery=gallery)
    write_coco(tmp_path, {"test": replace(scenes, queries=(query,))})
    assert coco.read(tmp_path, "test").queries[0].gallery == gallery


def test_names_that_lead_out_are_not_written(tmp_path: Path, picture: Path) -> None:
    scenes = made([([], "a", 1, 2.0)], picture)
    away = replace(scenes, scenes=(replace(scenes.scenes[0], name="../up.png"),))
    with pytest.raises(AnnotationError, match="leads out"):
        write_coco(tmp_path, {"test": away})
    with pytest.raises(AnnotationError, match="occurs twice"):
        write_coco(tmp_path, {"test": scenes, "again": scenes})
