"""Read and write ``queries.csv``: who is looked for, as ``image,x1,y1,x2,y2,person_id``."""

import csv
import io
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from fdps.boxes import clip, is_valid
from fdps.data.findings import Findings
from fdps.data.parsing.csv_rows import read_rows
from fdps.data.parsing.picture_files import known_name, unicode_forms
from fdps.data.parsing.scene_rows import check_corners
from fdps.data.parsing.shapes import check_pixels
from fdps.errors import AnnotationError
from fdps.pictures import picture_size
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

_COLUMNS = ("image", "x1", "y1", "x2", "y2", "person_id")


def read_queries(
    file: Path, scenes: SceneSet, images: Collection[str], findings: Findings
) -> list[Query]:
    """Read the queries of a split.

    Args:
        file: Table with a heading and a row for each query.
        scenes: Scenes of the split; boxes are cut at the border of their pictures.
        images: Scene names of all splits. Queries of other splits are left out.
        findings: Collects faults.

    Raises:
        AnnotationError: The heading or a row is malformed, a box is empty or outside its
            picture, or an image or a person is unknown. The message has file and line.
    """
    by_name = {scene.name: scene for scene in scenes.scenes}
    forms, all_forms = unicode_forms(by_name), unicode_forms(images)
    known_ids = set(scenes.person_ids)
    queries = []
    for number, row in read_rows(file, _COLUMNS):
        with findings.tolerated():
            where = f"{file}, line {number}"
            name = known_name(row["image"], by_name, forms)
            if name not in by_name:
                if known_name(name, images, all_forms) in images:
                    continue
                raise AnnotationError(f"{where}: image {name!r} is not annotated")
            scene = by_name[name]
            person_id = _person_id(row["person_id"], where)
            if person_id not in known_ids:
                raise AnnotationError(f"{where}: nobody in this split has person_id {person_id}")
            queries.append(Query(scene.name, _query_box(row, scene, where), person_id))
    return queries


def by_rule(scenes: SceneSet) -> list[Query]:
    """Choose queries by rule: everybody who is in two scenes, by the largest box."""
    seen: dict[int, list[Query]] = {}
    for scene in scenes.scenes:
        for box, person_id in zip(scene.boxes, scene.person_ids.tolist(), strict=True):
            if person_id != UNLABELLED:
                seen.setdefault(person_id, []).append(Query(scene.name, box, person_id))
    findable = [seen[i] for i in sorted(seen) if len({query.scene for query in seen[i]}) > 1]
    return [max(queries, key=_area) for queries in findable]


def queries_csv(splits: Mapping[str, SceneSet]) -> str:
    """Write the file that :func:`read_queries` reads, for the queries of all splits."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for scenes in splits.values():
        for query in scenes.queries:
            # str of a float32 is the shortest text that reads back as the same float32.
            writer.writerow([query.scene, *(str(edge) for edge in query.box), query.person_id])
    return text.getvalue()


def _person_id(text: str, where: str) -> int:
    if not text.strip().isascii() or not text.strip().isdigit():
        raise AnnotationError(f"{where}: person_id must be a whole number from 0, got {text!r}")
    return int(text)


def _query_box(row: Mapping[str, str], scene: Scene, where: str) -> np.ndarray:
    cells = [row[column] for column in ("x1", "y1", "x2", "y2")]
    try:
        x1, y1, x2, y2 = (float(cell) for cell in cells)
    except ValueError:
        raise AnnotationError(f"{where}: the box must be four numbers, got {cells}") from None
    width, height = picture_size(scene.path)
    check_pixels((x1, y1, x2, y2), (width, height), where)
    check_corners((x1, y1, x2, y2), where)
    inside = clip(np.array([[x1, y1, x2, y2]]), width, height).astype(np.float32)
    if not is_valid(inside)[0]:
        raise AnnotationError(f"{where}: box {cells} lies outside the picture, {width}x{height}")
    return np.asarray(inside[0])


def _area(query: Query) -> float:
    x1, y1, x2, y2 = query.box.tolist()
    return float((x2 - x1) * (y2 - y1))
