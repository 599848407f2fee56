"""The pictures that a case keeps of the people whom it looks for.

Axes in shapes: H rows, W columns.
"""

import io

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fdps.search.care.retention import UNKNOWN_AGE, Age
from fdps.search.store import ArchivedPerson, SceneRecord
from fdps.serve.cases.case import QueryPerson
from fdps.serve.cases.places import place_of
from fdps.structures import Picture

CROP_PX = 256
"""Height of the pictures, in pixels."""


def cut_out(picture: Picture, box: Float32[np.ndarray, " 4"]) -> bytes:
    """Return a person cut out along the box, as WebP; nothing beside them is kept.

    Args:
        picture: The scene.
        box: The person, in pixels of it.
    """
    height, width = picture.shape[:2]
    x1, y1 = np.floor(box[:2]).astype(int).clip(0, (width - 1, height - 1)).tolist()
    x2, y2 = np.ceil(box[2:]).astype(int).clip((x1 + 1, y1 + 1), (width, height)).tolist()
    person = Image.fromarray(picture[y1:y2, x1:x2])
    person.thumbnail((2 * CROP_PX, CROP_PX))
    content = io.BytesIO()
    person.save(content, "WEBP", quality=80)
    return content.getvalue()


def person_of_item(
    person: ArchivedPerson,
    scene: SceneRecord,
    picture: Picture | None,
    *,
    is_unlike: bool = False,
    age: Age = UNKNOWN_AGE,
) -> QueryPerson:
    """Take somebody of the archive into a case.

    Args:
        person: The person.
        scene: The scene that shows them.
        picture: The scene's pixels; ``None`` where the file is gone.
        is_unlike: Whether this is somebody else who looks similar.
        age: Since when the scene counts for the retention.
    """
    x1, y1, x2, y2 = person.box.tolist()
    return QueryPerson(
        person.scene,
        (x1, y1, x2, y2),
        person.score,
        person.embedding,
        b"" if picture is None else cut_out(picture, person.box),
        is_unlike,
        place_of(scene, person),
        age,
    )


def person_of_picture(
    name: str,
    preview: bytes,
    size: tuple[int, int],
    box: Float32[np.ndarray, " 4"],
    score: float,
    embedding: Float32[np.ndarray, " D"],
    *,
    is_unlike: bool = False,
) -> QueryPerson:
    """Take a person of a picture that a client brought into a case.

    Args:
        name: Name for people.
        preview: The picture as the server has encoded it for browsers.
        size: Width and height of the picture in which the person was found.
        box: The person, in pixels of that picture.
        score: Confidence of the detector.
        embedding: Embedding of unit length.
        is_unlike: Whether this is somebody else who looks similar.
    """
    with Image.open(io.BytesIO(preview)) as opened:
        picture = np.array(opened.convert("RGB"))
    scale = np.float32(picture.shape[1] / size[0])
    x1, y1, x2, y2 = box.tolist()
    crop = cut_out(picture, box * scale)
    return QueryPerson(name, (x1, y1, x2, y2), score, embedding, crop, is_unlike)
