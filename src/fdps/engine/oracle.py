"""A re-ID network that is never wrong, behind any detector: what a perfect one would reach there.

Axes: N detections, M annotated people, D length of an embedding.
"""

import hashlib

import numpy as np
from jaxtyping import Float32

from fdps.boxes import iou
from fdps.evaluation.matching import search_iou
from fdps.predictions import Predictions
from fdps.structures import UNLABELLED, Boxes, Scene, SceneSet

DIM = 128


def with_oracle(found: Predictions, scenes: SceneSet) -> Predictions:
    """Replace embeddings by ones that are equal exactly where the annotated person is the same.

    The detections of a scene are matched, best score first, each to the person whom it overlaps
    most among those who are left, if by as much as a search counts
    (:func:`~fdps.evaluation.matching.search_iou`). An identity has a direction of its own; so
    has every detection of somebody without identity, of somebody who was found before, and of
    nobody. Directions are drawn at random, and no two are alike.

    Args:
        found: What a model found in the scenes.
        scenes: The scenes with their annotations.

    Returns:
        The same detections and queries with other embeddings, under a name of their own.
    """
    rows = np.zeros((len(found.boxes), DIM), dtype=np.float32)
    for row, scene in enumerate(scenes.scenes):
        (here,) = np.nonzero(found.scene == row)
        order = here[np.argsort(-found.scores[here], kind="stable")]
        people = _matched(found.boxes[order], scene)
        for detection, person in zip(order.tolist(), people, strict=True):
            name = f"detection {detection}" if person == UNLABELLED else f"person {person}"
            rows[detection] = _direction(name)
    queries = [_direction(f"person {query.person_id}") for query in found.queries]
    return Predictions(
        scenes=found.scenes,
        boxes=found.boxes,
        scores=found.scores,
        embeddings=rows,
        scene=found.scene,
        queries=found.queries,
        query_embeddings=np.stack(queries) if queries else np.zeros((0, DIM), np.float32),
        model_hash=f"{found.model_hash}+oracle",
        data_hash=found.data_hash,
        versions=found.versions,
    )


def _matched(boxes: Boxes, scene: Scene) -> list[int]:
    """Return the identity of each detection, best score first; -1 for all others."""
    if len(scene.boxes) == 0:
        return [UNLABELLED] * len(boxes)
    overlaps, least = iou(boxes, scene.boxes), search_iou(scene.boxes)
    people = []
    for row in overlaps:
        best = int(row.argmax())
        if row[best] < least[best]:
            people.append(UNLABELLED)
            continue
        overlaps[:, best] = 0  # nobody else finds this person
        people.append(int(scene.person_ids[best]))
    return people


def _direction(name: str) -> Float32[np.ndarray, " _"]:
    """Draw the direction of a name, the same on every machine."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    row = np.random.default_rng(seed).standard_normal(DIM)
    return np.asarray(row / np.linalg.norm(row), dtype=np.float32)
