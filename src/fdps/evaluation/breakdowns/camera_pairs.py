"""Search from every camera in every camera: mAP and top-1 of each pair."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from fdps.evaluation.report import evaluate
from fdps.predictions import Predictions
from fdps.structures import Query, Scene, SceneSet

MAX_CAMERAS = 16
"""More make a table that nobody reads, and as many evaluations."""


@dataclass(frozen=True, slots=True)
class CameraPair:
    """Queries of one camera, searched in the scenes of one camera.

    Args:
        query: Camera of the queries.
        gallery: Camera of the scenes searched; the scene of the query itself is left out.
        n_queries: Queries whose person that camera shows, at least 1.
        mean_ap: Their mAP.
        top1: Share of them whose first hit is right.
    """

    query: str
    gallery: str
    n_queries: int
    mean_ap: float
    top1: float

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def camera_pairs(
    predictions: Predictions, scenes: SceneSet, **options: Any
) -> tuple[CameraPair, ...]:
    """Evaluate each gallery camera by itself, and split the queries by their camera.

    Args:
        predictions: Predictions of ``scenes``.
        scenes: The annotations.
        options: Options of :func:`fdps.evaluation.evaluate`; all scenes of a camera are
            searched, whatever ``gallery`` says.

    Returns:
        Pairs that have a query, by query camera and gallery camera. Nothing where the data set
        has fewer than two cameras or more than :data:`MAX_CAMERAS`, does not tell the camera of
        every scene, or brings gallery lists of its own, and for a list of queries (``subset``).

    Raises:
        FdpsError: The same as :func:`fdps.evaluation.evaluate`.
    """
    camera_of = {scene.name: scene.camera for scene in scenes.scenes}
    cameras = sorted({camera for camera in camera_of.values() if camera is not None})
    has_lists = any(query.gallery is not None for query in scenes.queries)
    has_lists = has_lists or options.get("subset") is not None
    if None in camera_of.values() or has_lists or not 2 <= len(cameras) <= MAX_CAMERAS:
        return ()
    pairs = []
    for camera in cameras:
        here = [scene for scene in scenes.scenes if scene.camera == camera]
        narrowed = replace(scenes, queries=tuple(_within(q, here) for q in scenes.queries))
        result = evaluate(
            predictions, narrowed, **(options | {"gallery": "all", "cameras": "all"})
        ).search
        for origin in cameras:
            rows = [
                i
                for i, row in enumerate(result.queries)
                if camera_of[scenes.queries[row].scene] == origin
            ]
            if rows:
                mean_ap = float(result.average_precisions[rows].mean())
                top1 = float((result.first_matches[rows] == 1).mean())
                pairs.append(CameraPair(origin, camera, len(rows), mean_ap, top1))
    return tuple(sorted(pairs, key=lambda pair: (pair.query, pair.gallery)))


def _within(query: Query, scenes: list[Scene]) -> Query:
    """The same query, searched in these scenes but its own."""
    names = tuple(scene.name for scene in scenes if scene.name != query.scene)
    return replace(query, gallery=names)
