"""The pictures that a case keeps of the people whom it looks for.

Axes in shapes: H rows, W columns.
"""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fdps.errors import UsageError
from fdps.search.care.scene_pictures import scene_pictures
from fdps.search.index import Index
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


def people_of_items(
    index: Index, items: Sequence[int], *, is_unlike: bool = False
) -> list[QueryPerson]:
    """Take people of the archive into a case, with their pictures where the files are there.

    Raises:
        UsageError: Nobody has one of these numbers.
    """
    people = [index.person(item) for item in items]
    scenes = {person.scene: index.scene(person.scene) for person in people}
    pictures = scene_pictures(scene for scene in scenes.values() if scene)
    taken = []
    for person in people:
        scene, picture = scenes[person.scene], pictures.get(person.scene, "")
        if scene is None:
            raise UsageError(f"the scene of {person.item} is not in the archive")
        x1, y1, x2, y2 = person.box.tolist()
        taken.append(
            QueryPerson(
                person.scene,
                (x1, y1, x2, y2),
                person.score,
                person.embedding,
                b"" if isinstance(picture, str) else cut_out(picture, person.box),
                is_unlike,
                place_of(scene, person),
            )
        )
    return taken


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
