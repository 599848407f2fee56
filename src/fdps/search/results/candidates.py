"""Join hits with all that is known about them, and write them in formats for other programs."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fdps.errors import UsageError
from fdps.search.results.calibration import Level
from fdps.search.results.formats import COCO_CATEGORIES, coco_annotation, mot_line
from fdps.search.store import SceneRecord
from fdps.structures import Hit

if TYPE_CHECKING:
    from fdps.search.index import Index

NO_PROOF = (
    "Similarity is of appearance, mostly clothing; it is no proof of identity. "
    "These are candidates: check each one yourself."
)
"""What stands below every list of candidates."""

LOOKED_FOR = 1  # the one identity of a MOT file
CSV_COLUMNS = (
    *("rank", "similarity", "level", "item", "scene", "x1", "y1", "x2", "y2", "score"),
    *("camera", "time", "offset_s", "frame", "path"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A person who looks like the one looked for; a human decides.

    Args:
        rank: Rank, from 1.
        hit: The place and the similarity.
        level: How sure the hit is in words, where the model is calibrated.
        scene: The picture or frame; ``None`` if it was removed since the search.
    """

    rank: int
    hit: Hit
    level: Level | None = None
    scene: SceneRecord | None = None


def candidates(
    index: "Index", hits: Sequence[Hit], levels: Mapping[int, Level] = MappingProxyType({})
) -> list[Candidate]:
    """Look up what an archive knows about hits.

    Args:
        index: The archive that was searched.
        hits: Hits, best first.
        levels: Level of each hit, by its item (:func:`fdps.search.results.claims.levels_of`).
    """
    return [
        Candidate(rank, hit, levels.get(hit.item), hit.record or index.scene(hit.scene))
        for rank, hit in enumerate(hits, start=1)
    ]


def as_json(found: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Return an object for each candidate: :data:`CSV_COLUMNS`, with the corners as ``box``."""
    rows = []
    for candidate in found:
        row = candidate_row(candidate)
        row["box"] = [row.pop(corner) for corner in ("x1", "y1", "x2", "y2")]
        rows.append(row)
    return rows


def as_csv(found: Sequence[Candidate]) -> str:
    """Write one line for each candidate, under :data:`CSV_COLUMNS`; unknown values are empty."""
    return csv_text(CSV_COLUMNS, map(candidate_row, found))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write rows under a line with the names of the columns; ``None`` becomes an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_coco(found: Sequence[Candidate]) -> dict[str, Any]:
    """Return COCO JSON.

    Scenes are images, and candidates are annotations with ``score`` and ``similarity``.
    """
    images: dict[str, dict[str, Any]] = {}
    annotations = []
    for candidate in found:
        hit, scene = candidate.hit, candidate.scene
        size = {"width": scene.width, "height": scene.height} if scene else {}
        entry = {"id": len(images) + 1, "file_name": hit.scene, **size}
        annotations.append(
            coco_annotation(
                candidate.rank,
                images.setdefault(hit.scene, entry)["id"],
                hit.box.tolist(),
                score=hit.score,
                similarity=hit.similarity,
                level=candidate.level,
                item=hit.item,
            )
        )
    return {
        "images": list(images.values()),
        "annotations": annotations,
        "categories": COCO_CATEGORIES,
    }


def as_mot(found: Sequence[Candidate]) -> str:
    """Write MOTChallenge lines of one video, by frame; frames and pixels count from 1.

    The confidence is the similarity, and every line has the same id: the person looked for.

    Raises:
        UsageError: The hits are not all in one video.
    """
    paths = {c.scene.path for c in found if c.scene}
    pictures = [c.hit.scene for c in found if c.scene and c.scene.offset_s is None]
    if len(paths) > 1 or pictures:
        of_what = f"pictures such as {pictures[0]}" if pictures else f"{len(paths)} videos"
        raise UsageError(
            f"MOT is a format for one video, these hits are in {of_what}",
            hint="search in one video: --source '*/gate_cam.mp4', or take csv or coco",
        )
    there = [(c.scene.frame, c.rank, c.hit) for c in found if c.scene]
    return "".join(
        mot_line(frame, LOOKED_FOR, hit.box.tolist(), hit.similarity)
        for frame, _, hit in sorted(there, key=lambda row: row[:2])
    )


def candidate_row(candidate: Candidate) -> dict[str, Any]:
    """Return the values of :data:`CSV_COLUMNS`; what is not known is ``None``."""
    hit, scene = candidate.hit, candidate.scene
    x1, y1, x2, y2 = hit.box.tolist()
    return {
        "rank": candidate.rank,
        "similarity": hit.similarity,
        "level": candidate.level,
        "item": hit.item,
        "scene": hit.scene,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "score": hit.score,
        "camera": scene.camera if scene else None,
        "time": scene.time if scene else None,
        "offset_s": scene.offset_s if scene else None,
        "frame": scene.frame if scene and scene.offset_s is not None else None,
        "path": scene.path if scene else None,
    }
