"""The evaluator against plain loops, written straight from the rules of the public code."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from fake.geometry import CUHK, PRW, SMALL_CUHK, SMALL_PRW, Size, draw_predictions, draw_scenes
from fake.loops import Run, loop_detection, loop_search, overlap, top
from fdps.evaluation import REFERENCE, EvaluationReport, RerankOptions, evaluate
from fdps.predictions import Predictions
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

N_PEOPLE, DIM = 5, 6


def random_case(seed: int) -> tuple[Predictions, SceneSet]:
    """A small set with every quirk: empty scenes, one id twice, ties, odd gallery lists."""
    rng = np.random.default_rng(seed)
    n_scenes = int(rng.integers(6, 14))
    scenes, boxes, scores, embeddings, rows = [], [], [], [], []
    centres = rng.integers(-1, 2, (N_PEOPLE + 1, DIM)).astype(np.float32) + 0.1
    for row in range(n_scenes):
        n = int(rng.integers(0, 6))
        low = rng.uniform(0, 300, (n, 2))
        size = rng.uniform(8, 60, (n, 2)) * [1, 2]
        people = np.concatenate([low, low + size], axis=1).astype(np.float32)
        ids = rng.integers(-1, N_PEOPLE, n)  # repeats give the same id twice in a scene
        scenes.append(Scene(f"s{row}", Path("x.jpg"), people, ids, f"c{rng.integers(2)}", 10 * row))
        for box, pid in zip(people, ids, strict=True):
            for _ in range(int(rng.integers(0, 4))):  # missed, found, found more than once
                jitter = rng.normal(0, 0.08, 4) * np.tile(box[2:] - box[:2], 2)
                shifted = box + jitter
                boxes.append(
                    np.concatenate([shifted[:2], np.maximum(shifted[2:], shifted[:2] + 1)])
                )
                scores.append(round(rng.uniform(0.3, 1), 1))  # coarse, so that scores tie
                embeddings.append(centres[pid] + rng.integers(0, 2, DIM))  # and similarities
                rows.append(row)
        for _ in range(int(rng.integers(0, 2))):
            boxes.append(np.array([400, 400, 450, 480]))
            scores.append(0.8)
            embeddings.append(centres[-1])
            rows.append(row)
    queries = [
        with_list(Query(scene.name, box, int(pid)), scenes, rng, seed % 3)
        for scene in scenes
        for box, pid in zip(scene.boxes, scene.person_ids, strict=True)
        if pid != UNLABELLED
    ]
    scene_set = SceneSet(f"random {seed}", tuple(scenes), tuple(queries))
    order = rng.permutation(len(rows))
    features = np.array(embeddings, dtype=np.float32).reshape(-1, DIM)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    wanted = centres[[query.person_id for query in queries]]
    predictions = Predictions(
        scenes=tuple(scene.name for scene in scenes),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4)[order],
        scores=np.array(scores, dtype=np.float32)[order],
        embeddings=features[order],
        scene=np.array(rows, dtype=np.int64)[order],
        queries=tuple(queries),
        query_embeddings=wanted / np.linalg.norm(wanted, axis=1, keepdims=True),
    )
    return predictions, scene_set


def with_list(query: Query, scenes: list[Scene], rng: np.random.Generator, kind: int) -> Query:
    """No list, a list of names, or one with boxes as in CUHK-SYSU.

    Lists are in any order, name some scenes twice and perhaps the query's own. Of a list with
    boxes a scene may be listed once with the person and once without, or with either of two boxes;
    sometimes the list says that nobody is there though somebody is.
    """
    if kind == 0:
        return query
    rows = rng.integers(0, len(scenes), int(rng.integers(3, 15))).tolist()
    listed = replace(query, gallery=tuple(f"s{row}" for row in rows))
    if kind == 1:
        return listed
    boxes = {}
    for position, row in enumerate(rows):
        shown = scenes[row].boxes[scenes[row].person_ids == query.person_id]
        if len(shown) and rng.random() < 0.8:
            boxes[position] = shown[rng.integers(len(shown))]
    return replace(listed, gallery_boxes=boxes)


def assert_equal(report: EvaluationReport, run: Run, n_queries: int) -> None:
    """Every figure of a report is that of the loops."""
    recall, ap = loop_detection(run)
    assert report.detection.recall == pytest.approx(recall, abs=1e-9)
    assert report.detection.ap == pytest.approx(ap, abs=1e-9)
    labelled_recall, _ = loop_detection(run, labelled_only=True)
    assert report.detection.labelled_recall == pytest.approx(labelled_recall, abs=1e-9)

    aps, ranked = loop_search(run)
    np.testing.assert_allclose(report.search.average_precisions, aps, rtol=0, atol=1e-9)
    assert report.search.n_dropped == n_queries - len(aps)
    if not aps:  # no gallery shows anybody
        return
    assert report.search.mean_ap == pytest.approx(np.mean(aps), abs=1e-9)
    for k in (1, 5, 10):
        assert report.search.top(k) == pytest.approx(top(ranked, k), abs=1e-9)
    for labels, ours in zip(ranked, report.search.ranked_is_match, strict=True):
        assert ours.tolist() == (labels + [False] * 20)[:20]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "changed",
    [
        {},  # as published
        {"score_threshold": 0.3, "weight_by_score": True},
        {"min_frame_gap": 30},
        {"cameras": "cross"},
        {"cameras": "same"},
        {"gallery": "full"},
        {"rules": replace(REFERENCE, repeated_entries="searched")},
    ],
    ids=["plain", "weighted", "gap", "cross", "same", "full", "searched"],
)
def test_equals_the_loops(seed: int, changed: dict[str, object]) -> None:
    predictions, scenes = random_case(seed)
    run = Run(
        predictions,
        scenes,
        threshold=changed.get("score_threshold", 0.5),
        weighted="weight_by_score" in changed,
        gap=changed.get("min_frame_gap", 0),
        cameras=changed.get("cameras", "all"),
        full="gallery" in changed,
        searched_again="rules" in changed,
    )
    assert_equal(evaluate(predictions, scenes, **changed), run, len(scenes.queries))


def test_the_random_cases_hold_every_quirk() -> None:
    cases = [random_case(seed) for seed in range(20)]
    queries = [(query, scenes) for _, scenes in cases for query in scenes.queries]
    listed = [query for query, _ in queries if query.gallery is not None]
    assert any(len(set(query.gallery)) < len(query.gallery) for query in listed)
    assert any(query.scene in query.gallery for query in listed)
    assert any(query.gallery_boxes is not None for query in listed)
    assert any(query.gallery is None for query, _ in queries)
    scenes = [scene for _, scenes in cases for scene in scenes.scenes]
    assert any(len(scene.boxes) == 0 for scene in scenes)
    labelled = [scene.person_ids[scene.person_ids >= 0] for scene in scenes]
    assert any(len(set(ids.tolist())) < len(ids) for ids in labelled)
    assert any((scene.boxes[:, 2] - scene.boxes[:, 0] < 20).any() for scene in scenes)
    assert any((predictions.scores < 0.5).any() for predictions, _ in cases)
    reports = [evaluate(predictions, scenes) for predictions, scenes in cases]
    assert any(report.search.n_dropped for report in reports)
    assert any((np.diff(row[:3]) == 0).any() for r in reports for row in r.search.ranked_similarity)


def loop_cbgm(mean: bool, hits: int, people: int, weighted: bool):
    """Context matching by trying every assignment."""

    def rerank(run: Run, q: int, similarity_of: dict[str, np.ndarray]) -> None:
        query = run.scenes.queries[q]
        pairs = [(s, name) for name, values in similarity_of.items() for s in values]
        order = sorted(range(len(pairs)), key=lambda i: pairs[i][0])[::-1][:hits]
        around = [
            (score, embedding)
            for score, embedding, box in zip(
                run.scores[query.scene],
                run.embeddings[query.scene],
                run.boxes[query.scene],
                strict=True,
            )
            if overlap(box, query.box.tolist()) <= 0.5
        ]
        around.sort(key=lambda pair: -pair[0])
        wanted = run.predictions.query_embeddings[q].astype(float)
        context = [wanted, *(embedding for _, embedding in around)][:people]
        for name in {pairs[i][1] for i in order}:
            graph = [
                [
                    float(a @ b) * (run.scores[name][j] if weighted else 1)
                    for j, b in enumerate(run.embeddings[name])
                ]
                for a in context
            ]
            column, weight = brute_force(graph)
            if column >= 0:
                old = similarity_of[name]
                new = old.copy()
                new[column] = (weight + old[column]) / 2 if mean else weight
                similarity_of[name] = new

    return rerank


def brute_force(graph: list[list[float]]) -> tuple[int, float]:
    """Partner of row 0 (or -1) and greatest weight in the matching of the greatest sum."""
    n, m = len(graph), len(graph[0]) if graph else 0
    best, chosen = -np.inf, (-1, -np.inf)
    if n <= m:
        for columns in permutations(range(m), n):
            weights = [graph[i][j] for i, j in enumerate(columns)]
            if sum(weights) > best:
                best, chosen = sum(weights), (columns[0], max(weights))
        return chosen
    for rows in permutations(range(n), m):
        weights = [graph[i][j] for j, i in enumerate(rows)]
        if sum(weights) > best:
            partner = rows.index(0) if 0 in rows else -1
            best, chosen = sum(weights), (partner, max(weights, default=-np.inf))
    return chosen


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_context_matching_equals_the_loops(seed: int, mean: bool, weighted: bool) -> None:
    predictions, scenes = random_case(seed)
    # Equal sums have several best matchings; drawn embeddings have one.
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=predictions.embeddings.shape).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    predictions = replace(predictions, embeddings=drawn)
    run = Run(predictions, scenes, weighted=weighted, rerank=loop_cbgm(mean, 6, 3, weighted))
    report = evaluate(
        predictions,
        scenes,
        weight_by_score=weighted,
        rerank="cbgm-mean" if mean else "cbgm",
        rerank_options=RerankOptions(hits=6, people=3),
    )
    assert_equal(report, run, len(scenes.queries))


@pytest.mark.parametrize(
    ("size", "gallery"), [(SMALL_CUHK, "50"), (SMALL_CUHK, "100"), (SMALL_PRW, None)]
)
def test_equals_the_loops_on_drawn_sets(size: Size, gallery: str | None) -> None:
    check_geometry(size, gallery, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("size", "gallery"), [(CUHK, "100"), (CUHK, "4000"), (PRW, None)])
def test_equals_the_loops_at_full_scale(size: Size, gallery: str | None) -> None:
    check_geometry(size, gallery, seed=0)


def check_geometry(size: Size, gallery: str | None, seed: int) -> None:
    scenes = draw_scenes(size, seed)
    predictions = draw_predictions(scenes, seed, noise=2.0)
    if gallery is not None:
        queries = scenes.query_lists[gallery]()
        assert any(len(set(query.gallery)) < len(query.gallery) for query in queries)
        assert any(query.scene in query.gallery for query in queries)
        scenes = SceneSet(scenes.name, scenes.scenes, queries)
    report = evaluate(predictions, scenes, gallery="all" if gallery is None else int(gallery))
    assert 0.02 < report.search.mean_ap < 0.98
    assert_equal(report, Run(predictions, scenes), size.queries)
