"""Run an embedder over a scene set: the first half of every evaluation."""

from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from jaxtyping import Float32

from fdps.pictures import read_picture
from fdps.predictions import Predictions, data_hash
from fdps.structures import Boxes, Detections, Embedder, Picture, SceneSet, empty_boxes

_VERSIONED = ("fdps", "numpy", "torch", "torchvision")


def predict(
    embedder: Embedder,
    scenes: SceneSet,
    progress: Callable[[int, int], None] | None = None,
    *,
    ground_truth_boxes: bool = False,
) -> Predictions:
    """Detect and embed everybody in every scene, and embed every query in its scene.

    A query is embedded from its annotated box, without detecting. Each picture is decoded once.

    Args:
        embedder: A trained network, or anything else that keeps the promises of
            :class:`~fdps.structures.Embedder`.
        scenes: Scenes to look at; there may be no queries.
        progress: Called after every scene with the number of scenes done and their total.
        ground_truth_boxes: Whether to embed the annotated people with a score of 1 in place of
            detections, which gives what search would reach with a perfect detector.

    Raises:
        MissingDataError: A picture is not there.
        PictureError: A picture cannot be decoded.
    """
    wanted = _queries_by_scene(scenes)
    query_embeddings = np.zeros((len(scenes.queries), embedder.dim), dtype=np.float32)
    found: list[Detections] = []
    for done, scene in enumerate(scenes.scenes, start=1):
        image = read_picture(scene.path)
        found.append(
            _annotated(embedder, image, scene.boxes)
            if ground_truth_boxes
            else embedder.detect(image)
        )
        rows = wanted[scene.name]
        if rows:
            boxes = np.stack([scenes.queries[row].box for row in rows])
            query_embeddings[rows] = embedder.embed(image, boxes)
        if progress is not None:
            progress(done, len(scenes))
    return _gather(found, scenes, embedder, query_embeddings)


def _annotated(embedder: Embedder, image: Picture, boxes: Boxes) -> Detections:
    if len(boxes) == 0:
        embeddings = np.zeros((0, embedder.dim), dtype=np.float32)
    else:
        embeddings = embedder.embed(image, boxes)
    return Detections(boxes, np.ones(len(boxes), dtype=np.float32), embeddings)


def _queries_by_scene(scenes: SceneSet) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, query in enumerate(scenes.queries):
        rows[query.scene].append(row)
    return rows


def _gather(
    found: list[Detections],
    scenes: SceneSet,
    embedder: Embedder,
    query_embeddings: Float32[np.ndarray, "Q D"],
) -> Predictions:
    none = np.zeros((0, embedder.dim), dtype=np.float32)
    return Predictions(
        scenes=tuple(scene.name for scene in scenes.scenes),
        boxes=np.concatenate([empty_boxes(), *(d.boxes for d in found)]),
        scores=np.concatenate([none[:, 0], *(d.scores for d in found)]),
        embeddings=np.concatenate([none, *(d.embeddings for d in found)]),
        scene=np.repeat(np.arange(len(found)), [len(d) for d in found]).astype(np.int64),
        queries=scenes.queries,
        query_embeddings=query_embeddings,
        model_hash=embedder.model_hash,
        data_hash=data_hash(scenes),
        versions={name: version(name) for name in _VERSIONED},
    )
