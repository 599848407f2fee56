"""Re-ranking and query expansion against loops and by hand."""

from itertools import permutations

import numpy as np
import pytest

from fake.found import FoundPerson, predictions, query, scene
from fake.geometry import SMALL_PRW, draw_predictions, draw_scenes
from fdps.evaluation import RerankOptions, evaluate
from fdps.evaluation.reranking.context import context_match
from fdps.evaluation.reranking.reciprocal import k_reciprocal_distance
from fdps.structures import SceneSet

A = (0.0, 0.0, 20.0, 50.0)
B = (30.0, 0.0, 50.0, 50.0)
ME, FRIEND, STRANGER = [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]


@pytest.mark.parametrize("seed", range(60))
def test_context_match_equals_every_permutation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 6, 2).tolist()
    weights = rng.normal(size=(n, m))  # negative ones too
    if n <= m:
        tries = [list(enumerate(columns)) for columns in permutations(range(m), n)]
    else:
        tries = [list(zip(rows, range(m), strict=True)) for rows in permutations(range(n), m)]
    best = max(tries, key=lambda pairs: sum(weights[i, j] for i, j in pairs))
    partner = dict(best).get(0)
    if partner is None:
        assert context_match(weights) is None
    else:
        assert context_match(weights) == (partner, max(weights[i, j] for i, j in best))


def test_nobody_to_match() -> None:
    assert context_match(np.zeros((2, 0))) is None


def friends() -> tuple[SceneSet, list[list[FoundPerson]]]:
    """A hit with the query's companion beside it, and a slightly better one without."""
    scenes = [scene("q", [(A, 0), (B, 1)]), scene("a", [(A, 2)]), scene("b", [(A, 0), (B, 1)])]
    found: list[list[FoundPerson]] = [
        [(A, 0.9, ME), (B, 0.8, FRIEND)],
        [(A, 0.9, [0.8, 0.0, 0.6])],
        [(A, 0.9, [0.7, 0.0, -0.714]), (B, 0.9, [0.0, 0.99, 0.14])],
    ]
    return SceneSet("friends", tuple(scenes), (query(scenes[0], 0),)), found


def test_company_lifts_a_hit() -> None:
    scenes, found = friends()
    file = predictions(scenes, found, [ME])
    assert evaluate(file, scenes).search.first_matches.tolist() == [2]
    for name, expected in (("cbgm", 0.99), ("cbgm-mean", (0.99 + 0.7) / 2)):
        result = evaluate(file, scenes, rerank=name).search
        assert result.first_matches.tolist() == [1]
        assert result.ranked_similarity[0, 0] == pytest.approx(expected, abs=0.01)
        assert result.rerank_seconds > 0


def test_only_scenes_of_the_best_hits_are_matched() -> None:
    scenes, found = friends()
    result = evaluate(
        predictions(scenes, found, [ME]), scenes, rerank="cbgm", rerank_options=RerankOptions(1)
    ).search
    assert result.first_matches.tolist() == [2]


def test_the_detection_of_the_query_is_no_company() -> None:
    scenes, found = friends()
    found[0] = [(A, 0.9, FRIEND)]  # stands where the query stands
    result = evaluate(predictions(scenes, found, [ME]), scenes, rerank="cbgm").search
    assert result.first_matches.tolist() == [2]


def loop_distance(similarity: np.ndarray, k1: int, k2: int, weight: float) -> list[float]:
    """k-reciprocal encoding as the paper has it, with sets."""
    n = len(similarity)
    distance = [[0.0 if i == j else 1 - similarity[i, j] for j in range(n)] for i in range(n)]
    order = [sorted(range(n), key=lambda j, i=i: (j != i, distance[i][j], j)) for i in range(n)]

    def reciprocal(p: int, k: int) -> set[int]:
        return {q for q in order[p][: k + 1] if p in order[q][: k + 1]}

    encodings = []
    for p in range(n):
        members = wide = reciprocal(p, k1)
        for q in wide:
            narrow = reciprocal(q, max(1, round(k1 / 2)))
            if len(wide & narrow) >= 2 / 3 * len(narrow):
                members = members | narrow
        row = [np.exp(-distance[p][q]) if q in members else 0.0 for q in range(n)]
        encodings.append([value / sum(row) for value in row])
    averaged = [np.mean([encodings[q] for q in order[p][:k2]], axis=0) for p in range(n)]
    jaccard = [
        1 - np.minimum(averaged[0], row).sum() / np.maximum(averaged[0], row).sum()
        for row in averaged
    ]
    return [(1 - weight) * jaccard[j] + weight * distance[0][j] for j in range(n)]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("k1", "k2", "weight"), [(5, 2, 0.3), (20, 6, 0.0), (1, 1, 1.0)])
def test_k_reciprocal_distance_equals_the_loops(seed: int, k1: int, k2: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(25, 6)) + 2 * rng.normal(size=(4, 6))[rng.integers(0, 4, 25)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    options = RerankOptions(neighbours=k1, averaged=k2, weight=weight)
    distance = k_reciprocal_distance(rows @ rows.T, options)
    np.testing.assert_allclose(distance, loop_distance(rows @ rows.T, k1, k2, weight), atol=1e-9)
    assert distance[0] == pytest.approx(0, abs=1e-12)


def test_k_reciprocal_deals_out_the_same_similarities() -> None:
    scenes = draw_scenes(SMALL_PRW)
    file = draw_predictions(scenes, dim=32, noise=1.2)
    plain = evaluate(file, scenes).search
    options = RerankOptions(shortlist=15)
    result = evaluate(file, scenes, rerank="k-reciprocal", rerank_options=options).search
    np.testing.assert_array_equal(result.ranked_similarity, plain.ranked_similarity)
    np.testing.assert_array_equal(result.ranked[:, 15:], plain.ranked[:, 15:])
    assert (np.sort(result.ranked[:, :15]) == np.sort(plain.ranked[:, :15])).all()
    assert (result.ranked != plain.ranked).any()


def test_the_order_by_plain_distance_is_the_old_one() -> None:
    scenes = draw_scenes(SMALL_PRW)
    file = draw_predictions(scenes, dim=32)
    options = RerankOptions(weight=1.0)
    result = evaluate(file, scenes, rerank="k-reciprocal", rerank_options=options).search
    np.testing.assert_array_equal(result.ranked, evaluate(file, scenes).search.ranked)


def test_neighbours_raise_the_figures_of_noisy_embeddings() -> None:
    scenes = draw_scenes(SMALL_PRW)
    file = draw_predictions(scenes, dim=64, noise=1.2)
    plain = evaluate(file, scenes).search.mean_ap
    assert evaluate(file, scenes, rerank="k-reciprocal").search.mean_ap > plain
    assert evaluate(file, scenes, query_expansion=5).search.mean_ap > plain


def test_a_query_becomes_the_mean_of_itself_and_its_hits() -> None:
    scenes = [scene("q", [(A, 0)]), scene("a", [(A, 0)]), scene("b", [(A, 0)]), scene("c", [])]
    whole = SceneSet("s", tuple(scenes), (query(scenes[0], 0),))
    found: list[list[FoundPerson]] = [
        [],
        [(A, 1.0, [0.8, 0.6])],
        [(A, 1.0, [0.0, 1.0])],
        [(A, 1.0, [0.3, -0.954])],
    ]
    file = predictions(whole, found, [[1.0, 0.0]])
    assert evaluate(file, whole).search.mean_ap == pytest.approx((1 + 2 / 3) / 2)
    result = evaluate(file, whole, query_expansion=1).search
    assert result.mean_ap == 1
    mean = np.array([1.8, 0.6]) / np.linalg.norm([1.8, 0.6])
    assert result.ranked_similarity[0, 0] == pytest.approx(mean @ [0.8, 0.6], abs=1e-6)


def test_an_empty_gallery_can_be_reordered() -> None:
    scenes = [scene("q", [(A, 0)]), scene("a", [(A, 0)])]
    whole = SceneSet("s", tuple(scenes), (query(scenes[0], 0),))
    file = predictions(whole, [[(A, 1.0, ME)], []], [ME])
    for rerank in ("cbgm", "cbgm-mean", "k-reciprocal"):
        result = evaluate(file, whole, rerank=rerank, query_expansion=2).search
        assert (result.mean_ap, result.top(1)) == (0, 0)
