import math

import numpy as np
import pytest

from fake.found import FoundPerson, perfect, predictions, query, scene
from fdps.evaluation.grouping import group_by_scene
from fdps.evaluation.protocols import EvaluationOptions
from fdps.evaluation.search import N_RANKED, SearchResult, evaluate_search
from fdps.evaluation.table import picked_similarities, similarities
from fdps.predictions import Predictions
from fdps.structures import SceneSet

A = (0.0, 0.0, 20.0, 50.0)
B = (30.0, 0.0, 50.0, 50.0)
LIKE, SIMILAR, UNLIKE = [1.0, 0.0], [4.0, 3.0], [0.0, 1.0]  # similarity to LIKE: 1, 0.8, 0


def search(scenes: SceneSet, file: Predictions, **options: object) -> SearchResult:
    found = group_by_scene(file, scenes, min_score=0.5)
    return evaluate_search(found, file.query_embeddings, scenes, EvaluationOptions(**options))


def person_in(*rows: bool, gallery: tuple[str, ...] | None = None) -> SceneSet:
    """Person 0 is at A of the query's scene and of the scenes with True."""
    scenes = [scene("q", [(A, 0)])]
    scenes += [scene(f"s{i}", [(A, 0)] if row else []) for i, row in enumerate(rows)]
    return SceneSet("set", tuple(scenes), (query(scenes[0], 0, gallery),))


def found_in(*rows: list[FoundPerson]) -> list[list[FoundPerson]]:
    return [[(A, 1.0, LIKE)], *rows]


def test_by_hand() -> None:
    scenes = person_in(True, True, False)
    file = predictions(
        scenes,
        found_in([(A, 0.9, SIMILAR)], [], [(A, 0.8, LIKE), (B, 0.7, UNLIKE)]),
        [LIKE],
    )
    result = search(scenes, file)
    assert result.average_precisions.tolist() == [0.25]  # found at rank 2 of 2, one of two scenes
    assert result.first_matches.tolist() == [2]
    assert result.n_relevant.tolist() == [2]
    assert (result.top(1), result.top(5)) == (0, 1)
    assert result.cmc(3).tolist() == [0, 1, 1]
    assert result.ranked[0, :4].tolist() == [2, 1, 3, -1]  # rows of the file
    assert result.ranked_is_match[0, :4].tolist() == [False, True, False, False]
    np.testing.assert_allclose(result.ranked_similarity[0, :4], [1, 0.8, 0, 0], rtol=1e-6)
    assert result.ranked.shape == (1, N_RANKED)


def test_only_the_most_similar_of_the_overlapping_detections_is_right() -> None:
    scenes = person_in(True)
    shifted = (1.0, 0.0, 21.0, 50.0)
    file = predictions(scenes, found_in([(A, 0.9, SIMILAR), (shifted, 0.6, LIKE)]), [LIKE])
    result = search(scenes, file)
    assert result.average_precisions.tolist() == [1]
    assert result.ranked_is_match[0, :2].tolist() == [True, False]


def test_a_perfect_system_scores_one() -> None:
    scenes = person_in(True, False, True)
    result = search(scenes, perfect(scenes, 1))
    assert (result.mean_ap, result.top(1), len(result)) == (1, 1, 1)


def test_a_scene_listed_twice_keeps_a_perfect_system_below_one() -> None:
    scenes = person_in(True, True, gallery=("s0", "s1", "s0"))
    assert search(scenes, perfect(scenes, 1)).mean_ap == pytest.approx(2 / 3)


def test_the_scene_of_the_query_counts_if_it_is_listed() -> None:
    scenes = person_in(True, gallery=("q", "s0"))
    result = search(scenes, perfect(scenes, 1))
    assert (result.mean_ap, result.n_relevant.tolist()) == (1, [2])


def test_weighting_by_score_reorders() -> None:
    scenes = person_in(True, False)
    file = predictions(scenes, found_in([(A, 1.0, SIMILAR)], [(A, 0.6, LIKE)]), [LIKE])
    assert search(scenes, file).first_matches.tolist() == [2]
    weighted = search(scenes, file, weight_by_score=True)
    assert weighted.first_matches.tolist() == [1]
    np.testing.assert_allclose(weighted.ranked_similarity[0, :2], [0.8, 0.6], rtol=1e-6)


def test_a_query_that_nothing_can_answer_drops_out() -> None:
    first = scene("a", [(A, 0), (B, 1)])
    second = scene("b", [(B, 1)])
    scenes = SceneSet("s", (first, second), (query(first, 0), query(first, 1)))
    result = search(scenes, perfect(scenes, 2))
    assert result.queries.tolist() == [1]
    assert (result.n_dropped, result.gallery_size, result.mean_ap) == (1, 1, 1)


def test_nothing_detected_scores_nothing() -> None:
    scenes = person_in(True)
    result = search(scenes, predictions(scenes, [[], []], [LIKE]))
    assert (result.mean_ap, result.top(10), result.n_dropped) == (0, 0, 0)
    assert (result.ranked == -1).all()


def test_without_queries_the_figures_stay_open() -> None:
    scenes = SceneSet("s", (scene("a", [(A, 0)]),))
    result = search(scenes, predictions(scenes, [[(A, 1.0, LIKE)]], []))
    assert math.isnan(result.mean_ap)
    assert math.isnan(result.top(1))
    assert (len(result), result.n_dropped, result.gallery_size) == (0, 0, 0)


def test_more_queries_than_a_block_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdps.evaluation.search._CELLS", 64 * 140)
    scenes = [scene(f"s{i}", [(A, i % 70)]) for i in range(140)]
    whole = SceneSet("s", tuple(scenes), tuple(query(s, 0) for s in scenes))
    result = search(whole, perfect(whole, 70))
    assert (len(result), result.mean_ap, result.top(1)) == (140, 1, 1)


def test_equal_embeddings_tie_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 256)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    repeated = np.tile(rows[:1], (1001, 1))
    for block in (1, 2, 3):
        product = similarities(rows[:block], repeated)
        assert (product == product[:, :1]).all()


def test_picked_pairs_have_the_similarities_of_the_whole_product() -> None:
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(7, 16)).astype(np.float32)
    embeddings = rng.normal(size=(90, 16)).astype(np.float32)
    rows = np.sort(rng.integers(0, 7, 1300))  # more than are picked at once
    columns = rng.integers(0, 90, 1300)
    picked = picked_similarities(queries, embeddings, rows, columns).astype(np.float32)
    np.testing.assert_array_equal(picked, similarities(queries, embeddings)[rows, columns])
