"""The evaluation of the field as plain loops, from its description alone.

Slow on purpose and independent of ``fdps.evaluation``: a loop over scenes and their boxes for
detection, a loop over queries, gallery entries and boxes for search. Similarities are inner
products in float64, rounded to float32, so that ties are the same on both sides.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import average_precision_score

from fdps.predictions import Predictions
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

Box = list[float]
Rerank = Callable[["Run", int, dict[str, np.ndarray]], None]


@dataclass
class Run:
    """Predictions by scene name, above the score threshold."""

    predictions: Predictions
    scenes: SceneSet
    threshold: float = 0.5
    weighted: bool = False
    gap: int = 0
    cameras: str = "all"
    full: bool = False
    searched_again: bool = False  # as the Caffe code does with repeated entries
    rerank: Rerank | None = None
    by_name: dict[str, Scene] = field(init=False)
    rows: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_name = {scene.name: scene for scene in self.scenes.scenes}
        self.rows = {name: [] for name in self.by_name}
        for row, scene in enumerate(self.predictions.scene.tolist()):
            if self.predictions.scores[row] >= self.threshold:
                self.rows[self.predictions.scenes[scene]].append(row)
        self.embeddings = {
            name: self.predictions.embeddings[rows].astype(np.float64)
            for name, rows in self.rows.items()
        }
        self.boxes = {
            name: self.predictions.boxes[rows].tolist() for name, rows in self.rows.items()
        }
        self.scores = {name: self.predictions.scores[rows] for name, rows in self.rows.items()}
        self.people = {
            scene.name: list(zip(scene.person_ids.tolist(), scene.boxes.tolist(), strict=True))
            for scene in self.scenes.scenes
        }


def overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def loop_detection(run: Run, *, labelled_only: bool = False) -> tuple[float, float]:
    """Recall and AP."""
    y_true, y_score, count_gt, count_tp = [], [], 0, 0
    for scene in run.scenes.scenes:
        people = [
            box for pid, box in run.people[scene.name] if not labelled_only or pid != UNLABELLED
        ]
        count_gt += len(people)
        found = run.boxes[scene.name]
        table = [[overlap(box, person) for person in people] for box in found]
        for i, row in enumerate(table):
            is_pair = False
            if row:
                best_person = row.index(max(row))
                column = [other[best_person] for other in table]
                is_pair = column.index(max(column)) == i and row[best_person] >= 0.5
            y_true.append(is_pair)
            count_tp += is_pair
        y_score += run.scores[scene.name].tolist()
    recall = count_tp / count_gt
    ap = average_precision_score(y_true, y_score) * recall if count_tp else 0.0
    return recall, ap


def loop_search(
    run: Run, queries: tuple[Query, ...] | None = None
) -> tuple[list[float], list[list[bool]]]:
    """Average precision and the ranked labels of each query that can be answered."""
    aps, ranked = [], []
    for q, query in enumerate(queries or run.scenes.queries):
        y_true: list[int] = []
        y_score: list[np.ndarray] = []
        count_gt = count_tp = 0
        similarity_of: dict[str, np.ndarray] = {}
        person_in: dict[str, Box | None] = {}
        entries = list(_entries(run, query))
        for name, person in entries:
            count_gt += person is not None
            if name not in similarity_of:
                similarity_of[name] = _similarity(run, name, q)
                person_in[name] = person
        if run.rerank is not None:
            run.rerank(run, q, similarity_of)
        if not run.searched_again:
            entries = list(person_in.items())
        for name, person in entries:
            label = _labels(run.boxes[name], similarity_of[name], person)
            count_tp += sum(label)
            y_true += label
            y_score.append(similarity_of[name])
        if count_gt == 0:
            continue
        scores = np.concatenate(y_score) if y_score else np.zeros(0)
        ap = average_precision_score(y_true, scores) * count_tp / count_gt if count_tp else 0.0
        aps.append(ap)
        rising = np.argsort(scores, kind="stable")
        ranked.append([bool(y_true[j]) for j in rising[::-1]])
    return aps, ranked


def _entries(run: Run, query: Query) -> Iterator[tuple[str, Box | None]]:
    """Scene and box of the person of every gallery entry."""
    own = run.by_name[query.scene]
    if query.gallery is None:
        entries = [(s.name, None) for s in run.scenes.scenes if s.name != query.scene]
    else:
        entries = list(query.gallery_entries())
        if run.full:
            tested = {query.scene, *query.gallery}
            entries += [(s.name, None) for s in run.scenes.scenes if s.name not in tested]
    for name, box in entries:
        scene = run.by_name[name]
        if run.cameras != "all" and (run.cameras == "same") != (scene.camera == own.camera):
            continue
        if run.gap and scene.camera == own.camera and abs(scene.frame - own.frame) <= run.gap:
            continue
        if query.gallery_boxes is None:
            yield name, first_box(run, name, query.person_id)
        else:
            yield name, None if box is None else box.tolist()


def first_box(run: Run, name: str, person_id: int) -> Box | None:
    for pid, box in run.people[name]:
        if pid == person_id:
            return box
    return None


def _similarity(run: Run, name: str, query: int) -> np.ndarray:
    wanted = run.predictions.query_embeddings[query].astype(np.float64)
    similarity = run.embeddings[name] @ wanted
    return (similarity * run.scores[name] if run.weighted else similarity).astype(np.float32)


def _labels(boxes: list[Box], similarity: np.ndarray, person: Box | None) -> list[int]:
    """One for the most similar detection that overlaps the person, zero for all others."""
    label = [0] * len(boxes)
    if person is None:
        return label
    w, h = person[2] - person[0], person[3] - person[1]
    needed = min(0.5, w * h / ((w + 10) * (h + 10)))
    for j in np.argsort(similarity, kind="stable")[::-1].tolist():
        if overlap(boxes[j], person) >= needed:
            label[j] = 1
            return label
    return label


def top(ranked: list[list[bool]], k: int) -> float:
    """Share of the queries with a right label among the first k."""
    return float(np.mean([any(labels[:k]) for labels in ranked]))
