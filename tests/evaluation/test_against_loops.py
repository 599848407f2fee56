"""The evaluator against plain loops, written straight from the rules of the public code."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from fdps.evaluation import evaluate
from fdps.predictions import Predictions
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

N_PEOPLE, DIM = 5, 6


def overlap(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def loop_detection(
    predictions: Predictions, scenes: SceneSet, threshold: float, labelled_only: bool = False
) -> tuple[float, float]:
    y_true, y_score, count_gt, count_tp = [], [], 0, 0
    for row, scene in enumerate(scenes.scenes):
        people = [
            box
            for box, pid in zip(scene.boxes.tolist(), scene.person_ids.tolist(), strict=True)
            if not labelled_only or pid != UNLABELLED
        ]
        count_gt += len(people)
        mine = [
            i
            for i in range(len(predictions.boxes))
            if predictions.scene[i] == row and predictions.scores[i] >= threshold
        ]
        for i in mine:
            box = predictions.boxes[i].tolist()
            is_pair = False
            for g, person in enumerate(people):
                best_person = max(
                    range(len(people)), key=lambda j, box=box: (overlap(box, people[j]), -j)
                )
                best_det = max(
                    mine,
                    key=lambda j, person=person: (
                        overlap(predictions.boxes[j].tolist(), person),
                        -j,
                    ),
                )
                if best_person == g and best_det == i and overlap(box, person) >= 0.5:
                    is_pair = True
            y_true.append(is_pair)
            y_score.append(predictions.scores[i])
            count_tp += is_pair
    recall = count_tp / count_gt
    ap = average_precision_score(y_true, y_score) * recall if count_tp else 0.0
    return recall, ap


def loop_search(
    predictions: Predictions, scenes: SceneSet, threshold: float, gap: int, weighted: bool
) -> tuple[list[float], list[list[bool]]]:
    """Average precision and the ranked labels of each query that can be answered."""
    row_of = {scene.name: row for row, scene in enumerate(scenes.scenes)}
    aps, ranked = [], []
    for q, query in enumerate(scenes.queries):
        own = scenes.scenes[row_of[query.scene]]
        entries = query.gallery
        if entries is None:
            entries = tuple(scene.name for scene in scenes.scenes if scene.name != query.scene)
        y_true: list[int] = []
        y_score: list[np.float32] = []
        count_gt = count_tp = 0
        tested = set()
        for name in entries:
            scene = scenes.scenes[row_of[name]]
            if gap and scene.camera == own.camera and abs(scene.frame - own.frame) <= gap:
                continue
            person = first_box(scene, query.person_id)
            count_gt += person is not None
            if name in tested:
                continue
            tested.add(name)
            found = [
                (loop_similarity(predictions, i, q, weighted), predictions.boxes[i].tolist())
                for i in range(len(predictions.boxes))
                if predictions.scene[i] == row_of[name] and predictions.scores[i] >= threshold
            ]
            label = loop_labels(found, person)
            count_tp += sum(label)
            y_true += label
            y_score += [similarity for similarity, _ in found]
        if count_gt == 0:
            continue
        ap = average_precision_score(y_true, y_score) * count_tp / count_gt if count_tp else 0.0
        aps.append(ap)
        rising = sorted(range(len(y_score)), key=lambda j, scores=y_score: scores[j])
        ranked.append([bool(y_true[j]) for j in reversed(rising)])
    return aps, ranked


def first_box(scene: Scene, person_id: int) -> list[float] | None:
    for box, pid in zip(scene.boxes.tolist(), scene.person_ids.tolist(), strict=True):
        if pid == person_id:
            return box
    return None


def loop_similarity(predictions: Predictions, row: int, query: int, weighted: bool) -> np.float32:
    similarity = np.dot(
        predictions.embeddings[row].astype(float),
        predictions.query_embeddings[query].astype(float),
    )
    return np.float32(similarity * predictions.scores[row] if weighted else similarity)


def loop_labels(
    found: list[tuple[np.float32, list[float]]], person: list[float] | None
) -> list[int]:
    """One for the most similar detection that overlaps the person, zero for all others."""
    label = [0] * len(found)
    if person is None:
        return label
    w, h = person[2] - person[0], person[3] - person[1]
    needed = min(0.5, w * h / ((w + 10) * (h + 10)))
    rising = sorted(range(len(found)), key=lambda j: found[j][0])
    for j in reversed(rising):
        if overlap(found[j][1], person) >= needed:
            label[j] = 1
            return label
    return label


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
        Query(scene.name, box, int(pid), random_list(rng, n_scenes) if seed % 2 else None)
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


def random_list(rng: np.random.Generator, n_scenes: int) -> tuple[str, ...]:
    """Scenes in any order, some listed twice, the query's own perhaps among them."""
    return tuple(f"s{row}" for row in rng.integers(0, n_scenes, int(rng.integers(3, 15))))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("threshold", "gap", "weighted"),
    [
        (0.5, 0, False),  # as published
        (0.3, 0, True),  # confidence-weighted
        (0.5, 30, False),  # near frames of the same camera ignored
    ],
)
def test_equals_the_loops(seed: int, threshold: float, gap: int, weighted: bool) -> None:
    predictions, scenes = random_case(seed)

    report = evaluate(
        predictions,
        scenes,
        score_threshold=threshold,
        min_frame_gap=gap,
        weight_by_score=weighted,
    )

    recall, ap = loop_detection(predictions, scenes, threshold)
    assert report.detection.recall == pytest.approx(recall, abs=1e-9)
    assert report.detection.ap == pytest.approx(ap, abs=1e-9)
    labelled_recall, _ = loop_detection(predictions, scenes, threshold, labelled_only=True)
    assert report.detection.labelled_recall == pytest.approx(labelled_recall, abs=1e-9)

    aps, ranked = loop_search(predictions, scenes, threshold, gap, weighted)
    np.testing.assert_allclose(report.search.average_precisions, aps, atol=1e-9)
    assert report.search.n_dropped == len(scenes.queries) - len(aps)
    for k in (1, 5, 10):
        top = np.mean([any(labels[:k]) for labels in ranked])
        assert report.search.top(k) == pytest.approx(top, abs=1e-9)
    for labels, ours in zip(ranked, report.search.ranked_is_match, strict=True):
        padded = (labels + [False] * 20)[:20]
        assert ours.tolist() == padded
