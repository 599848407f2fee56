"""One row per query, to sort, filter and plot elsewhere."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from fdps.durable import write_file
from fdps.evaluation.search import SearchResult
from fdps.structures import SceneSet

COLUMNS = (
    "query",
    "scene",
    "person_id",
    "camera",
    "frame",
    "x1",
    "y1",
    "x2",
    "y2",
    "average_precision",
    "first_match",
    "n_positives",
    "best_similarity",
    "best_is_match",
)
"""``query`` counts from 0 in the query list of the data set, ``first_match`` from 1 (0: none)."""


def query_rows(result: SearchResult, scenes: SceneSet) -> Iterator[tuple[str | int | float, ...]]:
    """The values of :data:`COLUMNS` for every scored query; what is unknown is an empty text."""
    scene_of = {scene.name: scene for scene in scenes.scenes}
    for row, index in enumerate(result.queries.tolist()):
        query = scenes.queries[index]
        scene = scene_of[query.scene]
        has_hit = result.ranked.shape[1] > 0 and result.ranked[row, 0] >= 0
        yield (
            index,
            query.scene,
            query.person_id,
            "" if scene.camera is None else scene.camera,
            "" if scene.frame is None else scene.frame,
            *query.box.tolist(),
            float(result.average_precisions[row]),
            int(result.first_matches[row]),
            int(result.n_relevant[row]),
            round(float(result.ranked_similarity[row, 0]), 6) if has_hit else "",
            int(result.ranked_is_match[row, 0]) if has_hit else "",
        )


def write_csv(path: Path, result: SearchResult, scenes: SceneSet) -> None:
    """Write one row per scored query; an older file is replaced whole or not at all.

    Args:
        path: The file; missing folders are made.
        result: The result of scoring predictions on ``scenes``.
        scenes: The annotations.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(query_rows(result, scenes))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.getvalue().encode())
