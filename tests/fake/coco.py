"""Write miniature data sets as COCO JSON with the keys of person search.

For an end-to-end test ``write_coco(tmp_path)`` is enough. For a quirk, change what it returns and
write it again with :func:`write_json`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fake.people import draw_scene, write_picture

Content = dict[str, Any]


def write_coco(
    root: Path,
    *,
    n_images: int = 6,
    person_ids: tuple[int, ...] = (4, 9),
    size: tuple[int, int] = (160, 120),
    seed: int = 0,
) -> Content:
    """Write ``annotations.json`` and ``images/``; every picture shows all of ``person_ids``.

    Args:
        root: The folder.
        n_images: All of one camera, 300 frames apart.
        person_ids: -1 for a person without identity. The first picture has a query for everybody
            with one.
        size: Width and height of the pictures.
        seed: Equal seeds give equal pictures.

    Returns:
        The content of ``annotations.json``.
    """
    rng = np.random.default_rng(seed)
    content: Content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "person"}],
        "queries": [],
    }
    for i in range(n_images):
        picture, boxes = draw_scene(rng, [k if k >= 0 else 100 + i for k in person_ids], size)
        name = f"{i:04d}.jpg"
        write_picture(root / "images" / name, picture)
        image = {"id": i, "file_name": name, "width": size[0], "height": size[1]}
        content["images"].append(image | {"camera_id": "gate", "frame_id": 300 * i})
        for person_id, bbox in zip(person_ids, boxes.tolist(), strict=True):
            row = {"image_id": i, "bbox": bbox, "person_id": person_id}
            if i == 0 and person_id >= 0:
                content["queries"].append(row)
            annotation = {"id": len(content["annotations"]), "category_id": 1, "iscrowd": 0}
            content["annotations"].append(annotation | row)
    write_json(root, content)
    return content


def write_json(root: Path, content: object, name: str = "annotations.json") -> None:
    """Write the annotations, whatever they are."""
    (root / name).write_text(json.dumps(content))
