"""Scene sets and predictions written down by hand: boxes and embeddings as plain lists."""

from pathlib import Path

import numpy as np

from fdps.predictions import Predictions, data_hash
from fdps.structures import Query, Scene, SceneSet

Box = tuple[float, float, float, float]
Person = tuple[Box, int]
FoundPerson = tuple[Box, float, list[float]]


def scene(
    name: str, people: list[Person], camera: str | None = None, frame: int | None = None
) -> Scene:
    """A scene of (box, person id) pairs."""
    boxes = np.array([box for box, _ in people], dtype=np.float32).reshape(-1, 4)
    ids = np.array([person_id for _, person_id in people], dtype=np.int64)
    return Scene(name, Path(f"{name}.jpg"), boxes, ids, camera, frame)


def query(scene: Scene, row: int, gallery: tuple[str, ...] | None = None) -> Query:
    """Look for one of the people of a scene."""
    return Query(scene.name, scene.boxes[row], int(scene.person_ids[row]), gallery)


def predictions(
    scenes: SceneSet,
    found: list[list[FoundPerson]],
    wanted: list[list[float]],
    *,
    hashed: bool = True,
) -> Predictions:
    """Predictions of (box, score, embedding) triples per scene; embeddings become unit rows."""
    rows = [triple for triples in found for triple in triples]
    dim = len((wanted or [row[2] for row in rows] or [[1.0]])[0])
    return Predictions(
        scenes=tuple(scene.name for scene in scenes.scenes),
        boxes=np.array([row[0] for row in rows], dtype=np.float32).reshape(-1, 4),
        scores=np.array([row[1] for row in rows], dtype=np.float32),
        embeddings=_unit([row[2] for row in rows], dim),
        scene=np.repeat(np.arange(len(found)), [len(triples) for triples in found]),
        queries=scenes.queries,
        query_embeddings=_unit(wanted, dim),
        data_hash=data_hash(scenes) if hashed else "",
    )


def perfect(scenes: SceneSet, n_people: int) -> Predictions:
    """Every annotated box with score 1, embedded by its identity."""
    identity = np.eye(n_people).tolist()
    found = [
        [
            (tuple(box), 1.0, identity[person_id])
            for box, person_id in zip(s.boxes.tolist(), s.person_ids.tolist(), strict=True)
        ]
        for s in scenes.scenes
    ]
    return predictions(scenes, found, [identity[q.person_id] for q in scenes.queries])


def _unit(rows: list[list[float]], dim: int) -> np.ndarray:
    array = np.array(rows, dtype=np.float32).reshape(-1, dim)
    return array / np.linalg.norm(array, axis=1, keepdims=True)
