"""Write miniature data sets in the exact format of PRW.

Real ``.mat`` files (the frame list is a cell array, as MATLAB writes it), real JPEG frames, a
query file whose lines end in CRLF. For an end-to-end test::

    root = write_prw(tmp_path / "prw")
    train, test = (fdps.data.load_scenes("prw", root, split) for split in ("train", "test"))

For a quirk, write a good set and then replace one file: :func:`write_boxes`,
:func:`write_frame_list`, :func:`write_queries`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import savemat

from fake.people import draw_scene, write_picture

TRAIN_IDS = (2, 3, 7)
TEST_IDS = (11, 12)
FRAME_STEP = 300  # more than the gap of 250 frames that evaluation ignores


def write_prw(
    root: Path,
    *,
    n_train: int = 6,
    n_test: int = 6,
    size: tuple[int, int] = (160, 120),
    seed: int = 0,
) -> Path:
    """Write a data set that every reader must accept.

    Every frame shows two people with identity and one without. The train split has the
    identities 2, 3, 7; the test split 11 and 12 in each frame, and one query for each of them.
    Cameras ``c1`` and ``c6`` take turns.

    Returns:
        ``root``.
    """
    rng = np.random.default_rng(seed)
    queries: list[str] = []
    first = 1
    for split, n, ids in (("train", n_train, TRAIN_IDS), ("test", n_test, TEST_IDS)):
        names = [frame_name(first + i) for i in range(n)]
        first += n
        write_frame_list(root, split, names)
        for i, name in enumerate(names):
            people = [ids[i % len(ids)], ids[(i + 1) % len(ids)]]
            picture, boxes = draw_scene(rng, [*people, 100 + i], size)
            write_picture(root / "frames" / f"{name}.jpg", picture)
            rows = np.column_stack([[*people, -2], boxes])
            write_boxes(root, name, rows)
            if split == "test" and i < len(ids):
                queries.append(query_line(rows[0], name))
    write_queries(root, queries)
    return root


def frame_name(position: int) -> str:
    """Name of the ``position``-th frame of a fake data set, counted from 1."""
    return f"c{6 if position % 2 else 1}s1_{position * FRAME_STEP:06d}"


def write_frame_list(root: Path, split: str, names: Sequence[str]) -> None:
    """Write ``frame_<split>.mat``: a column of cells, each with a name."""
    root.mkdir(parents=True, exist_ok=True)
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    savemat(root / f"frame_{split}.mat", {f"img_index_{split}": cells})


def write_boxes(
    root: Path, name: str, rows: np.ndarray | Sequence[object], variable: str = "box_new"
) -> None:
    """Write the annotations of one frame: rows of id x y w h."""
    folder = root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / f"{name}.jpg.mat", {variable: rows})


def write_queries(root: Path, lines: Sequence[str], newline: str = "\r\n") -> None:
    """Write ``query_info.txt``."""
    (root / "query_info.txt").write_bytes("".join(line + newline for line in lines).encode())


def query_line(row: np.ndarray, name: str) -> str:
    """A line of ``query_info.txt`` for a row of the annotations."""
    numbers = " ".join(f"{value:.6f}" for value in row[1:])
    return f"{int(row[0])} {numbers} {name}"
