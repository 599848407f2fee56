"""Write a person in the formats of other programs: COCO and MOTChallenge."""

from collections.abc import Sequence
from typing import Any

COCO_PERSON = 1
COCO_CATEGORIES = [{"id": COCO_PERSON, "name": "person"}]
MOT_FIRST = 1  # frames and pixels of MOTChallenge count from 1


def coco_annotation(
    annotation_id: int, image_id: int, box: Sequence[float], **more: object
) -> dict[str, Any]:
    """Return the COCO JSON of one person: ``bbox`` is x, y, width, height."""
    x1, y1, x2, y2 = box
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": COCO_PERSON,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        **more,
    }


def mot_line(frame: int, track: int, box: Sequence[float], confidence: float) -> str:
    """Write one line: ``frame,id,left,top,width,height,confidence,-1,-1,-1``.

    The frame and the box are given as everywhere in fdps, from 0.
    """
    x1, y1, x2, y2 = box
    place = f"{x1 + MOT_FIRST:.1f},{y1 + MOT_FIRST:.1f},{x2 - x1:.1f},{y2 - y1:.1f}"
    return f"{frame + MOT_FIRST},{track},{place},{confidence:.3f},-1,-1,-1\n"
