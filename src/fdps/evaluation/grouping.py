"""Predictions sorted by the scenes of a data set, after a check that they belong to it.

Axes: N detections kept, D embedding dimension, S1 scenes and one more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from fdps.errors import DataError, PredictionsError
from fdps.evaluation.ragged import ranges
from fdps.pictures import picture_size
from fdps.predictions import Predictions, data_hash
from fdps.structures import Query, Scene, SceneSet

_MAX_APART_PX = 0.5  # a box that went through a text file


@dataclass(frozen=True, slots=True, eq=False)
class GroupedDetections:
    """The detections of a whole data set, those of scene ``s`` at ``starts[s]:starts[s + 1]``.

    Args:
        boxes: In pixels of their scene.
        scores: Detector confidence.
        embeddings: Unit rows.
        rows: Row of each in the predictions file.
        scenes: Row of its scene in the scene set, never falling.
        starts: Where each scene begins; the last entry is N.
    """

    boxes: Float32[np.ndarray, "N 4"]
    scores: Float32[np.ndarray, " N"]
    embeddings: Float32[np.ndarray, "N D"]
    rows: Int64[np.ndarray, " N"]
    scenes: Int64[np.ndarray, " N"]
    starts: Int64[np.ndarray, " S1"]

    def __len__(self) -> int:
        return len(self.boxes)

    def of(self, scene: int) -> slice:
        """Return the range of the detections of one scene."""
        return slice(int(self.starts[scene]), int(self.starts[scene + 1]))

    def of_many(self, scenes: Int64[np.ndarray, " K"]) -> Int64[np.ndarray, " R"]:
        """Detections of several scenes, in the order of the scenes."""
        return ranges(self.starts[scenes], self.counts(scenes))

    def counts(self, scenes: Int64[np.ndarray, " K"]) -> Int64[np.ndarray, " K"]:
        """Count the detections of each of several scenes."""
        return np.asarray(self.starts[scenes + 1] - self.starts[scenes])


def group_by_scene(
    predictions: Predictions, scenes: SceneSet, *, min_score: float
) -> GroupedDetections:
    """Keep the detections of at least ``min_score`` and sort them by scene.

    Within a scene they stay in the order of the file.

    Args:
        predictions: Predictions of exactly these scenes, in any order.
        scenes: The annotations.
        min_score: Least detector confidence, in [0, 1].

    Raises:
        PredictionsError: The predictions were made on other annotations.
    """
    check_same_data(predictions, scenes)
    row_of = {scene.name: row for row, scene in enumerate(scenes.scenes)}
    to_set = np.array([row_of[name] for name in predictions.scenes], dtype=np.int64)
    kept = np.flatnonzero(predictions.scores >= min_score)
    scene = to_set[predictions.scene[kept]]
    order = np.argsort(scene, kind="stable")
    rows = kept[order]
    return GroupedDetections(
        boxes=predictions.boxes[rows],
        scores=predictions.scores[rows],
        embeddings=predictions.embeddings[rows],
        rows=rows,
        scenes=scene[order],
        starts=np.searchsorted(scene[order], np.arange(len(scenes) + 1)).astype(np.int64),
    )


def check_same_data(predictions: Predictions, scenes: SceneSet) -> None:
    """Refuse predictions that were made on other annotations.

    Raises:
        PredictionsError: The data hash, the scene names or the queries differ.
    """
    hint = f"predict {scenes.name} anew: fdps predict RUN --data KIND --root DIR"
    expected = data_hash(scenes)
    if predictions.data_hash and predictions.data_hash != expected:
        raise PredictionsError(
            f"the predictions were made on other annotations: their data hash is "
            f"{predictions.data_hash}, that of {scenes.name} is {expected}",
            hint=hint,
        )
    differing = set(predictions.scenes) ^ {scene.name for scene in scenes.scenes}
    if differing:
        raise PredictionsError(
            f"the predictions and {scenes.name} differ in {len(differing)} scenes, "
            f"for example {min(differing)!r}",
            hint=hint,
        )
    if len(predictions.query_embeddings) != len(scenes.queries):
        raise PredictionsError(
            f"the predictions embed {len(predictions.query_embeddings)} queries, "
            f"{scenes.name} has {len(scenes.queries)}",
            hint=hint,
        )
    index = _differing_query(predictions.queries, scenes.queries)
    if index is not None:
        theirs, ours = predictions.queries[index], scenes.queries[index]
        raise PredictionsError(
            f"query {index} of the predictions is person {theirs.person_id} in "
            f"{theirs.scene!r}, that of {scenes.name} is person {ours.person_id} in "
            f"{ours.scene!r} (or another box)",
            hint=hint,
        )
    _check_inside(predictions, scenes)


def _check_inside(predictions: Predictions, scenes: SceneSet) -> None:
    """Refuse boxes of which no part is in their picture: they belong to pictures of another size.

    Only headers of pictures are read, and only where a box lies beyond all annotated people. A
    picture that is not there is passed over, since evaluation needs none.
    """
    by_name = {scene.name: scene for scene in scenes.scenes}
    people = [by_name[name].boxes for name in predictions.scenes]
    reach = np.array([boxes[:, 2:].max(axis=0) if len(boxes) else (0, 0) for boxes in people])
    boxes = predictions.boxes
    beyond = (boxes[:, :2] >= reach.reshape(-1, 2)[predictions.scene]).any(axis=1)
    outside = np.asarray((boxes[:, 2:] <= 0).any(axis=1))
    sizes: dict[int, tuple[int, int] | None] = {}
    for row in np.flatnonzero(beyond & ~outside).tolist():
        scene = int(predictions.scene[row])
        if scene not in sizes:
            sizes[scene] = _size(by_name[predictions.scenes[scene]])
        size = sizes[scene]
        outside[row] = size is not None and bool((boxes[row, :2] >= size).any())
    if outside.any():
        row = int(outside.argmax())
        name = predictions.scenes[predictions.scene[row]]
        size = _size(by_name[name])
        raise PredictionsError(
            f"{outside.sum()} of {len(boxes)} predicted boxes lie wholly outside their scene, the "
            f"first is row {row}, {boxes[row].tolist()} in {name!r}"
            + (f" of {size[0]}x{size[1]}" if size else ""),
            hint="boxes are in pixels of the picture in its own size, shown upright: scale them, "
            "or take the rows out",
        )


def _size(scene: Scene) -> tuple[int, int] | None:
    try:
        return picture_size(scene.path)
    except DataError:
        return None


def _differing_query(theirs: Sequence[Query], ours: Sequence[Query]) -> int | None:
    """The first query that is not the same person in the same place, within half a pixel."""
    if not ours:
        return None
    differs = np.array(
        [
            (a.scene, a.person_id) != (b.scene, b.person_id)
            for a, b in zip(theirs, ours, strict=True)
        ]
    )
    apart = np.abs(np.stack([q.box for q in theirs]) - np.stack([q.box for q in ours]))
    differs |= (apart > _MAX_APART_PX).any(axis=1)
    return int(differs.argmax()) if differs.any() else None
