import dataclasses
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fdps.errors import MissingDataError, PredictionsError
from fdps.predictions import Predictions, data_hash, load_predictions, save_predictions
from fdps.structures import Query, Scene, SceneSet

Tensors = dict[str, torch.Tensor]


def small() -> Predictions:
    """Three detections in the first and last of three scenes, two queries."""
    boxes = np.array([[0, 0, 9, 20], [1, 2, 3.5, 4], [5, 5, 6, 8]], dtype=np.float32)
    return Predictions(
        scenes=("a.jpg", "leer ü.jpg", "b/c.jpg"),
        boxes=boxes,
        scores=np.array([1.0, 0.25, 0.0], dtype=np.float32),
        embeddings=np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32),
        scene=np.array([2, 0, 2]),
        queries=(Query("a.jpg", boxes[1], 7), Query("b/c.jpg", boxes[0], 0)),
        query_embeddings=np.eye(2, dtype=np.float32),
        model_hash="0123456789abcdef",
        data_hash="fedcba9876543210",
        versions={"fdps": "1", "torch": "2"},
    )


def assert_equal(got: Predictions, expected: Predictions) -> None:
    for name in ("boxes", "scores", "embeddings", "scene", "query_embeddings"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), strict=True)
    for name in ("scenes", "model_hash", "data_hash", "versions"):
        assert getattr(got, name) == getattr(expected, name)
    assert len(got.queries) == len(expected.queries)
    for ours, theirs in zip(got.queries, expected.queries, strict=True):
        assert (ours.scene, ours.person_id) == (theirs.scene, theirs.person_id)
        np.testing.assert_array_equal(ours.box, theirs.box, strict=True)


def foreign(path: Path, change: Callable[[Tensors, dict[str, Any]], object]) -> Path:
    """A file as another system would write it, with one thing changed."""
    tensors: Tensors = {
        "boxes": torch.tensor([[0.0, 0, 9, 20]]),
        "scores": torch.tensor([0.5]),
        "embeddings": torch.tensor([[0.0, 1]]),
        "scene": torch.tensor([1]),
        "query_embeddings": torch.tensor([[1.0, 0]]),
    }
    header: dict[str, Any] = {
        "format": "fdps-predictions",
        "version": 1,
        "scenes": ["a", "b"],
        "queries": [{"scene": "a", "box": [1, 2, 3, 4], "person_id": 5}],
    }
    change(tensors, header)
    text = header.pop("text", None) or json.dumps(header)
    save_file(tensors, path, metadata={header.pop("key", "fdps"): text})
    return path


def refusal(path: Path, change: Callable[[Tensors, dict[str, Any]], object]) -> str:
    with pytest.raises(PredictionsError) as caught:
        load_predictions(foreign(path / "foreign.safetensors", change))
    assert str(path / "foreign.safetensors") in str(caught.value)
    return str(caught.value)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "p.safetensors"
    save_predictions(small(), path)
    assert_equal(load_predictions(path), small())


def test_round_trip_without_detections_or_queries(tmp_path: Path) -> None:
    none = Predictions(
        scenes=("a",),
        boxes=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        embeddings=np.zeros((0, 2), np.float32),
        scene=np.zeros(0, np.int64),
        queries=(),
        query_embeddings=np.zeros((0, 2), np.float32),
    )
    save_predictions(none, tmp_path / "none")
    assert_equal(load_predictions(tmp_path / "none"), none)
    nothing = dataclasses.replace(none, scenes=())
    save_predictions(nothing, tmp_path / "none")
    assert_equal(load_predictions(tmp_path / "none"), nothing)


def test_round_trip_of_rows_that_are_a_view(tmp_path: Path) -> None:
    turned = dataclasses.replace(
        small(), embeddings=np.array([[1, 0, 0.6], [0, 1, 0.8]], dtype=np.float32).T
    )
    save_predictions(turned, tmp_path / "p")
    np.testing.assert_array_equal(load_predictions(tmp_path / "p").embeddings, turned.embeddings)


def test_saving_replaces_the_older_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("older")
    save_predictions(small(), tmp_path / "p")
    assert_equal(load_predictions(tmp_path / "p"), small())
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_same_predictions_same_bytes(tmp_path: Path) -> None:
    for name in ("p", "q"):
        save_predictions(small(), tmp_path / name)
    assert (tmp_path / "p").read_bytes() == (tmp_path / "q").read_bytes()


def test_foreign_file_needs_no_hashes(tmp_path: Path) -> None:
    read = load_predictions(foreign(tmp_path / "p", lambda tensors, header: None))
    assert (read.model_hash, read.data_hash, read.versions) == ("", "", {})
    assert read.queries[0].box.tolist() == [1, 2, 3, 4]


def test_foreign_file_may_hold_more_than_is_needed(tmp_path: Path) -> None:
    path = foreign(tmp_path / "p", lambda t, h: t.update(extra=torch.zeros(3).bfloat16()))
    assert load_predictions(path).scores.tolist() == [0.5]


def test_raises_absent_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no predictions file at") as caught:
        load_predictions(tmp_path / "absent")
    assert "fdps predict" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\xff" * 8 + b"{}"])
def test_raises_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(PredictionsError, match="is not a safetensors file"):
        load_predictions(tmp_path / "p")


def test_raises_truncated_file(tmp_path: Path) -> None:
    save_predictions(small(), tmp_path / "p")
    (tmp_path / "p").write_bytes((tmp_path / "p").read_bytes()[:-1])
    with pytest.raises(PredictionsError, match="is not a safetensors file"):
        load_predictions(tmp_path / "p")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "other"}, "has no 'fdps' metadata"),
        ({"text": "{"}, "metadata is not JSON"),
        ({"text": "1" * 5000}, "metadata is not JSON"),  # beyond what Python reads as a number
        ({"text": "[]"}, "metadata 'format' must be 'fdps-predictions'"),
        ({"format": "other"}, "metadata 'format' must be 'fdps-predictions'"),
        ({"version": 2}, "has format version 2, this fdps reads 1"),
        ({"scenes": None}, "metadata 'scenes' must be a list"),
        ({"scenes": ["a", "a"]}, "metadata 'scenes' must be distinct names"),
        ({"scenes": ["a", 3]}, "metadata 'scenes' must be distinct names"),
        ({"queries": {}}, "metadata 'queries' must be a list"),
        ({"model_hash": 3}, "metadata 'model_hash' must be a string"),
        ({"data_hash": None}, "metadata 'data_hash' must be a string"),
        ({"versions": ["fdps"]}, "metadata 'versions' must be an object"),
    ],
)
def test_raises_metadata(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    assert message in refusal(tmp_path, lambda tensors, header: header.update(change))


@pytest.mark.parametrize(
    "change",
    [
        {"scene": "nowhere"},
        {"scene": 3},
        {"box": [1, 2, 3]},
        {"box": [1, 2, 3, "4"]},
        {"box": [3, 2, 1, 4]},
        {"box": [1, 4, 3, 4]},
        {"box": [1, 2, float("nan"), 4]},
        {"box": [1, 2, 10**400, 4]},
        {"person_id": -1},
        {"person_id": 2.5},
        {"person_id": "5"},
    ],
    ids=str,
)
def test_raises_query(tmp_path: Path, change: dict[str, Any]) -> None:
    message = refusal(tmp_path, lambda tensors, header: header["queries"][0].update(change))
    assert "query 0 must have a listed scene, a box" in message


def test_raises_query_that_is_no_object_or_lacks_a_key(tmp_path: Path) -> None:
    good = {"scene": "a", "box": [1, 2, 3, 4], "person_id": 5}
    lacking = {"scene": "a", "box": [1, 2, 3, 4]}
    for row in (lacking, 3, None):

        def change(tensors: Tensors, header: dict[str, Any], row: object = row) -> None:
            header["queries"] = [good, row]
            tensors["query_embeddings"] = torch.eye(2)

        assert "query 1 must have" in refusal(tmp_path, change)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scores", None, "is missing"),
        ("boxes", torch.zeros(1, 4).double(), "must be F32, got F64"),
        ("embeddings", torch.zeros(1, 2).bfloat16(), "must be F32, got BF16"),
        ("scene", torch.zeros(1), "must be I64, got F32"),
        ("boxes", torch.zeros(1, 5), "must have shape [1, 4], got [1, 5]"),
        ("boxes", torch.tensor(0.0), "must have shape ['N', 4], got []"),
        ("scores", torch.zeros(2), "must have shape [1], got [2]"),
        ("scores", torch.zeros(1, 1), "must have shape [1], got [1, 1]"),
        ("embeddings", torch.zeros(2), "must have shape [1, 'D'], got [2]"),
        ("scene", torch.zeros(2, dtype=torch.int64), "must have shape [1], got [2]"),
        ("query_embeddings", torch.zeros(1, 3), "must have shape [1, 2], got [1, 3]"),
        ("query_embeddings", torch.zeros(2, 2), "must have shape [1, 2], got [2, 2]"),
        ("boxes", torch.full((1, 4), torch.nan), "holds NaN or infinity"),
        ("query_embeddings", torch.full((1, 2), torch.inf), "holds NaN or infinity"),
        ("scores", torch.tensor([1.5]), "must be in 0..1, got 1.5..1.5"),
        ("scene", torch.tensor([2]), "must be in 0..1, got 2..2"),
        ("scene", torch.tensor([-1]), "must be in 0..1, got -1..-1"),
    ],
)
def test_raises_tensor(tmp_path: Path, name: str, value: torch.Tensor | None, message: str) -> None:
    def change(tensors: Tensors, header: dict[str, Any]) -> None:
        del tensors[name]
        if value is not None:
            tensors[name] = value

    assert f"tensor {name!r} {message}" in refusal(tmp_path, change)


def scene_set(**change: Any) -> SceneSet:
    values = {"name": "a", "boxes": [[0, 0, 1, 1]], "person_ids": [3], "query": ("a", 3, 1)}
    values |= change
    scene = Scene(
        values["name"],
        Path(values.get("path", "x")),
        np.array(values["boxes"], dtype=np.float32),
        np.array(values["person_ids"], dtype=np.int64),
    )
    name, person_id, side = values["query"]
    box = np.array([0, 0, side, side], dtype=np.float32)
    return SceneSet("any", (scene,), (Query(name, box, person_id),))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "b"},
        {"boxes": [[0, 0, 1, 2]]},
        {"person_ids": [4]},
        {"query": ("b", 3, 1)},
        {"query": ("a", 4, 1)},
        {"query": ("a", 3, 2)},
    ],
    ids=str,
)
def test_data_hash_follows_the_annotations(change: dict[str, Any]) -> None:
    assert data_hash(scene_set(**change)) != data_hash(scene_set())


def test_data_hash_is_the_same_everywhere() -> None:
    box = struct.pack("<4f", 0, 0, 1, 1)
    annotations = b"a\0" + box + struct.pack("<q", 3) + b"a\x003\0" + box
    expected = hashlib.sha256(annotations).hexdigest()[:16]
    assert data_hash(scene_set(path="elsewhere")) == data_hash(scene_set()) == expected


@pytest.mark.parametrize(
    ("boxes", "hint"),
    [
        ([[40.0, 10, 20, 60]], "x y width height, write [40.0, 10.0, 60.0, 70.0]"),
        ([[1.0, 1, 9, 9], [5.0, 5, 5, 9]], "x y width height"),  # no width
        ([[1.0, 9, 5, -2]], "correct the rows"),
    ],
)
def test_boxes_without_area_are_refused(
    tmp_path: Path, boxes: list[list[float]], hint: str
) -> None:
    n = len(boxes)
    wrong = dataclasses.replace(
        small(),
        boxes=np.array(boxes, np.float32),
        scores=np.full(n, 0.5, np.float32),
        embeddings=np.tile(np.array([[1.0, 0]], np.float32), (n, 1)),
        scene=np.zeros(n, np.int64),
    )
    save_predictions(wrong, str(tmp_path / "p"))
    with pytest.raises(PredictionsError, match=r"1 of .* boxes have no area") as caught:
        load_predictions(str(tmp_path / "p"))
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["embeddings", "query_embeddings"])
def test_embeddings_of_another_length_are_refused(tmp_path: Path, name: str) -> None:
    rows = getattr(small(), name).copy()
    rows[1] *= 3
    save_predictions(dataclasses.replace(small(), **{name: rows}), tmp_path / "p")
    with pytest.raises(PredictionsError, match=f"'{name}'.* row 1 with length 3"):
        load_predictions(tmp_path / "p")


def test_half_precision_is_unit_length_enough(tmp_path: Path) -> None:
    rows = small().embeddings.astype(np.float16).astype(np.float32)
    save_predictions(dataclasses.replace(small(), embeddings=rows), tmp_path / "p")
    np.testing.assert_array_equal(load_predictions(tmp_path / "p").embeddings, rows)


def test_boxes_that_are_shares_of_the_picture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    good = small()
    shares = np.tile(np.array([[0.1, 0.2, 0.5, 1.0]], dtype=np.float32), (len(good.boxes), 1))
    save_predictions(dataclasses.replace(good, boxes=shares), path)
    with pytest.raises(PredictionsError, match="look like shares of the picture") as caught:
        load_predictions(path)
    assert "multiply x by the width" in caught.value.hint
    centres = shares * 0 + np.array([0.5, 0.5, 0.1, 0.9], dtype=np.float32)
    save_predictions(dataclasses.replace(good, boxes=centres), path)
    with pytest.raises(PredictionsError, match="look like shares of the picture"):
        load_predictions(path)


def test_names_that_are_not_utf8_have_a_hash_too() -> None:
    scenes = scene_set()
    first = dataclasses.replace(scenes.scenes[0], name="caf\udce9.jpg")
    odd = dataclasses.replace(scenes, scenes=(first, *scenes.scenes[1:]), queries=())
    assert data_hash(odd) != data_hash(dataclasses.replace(scenes, queries=()))
