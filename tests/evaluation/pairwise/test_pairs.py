"""Figures of pairs: each query has detections of its own in every picture."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sklearn.metrics import average_precision_score

from fake.found import query, scene
from fdps.errors import MissingDataError, PredictionsError, UsageError
from fdps.evaluation import EvaluationOptions, evaluate_with
from fdps.evaluation.pairwise.pairs import evaluate_pairs
from fdps.evaluation.pairwise.pairs_file import PairPredictions, joined, load_pairs, save_pairs
from fdps.predictions import Predictions, data_hash
from fdps.structures import SceneSet

N_SCENES, N_PEOPLE, DIM = 14, 5, 6


def made(seed: int) -> tuple[SceneSet, Predictions]:
    """Scenes with neighbours, doubles and gallery lists, and rough predictions with ties."""
    rng = np.random.default_rng(seed)
    identity = rng.normal(size=(N_PEOPLE, DIM))
    scenes, boxes, scores, embeddings, where = [], [], [], [], []
    for number in range(N_SCENES):
        people = []
        for column in range(int(rng.integers(0, 4))):
            x, y = 60.0 * column, float(rng.integers(0, 30))
            people.append(((x, y, x + 40, y + 90), int(rng.integers(-1, N_PEOPLE))))
        if number < N_PEOPLE:
            people.append(((300.0, 5.0, 340.0, 95.0), number))
        scenes.append(scene(f"s{number}", people, camera=f"c{number % 2}", frame=100 * number))
        for box, person_id in people:
            for _ in range(int(rng.integers(0, 3))):
                boxes.append(np.array(box) + rng.integers(-12, 13, 4))
                scores.append(rng.random())
                towards = identity[person_id] if person_id >= 0 else rng.normal(size=DIM)
                embeddings.append(np.round(towards + rng.normal(size=DIM) * 0.7))
                where.append(number)
    names = tuple(one.name for one in scenes)
    queries = tuple(
        query(scenes[k], len(scenes[k].boxes) - 1, names[::2] * 2 if k % 2 else None)
        for k in range(N_PEOPLE)
    )
    data = SceneSet(f"made {seed}", tuple(scenes), queries, {"mini": lambda: queries[3:1:-1]})
    rows = np.array(embeddings).reshape(-1, DIM) + 1e-3
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    of_queries = (identity / np.linalg.norm(identity, axis=1, keepdims=True)).astype(np.float32)
    return data, Predictions(
        scenes=names,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.array(scores, dtype=np.float32),
        embeddings=unit,
        scene=np.array(where, dtype=np.int64),
        queries=queries,
        query_embeddings=of_queries,
        data_hash=data_hash(data),
    )


def pairs_of(found: Predictions, rows: tuple[int, ...] = tuple(range(N_PEOPLE))) -> PairPredictions:
    """What a pair-wise model would write that compares embeddings, every query with every scene."""
    n = len(found.boxes)
    product = found.query_embeddings.astype(np.float64) @ found.embeddings.astype(np.float64).T
    place, row = np.divmod(np.random.default_rng(3).permutation(len(rows) * n), max(n, 1))
    order = np.argsort(row, kind="stable")  # within a pair the order of detections stays
    place, row = place[order], row[order]
    return PairPredictions(
        scenes=found.scenes,
        queries=np.array(rows, dtype=np.int64),
        compared=np.ones((len(rows), len(found.scenes)), dtype=np.bool_),
        boxes=found.boxes[row],
        scores=found.scores[row],
        similarities=product[np.array(rows)[place], row].astype(np.float32),
        query=place.astype(np.int64),
        scene=found.scene[row],
        plain_boxes=found.boxes,
        plain_scores=found.scores,
        plain_scene=found.scene,
        model_hash="m",
        data_hash=found.data_hash,
        seconds_pairs=14.0,
        seconds_pictures=7.0,
    )


OPTIONS = [
    {},
    {"protocol": "strict"},
    {"score_threshold": 0.0},
    {"weight_by_score": True, "score_threshold": 0.2},
    {"min_frame_gap": 250},
    {"cameras": "cross"},
    {"gallery": "full"},
    {"subset": "mini", "protocol": "strict"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_inner_products_in_pairs_give_the_figures_of_a_plain_evaluation(
    options: dict[str, Any], seed: int
) -> None:
    scenes, found = made(seed)
    chosen = EvaluationOptions(**options)
    plain, report = (
        evaluate_with(chosen, found, scenes),
        evaluate_pairs(pairs_of(found), scenes, chosen),
    )
    assert len(plain.search) + plain.search.n_dropped > 0
    for name in ("queries", "average_precisions", "first_matches", "n_relevant"):
        ours, theirs = getattr(report.search, name), getattr(plain.search, name)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert report.search.n_dropped == plain.search.n_dropped
    ours, theirs = report.json(), plain.json()
    del ours["pairs"]
    assert ours == theirs


def test_some_queries_are_scored_as_they_are_among_all() -> None:
    scenes, found = made(1)
    options = EvaluationOptions(gallery="all", score_threshold=0.0)
    plain = evaluate_with(options, found, scenes)
    report = evaluate_pairs(pairs_of(found, (1, 4)), scenes, options)
    assert report.search.queries.tolist() == [1, 4]
    wanted = plain.search.average_precisions[np.isin(plain.search.queries, (1, 4))]
    np.testing.assert_allclose(report.search.average_precisions, wanted, atol=1e-9)


def test_a_drawn_gallery_is_that_of_the_query_not_of_its_place() -> None:
    scenes, found = made(2)
    scenes = replace(scenes, queries=tuple(replace(q, gallery=None) for q in scenes.queries))
    found = replace(found, queries=scenes.queries)
    options = EvaluationOptions(gallery=9, seed=4, score_threshold=0.0)
    plain = evaluate_with(options, found, scenes)
    report = evaluate_pairs(pairs_of(found, (3, 4)), scenes, options)
    wanted = plain.search.average_precisions[np.isin(plain.search.queries, (3, 4))]
    np.testing.assert_allclose(report.search.average_precisions, wanted, atol=1e-9)


def test_each_query_has_detections_of_its_own() -> None:
    place, elsewhere = (10.0, 10.0, 50.0, 110.0), (100.0, 10.0, 140.0, 110.0)
    people = [scene(f"s{k}", [(place, 7), (elsewhere, 8)]) for k in range(4)]
    scenes = SceneSet("own", tuple(people), (query(people[0], 0), query(people[0], 1)))
    # Query 0 finds its person in s1 and s3 and somebody else in between; query 1 finds nobody.
    pairs = PairPredictions(
        scenes=("s0", "s1", "s2", "s3"),
        queries=np.array([0, 1]),
        compared=np.array([[False, True, True, True]] * 2),
        boxes=np.array([place, elsewhere, place], dtype=np.float32),
        scores=np.array([0.9, 0.8, 0.7], dtype=np.float32),
        similarities=np.array([0.6, 0.5, 0.4], dtype=np.float32),
        query=np.array([0, 0, 0]),
        scene=np.array([1, 2, 3]),
        plain_boxes=np.array([elsewhere], dtype=np.float32),
        plain_scores=np.array([0.6], dtype=np.float32),
        plain_scene=np.array([2]),
        data_hash=data_hash(scenes),
    )
    report = evaluate_pairs(pairs, scenes)
    first = average_precision_score([1, 0, 1], [0.6, 0.5, 0.4]) * 2 / 3
    assert report.search.average_precisions.tolist() == pytest.approx([first, 0.0])
    assert report.search.first_matches.tolist() == [1, 0]
    assert report.detection.recall == 1 / 8  # that of the network without a query
    assert report.search.ranked[0, :3].tolist() == [0, 1, 2]


def test_the_report_tells_what_a_pair_costs() -> None:
    scenes, found = made(0)
    figures = evaluate_pairs(pairs_of(found), scenes).record()
    assert figures["pairs"] == {
        "n_pairs": N_PEOPLE * N_SCENES,
        "seconds_per_pair": 14 / (N_PEOPLE * N_SCENES),
        "seconds_per_picture": 0.5,
    }
    assert figures["model_hash"] == "m"


def test_a_gallery_that_was_not_compared_is_refused() -> None:
    scenes, found = made(0)
    pairs = pairs_of(found)
    kept = pairs.scene != 13
    compared = pairs.compared.copy()
    compared[:, 13] = False
    rows = {
        n: getattr(pairs, n)[kept] for n in ("boxes", "scores", "similarities", "query", "scene")
    }
    less = replace(pairs, compared=compared, **rows)
    with pytest.raises(PredictionsError, match=r"query 0 was not compared with 1 .* 's13'"):
        evaluate_pairs(less, scenes)


def test_a_list_that_was_not_compared_is_refused() -> None:
    scenes, found = made(0)
    with pytest.raises(PredictionsError, match="query 3 of made 0 is in the list 'mini'") as it:
        evaluate_pairs(pairs_of(found, (0, 2)), scenes, EvaluationOptions(subset="mini"))
    assert "--subset mini" in it.value.hint


@pytest.mark.parametrize("options", [{"rerank": "cbgm"}, {"query_expansion": 2}])
def test_what_needs_embeddings_is_refused(options: dict[str, Any]) -> None:
    scenes, found = made(0)
    with pytest.raises(UsageError, match="pairs have similarities and no embeddings"):
        evaluate_pairs(pairs_of(found), scenes, EvaluationOptions(**options))


def test_pairs_of_other_annotations_are_refused() -> None:
    scenes, found = made(0)
    with pytest.raises(PredictionsError, match="made on other annotations"):
        evaluate_pairs(replace(pairs_of(found), data_hash="0" * 16), scenes)


# The file


def test_a_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    pairs = replace(pairs_of(made(3)[1], (0, 4)), versions={"fdps": "1"})
    save_pairs(pairs, path := tmp_path / "new" / "pairs.safetensors")
    again = load_pairs(path)
    for name in PairPredictions.__dataclass_fields__:
        ours, theirs = getattr(again, name), getattr(pairs, name)
        assert np.array_equal(ours, theirs) if isinstance(theirs, np.ndarray) else ours == theirs
    assert again.is_part_of(pairs)
    assert not again.is_part_of(replace(pairs, model_hash="other"))


def test_parts_add_up() -> None:
    pairs = pairs_of(made(3)[1])
    parts = []
    for low, high in ((0, 6), (6, N_SCENES)):
        here = (pairs.scene >= low) & (pairs.scene < high)
        plain = (pairs.plain_scene >= low) & (pairs.plain_scene < high)
        columns = np.arange(N_SCENES)
        parts.append(
            replace(
                pairs,
                compared=pairs.compared & (columns >= low) & (columns < high),
                seconds_pairs=7.0,
                **{n: getattr(pairs, n)[here] for n in ("boxes", "scores", "similarities")},
                **{n: getattr(pairs, n)[here] for n in ("query", "scene")},
                **{f"plain_{n}": getattr(pairs, f"plain_{n}")[plain] for n in ("boxes", "scores")},
                plain_scene=pairs.plain_scene[plain],
            )
        )
    whole = joined(parts)
    assert whole.n_pairs == pairs.n_pairs
    assert whole.seconds_pairs == 14
    assert len(whole.boxes) == len(pairs.boxes)
    assert np.array_equal(np.sort(whole.similarities), np.sort(pairs.similarities))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no pairs file") as it:
        load_pairs(tmp_path / "pairs.safetensors")
    assert "--pairwise" in it.value.hint


def damaged(path: Path, change: dict[str, np.ndarray], *, without: str = "") -> None:
    """Write a file anew with other tensors."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path) | change
    tensors.pop(without, None)
    save_file(tensors, path, metadata=metadata)


DAMAGES: dict[str, tuple[dict[str, Any], str]] = {
    "type": ({"scores": np.zeros(3, dtype=np.float64)}, "'scores' must be F32"),
    "shape": ({"similarities": np.zeros((3, 2), dtype=np.float32)}, "'similarities' must be F32"),
    "length": ({"query": np.zeros(2, dtype=np.int64)}, "'query' must be I64 of shape"),
    "scene": ({"scene": np.array([0, 1, 99])}, r"'scene' must be in 0\.\.1"),
    "score": ({"scores": np.array([0.1, 2, 0], dtype=np.float32)}, r"'scores' must be in 0\.\.1"),
    "nan": ({"scores": np.array([0.1, np.nan, 0], dtype=np.float32)}, "'scores' must be in"),
    "similarity": ({"similarities": np.full(3, np.inf, dtype=np.float32)}, "NaN or infinity"),
    "box": ({"boxes": np.zeros((3, 4), dtype=np.float32)}, "'boxes' has no area"),
    "order": ({"queries": np.array([2, 2])}, "'queries' must rise"),
    "stranger": ({"compared": np.zeros((2, 2), dtype=np.bool_)}, "a pair that was not compared"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, damage: str) -> None:
    boxes = np.array([[0, 0, 9, 9]] * 3, dtype=np.float32)
    good = PairPredictions(
        scenes=("a", "b"),
        queries=np.array([0, 5]),
        compared=np.ones((2, 2), dtype=np.bool_),
        boxes=boxes,
        scores=np.zeros(3, dtype=np.float32),
        similarities=np.zeros(3, dtype=np.float32),
        query=np.array([0, 1, 1]),
        scene=np.array([0, 1, 1]),
        plain_boxes=boxes[:1],
        plain_scores=np.zeros(1, dtype=np.float32),
        plain_scene=np.zeros(1, dtype=np.int64),
    )
    save_pairs(good, path := tmp_path / "pairs.safetensors")
    load_pairs(path)
    change, told = DAMAGES[damage]
    damaged(path, change)
    with pytest.raises(PredictionsError, match=told):
        load_pairs(path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.safetensors"
    path.write_bytes(b"no safetensors")
    with pytest.raises(PredictionsError, match="is not a safetensors file"):
        load_pairs(path)
    save_file({"boxes": np.zeros(1)}, path)
    with pytest.raises(PredictionsError, match="no metadata of a pairs file"):
        load_pairs(path)
    save_file({"a": np.zeros(1)}, path, metadata={"fdps": '{"format": "x", "version": 1}'})
    with pytest.raises(PredictionsError, match="holds x 1, expected fdps-pairs 1"):
        load_pairs(path)
    save_file({"a": np.zeros(1)}, path, metadata={"fdps": '{"format": "fdps-pairs", "version": 1}'})
    with pytest.raises(PredictionsError, match="the metadata must be"):
        load_pairs(path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    save_pairs(pairs_of(made(0)[1]), path := tmp_path / "pairs.safetensors")
    damaged(path, {}, without="similarities")
    with pytest.raises(PredictionsError, match="'similarities' is missing"):
        load_pairs(path)
