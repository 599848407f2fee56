"""Write miniature data sets in the exact structures of CUHK-SYSU and MovieNet-PS.

Real ``.mat`` files: structure arrays inside cells, boxes in the narrowest integers that hold them,
empty boxes of shape (1, 0) for gallery images without the person. For a quirk, change what
:func:`made` returns and write it with :func:`write_cuhk_sysu`::

    content = made()
    content.boxes["s1.jpg"].append([5, 5, 0, 9])
    root = write_cuhk_sysu(tmp_path, content)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from fake.people import draw_scene, write_picture

Box = list[float]
Entry = tuple[str, Box | None]
"""A gallery image, and the person there."""

TRAIN_IDS, TEST_IDS = (2, 3, 7), (11, 12)


@dataclass
class Search:
    """A query: ``p11`` in an image, and the images to search."""

    name: str
    image: str
    box: Box
    gallery: list[Entry]


@dataclass
class Content:
    """Everything the files say; all boxes are x y w h."""

    boxes: dict[str, list[Box]] = field(default_factory=dict)
    pool: list[str] = field(default_factory=list)
    train: dict[str, list[tuple[str, Box]]] = field(default_factory=dict)
    searches: list[Search] = field(default_factory=list)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)


def made(*, n_train: int = 6, n_test: int = 6, size: tuple[int, int] = (320, 240)) -> Content:
    """Two people with identity and one without in every image.

    ``s1.jpg`` ... are for training (p2, p3, p7), ``s101.jpg`` ... for tests (p11 and p12 in each).
    Each of the two is looked for once, in all other test images, the first of which has the person
    listed with the box; as in the original, positives come first. Two more images at the end of
    the pool show neither.
    """
    rng = np.random.default_rng(0)
    content = Content()
    for i in range(n_train):
        people = [TRAIN_IDS[i % 3], TRAIN_IDS[(i + 1) % 3]]
        boxes = _draw(content, f"s{i + 1}.jpg", [*people, 100 + i], size, rng)
        for person, box in zip(people, boxes, strict=False):
            content.train.setdefault(f"p{person}", []).append((f"s{i + 1}.jpg", box))
    for i in range(n_test + 2):
        name = f"s{101 + i}.jpg"
        content.pool.append(name)
        known = list(TEST_IDS) if i < n_test else []
        _draw(content, name, [*known, 200 + i], size, rng)
    for k, person in enumerate(TEST_IDS):
        image = content.pool[k]
        others = [name for name in content.pool if name != image]
        gallery: list[Entry] = [(name, content.boxes[name][k]) for name in others[: n_test - 1]]
        gallery += [(name, None) for name in others[n_test - 1 :]]
        content.searches.append(Search(f"p{person}", image, content.boxes[image][k], gallery))
    return content


def _draw(
    content: Content,
    name: str,
    people: Sequence[int],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> list[Box]:
    picture, boxes = draw_scene(rng, people, size)
    content.pictures[name] = picture
    content.boxes[name] = boxes.tolist()
    return content.boxes[name]


def write_cuhk_sysu(
    root: Path, content: Content | None = None, *, sizes: Sequence[int] = (50, 100)
) -> Path:
    """Write all files; every ``TestG`` file has the same galleries. Returns ``root``."""
    content = content or made()
    write_pictures(root / "Image" / "SSM", content)
    annotation = root / "annotation"
    write_images(annotation / "Images.mat", content)
    save(annotation / "pool.mat", {"pool": cells(content.pool).reshape(-1, 1)})
    persons = {**content.train}
    for search in content.searches:
        persons[search.name] = [(search.image, search.box)]
    save(annotation / "Person.mat", {"Person": _persons(persons)})
    lists = annotation / "test" / "train_test"
    train = [_persons({name: rows}) for name, rows in content.train.items()]
    save(lists / "Train.mat", {"Train": cells(train).reshape(-1, 1)})
    for n in sizes:
        save(lists / f"TestG{n}.mat", {f"TestG{n}": searches(content.searches)})
    subset = annotation / "test" / "subset"
    save(subset / "Occlusion.mat", {"Occlusion1": searches(content.searches[:1])})
    save(subset / "Resolution.mat", {"Test_Size": searches(content.searches[1:])})
    return root


def write_movienet(root: Path, content: Content | None = None) -> Path:
    """The same people in the files of MovieNet-PS: train_10, test_2000; ``Train`` is a table."""
    content = content or made()
    write_pictures(root / "Image", content)
    annotation = root / "annotation"
    write_images(annotation / "Images.mat", content)
    save(annotation / "pool_2000.mat", {"pool": cells(content.pool).reshape(-1, 1)})
    lists = annotation / "test" / "train_test"
    table = np.empty((len(content.train), 3), dtype=object)
    for row, (name, seen) in enumerate(content.train.items()):
        table[row] = [f"film_{name}_a", len(seen), _sightings(seen)]
    save(lists / "Train_app10.mat", {"Train": table})
    save(lists / "TestG2000.mat", {"TestG2000": searches(content.searches)})
    return root


def write_pictures(folder: Path, content: Content) -> None:
    for name, picture in content.pictures.items():
        write_picture(folder / name, picture)


def write_images(path: Path, content: Content) -> None:
    """``Images.mat``."""
    rows = [
        {
            "imname": name,
            "nAppear": len(boxes),
            "box": structs([{"idlocate": narrow(box), "ishard": 0} for box in boxes]),
        }
        for name, boxes in content.boxes.items()
    ]
    save(path, {"Img": structs(rows)})


def searches(rows: Sequence[Search]) -> np.ndarray:
    """The value of a ``TestG`` file."""
    return structs(
        [
            {
                "Query": structs(
                    [
                        {
                            "imname": row.image,
                            "idlocate": narrow(row.box),
                            "ishard": 0,
                            "idname": row.name,
                        }
                    ]
                ),
                "Gallery": _sightings(row.gallery),
            }
            for row in rows
        ]
    )


def _persons(persons: dict[str, Any]) -> np.ndarray:
    return structs(
        [
            {"idname": name, "nAppear": len(seen), "scene": _sightings(seen)}
            for name, seen in persons.items()
        ]
    )


def _sightings(seen: Sequence[Entry]) -> np.ndarray:
    nobody = np.zeros((1, 0))
    return structs(
        [
            {
                "imname": image,
                "idlocate": nobody if box is None else narrow(box),
                "ishard": nobody if box is None else 0,
            }
            for image, box in seen
        ]
    )


def narrow(box: Sequence[float]) -> np.ndarray:
    """The box as the files have it: in bytes, if they can hold each number."""
    values = np.array([box])
    if not np.isfinite(values).all():
        return values
    whole = values.astype(np.int64)
    if not np.array_equal(whole, values):
        return values
    for dtype in (np.uint8, np.uint16, np.int16):
        if np.array_equal(whole.astype(dtype), whole):
            return whole.astype(dtype)
    return whole


def structs(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """A structure array of shape (1, n)."""
    names = list(rows[0]) if rows else ["idlocate", "ishard"]
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for column, row in enumerate(rows):
        array[0, column] = tuple(row[name] for name in names)
    return array


def cells(values: Sequence[Any]) -> np.ndarray:
    """A cell array."""
    array = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a compressed ``.mat`` file, as MATLAB's ``save`` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content, do_compression=True)
