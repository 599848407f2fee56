"""Write miniature data sets in the format of WILDTRACK: seven cameras, frames 0, 5, 10 ..."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fake.people import draw_scene, write_picture

NOWHERE = {"xmin": -1, "ymin": -1, "xmax": -1, "ymax": -1}


def write_wildtrack(root: Path, *, n_moments: int = 10, people: tuple[int, ...] = (122, 5)) -> None:
    """Cameras C1 to C6 see everybody at every moment; C7 sees nobody."""
    rng = np.random.default_rng(0)
    for moment in range(n_moments):
        frame = f"{5 * moment:08d}"
        rows: list[dict[str, Any]] = [
            {"personID": person, "positionID": 456826 + k, "views": []}
            for k, person in enumerate(people)
        ]
        for camera in range(7):
            picture, boxes = draw_scene(rng, people if camera < 6 else (), (96, 72))
            write_picture(root / "Image_subsets" / f"C{camera + 1}" / f"{frame}.png", picture)
            for k, row in enumerate(rows):
                view: dict[str, int] = NOWHERE
                if camera < 6:
                    x, y, w, h = (int(value) for value in boxes[k])
                    view = {"xmin": x, "ymin": y, "xmax": x + w, "ymax": y + h}
                row["views"].append({"viewNum": camera, **view})
        write_moment(root, frame, rows)


def write_moment(root: Path, frame: str, rows: object) -> None:
    """One JSON file."""
    folder = root / "annotations_positions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{frame}.json").write_text(json.dumps(rows))


def read_moment(root: Path, frame: str) -> Any:
    """What :func:`write_moment` wrote."""
    return json.loads((root / "annotations_positions" / f"{frame}.json").read_text())
