"""Find everybody in pictures, without an archive, and write down who is where.

Axes in shapes: P people of all pictures, D embedding dimension.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from fdps.data.pictures import read_picture
from fdps.errors import DataError
from fdps.search.frames import Found, Frame, Skipped
from fdps.search.ingest import Progress
from fdps.structures import Detections, Embedder

PERSON_CATEGORY = 1  # of COCO


@dataclass(frozen=True, slots=True, eq=False)
class PictureWithPeople:
    """Everybody in one picture.

    Args:
        frame: The picture.
        width: Pixels, upright.
        height: Pixels, upright.
        people: Best first.
    """

    frame: Frame
    width: int
    height: int
    people: Detections


def find_people(
    embedder: Embedder, found: Found, *, progress: Progress | None = None
) -> tuple[list[PictureWithPeople], list[Skipped]]:
    """Find everybody in pictures; a picture that cannot be read is named with the reason."""
    pictures: list[PictureWithPeople] = []
    skipped = list(found.skipped)
    for done, frame in enumerate(found.frames, start=1):
        try:
            image = read_picture(frame.path)
        except DataError as error:
            skipped.append(Skipped.because(frame.path, error))
        else:
            height, width = image.shape[:2]
            pictures.append(PictureWithPeople(frame, width, height, embedder.detect(image)))
        if progress:
            progress(done, len(found.frames))
    return pictures, skipped


def embedding_rows(pictures: Sequence[PictureWithPeople], dim: int) -> Float32[np.ndarray, "P D"]:
    """All embeddings in the order in which the other functions list the people."""
    rows = [picture.people.embeddings for picture in pictures]
    return np.concatenate([np.zeros((0, dim), dtype=np.float32), *rows])


def as_json(pictures: Sequence[PictureWithPeople]) -> dict[str, Any]:
    """``{"scenes": [{"scene", "width", "height", "people": [{"box", "score"}]}]}``."""
    return {
        "scenes": [
            {
                "scene": picture.frame.name,
                "width": picture.width,
                "height": picture.height,
                "people": [{"box": box, "score": score} for box, score in _rows(picture)],
            }
            for picture in pictures
        ]
    }


def as_csv(pictures: Sequence[PictureWithPeople]) -> str:
    """One line per person: ``scene,x1,y1,x2,y2,score``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scene", "x1", "y1", "x2", "y2", "score"])
    for picture in pictures:
        writer.writerows([picture.frame.name, *box, score] for box, score in _rows(picture))
    return text.getvalue()


def as_coco(pictures: Sequence[PictureWithPeople]) -> dict[str, Any]:
    """COCO JSON: every person an annotation with ``bbox`` (x, y, width, height) and ``score``."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, picture in enumerate(pictures, start=1):
        images.append(
            {
                "id": image_id,
                "file_name": picture.frame.name,
                "width": picture.width,
                "height": picture.height,
            }
        )
        for (x1, y1, x2, y2), score in _rows(picture):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": PERSON_CATEGORY,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    categories = [{"id": PERSON_CATEGORY, "name": "person"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def _rows(picture: PictureWithPeople) -> list[tuple[list[float], float]]:
    """Box and score of each person, in tenths of a pixel and thousandths."""
    boxes = [[round(value, 1) for value in box] for box in picture.people.boxes.tolist()]
    scores = [round(score, 3) for score in picture.people.scores.tolist()]
    return list(zip(boxes, scores, strict=True))
