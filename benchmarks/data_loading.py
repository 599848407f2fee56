"""Time the reading of 100,000 boxes: from COCO JSON, from the cache, and from ``.mat`` files.

    python benchmarks/data_loading.py

20,000 scenes of five people; their pictures are links to one small file. The ``.mat`` part reads
an ``Images.mat`` of the same size with our parser and with SciPy's, side by side. Times are those
of the processor, which other work on the machine does not lengthen.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat, savemat

from fdps.data import load_scenes
from fdps.data.parsing.mat import read_variable

N_SCENES, N_PEOPLE = 20_000, 5
REPEATS = 3


def main() -> None:
    """Write the data, measure, print."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_coco(root / "set")
        cache = root / "cache"
        n_boxes = N_SCENES * N_PEOPLE
        print(f"{n_boxes:,} boxes in {N_SCENES:,} scenes, Python {sys.version.split()[0]}")
        first = seconds(lambda: load_scenes("coco", root / "set", "test", cache=cache), 1)
        again = seconds(lambda: load_scenes("coco", root / "set", "test", cache=cache), REPEATS)
        print(f"COCO, read and cached   {first:6.2f} s")
        print(f"COCO, from the cache    {again:6.2f} s   {first / again:.0f} times faster")
        write_mat(root / "Images.mat")
        ours = seconds(lambda: read_variable(root / "Images.mat", ("Img",)), 1)
        scipys = seconds(lambda: loadmat(root / "Images.mat"), 1)
        print(f".mat, our parser        {ours:6.2f} s")
        print(
            f".mat, scipy.io.loadmat  {scipys:6.2f} s   ours takes {ours / scipys:.1f} times that"
        )


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Processor time of the shortest of several runs."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def write_coco(root: Path) -> None:
    """COCO JSON whose pictures are links to one file."""
    (root / "images").mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(root / "images" / "0.jpg")
    images, annotations = [], []
    for scene in range(N_SCENES):
        if scene:
            os.link(root / "images" / "0.jpg", root / "images" / f"{scene}.jpg")
        images.append({"id": scene, "file_name": f"{scene}.jpg", "width": 64, "height": 48})
        for person in range(N_PEOPLE):
            row = {"id": len(annotations), "image_id": scene, "person_id": (scene + person) % 5000}
            annotations.append(row | {"bbox": [person, 1, 9, 40], "category_id": 1})
    content = {"images": images, "annotations": annotations}
    (root / "annotations.json").write_text(json.dumps(content))


def write_mat(path: Path) -> None:
    """``Images.mat`` in the structure of CUHK-SYSU."""
    rng = np.random.default_rng(0)
    images = np.empty((1, N_SCENES), dtype=[("imname", "O"), ("nAppear", "O"), ("box", "O")])
    for scene in range(N_SCENES):
        boxes = np.empty((1, N_PEOPLE), dtype=[("idlocate", "O"), ("ishard", "O")])
        for person in range(N_PEOPLE):
            boxes[0, person] = (rng.integers(0, 900, (1, 4)).astype(np.uint16), 0)
        images[0, scene] = (f"s{scene}.jpg", N_PEOPLE, boxes)
    savemat(path, {"Img": images}, do_compression=True)


if __name__ == "__main__":
    main()
