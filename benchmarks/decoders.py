"""Measure how fast JPEG is decoded, and how many pictures a second reach the training loop.

    python benchmarks/decoders.py

The pictures are drawn scenes, enlarged to 1920x1080 and saved at quality 90. Every decoder takes
its turn in each round, on one thread, and the best round counts; ``cv2`` does where it is
installed. The second part is the training loader of fdps, with flip alone, on all the machine has.
Prints Markdown, or JSON with ``--json``.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from fdps.config import TrainConfig
from fdps.data import load_scenes
from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.data.training.augment import Augmentation
from fdps.data.training.dataset import TrainingScenes, training_batches
from fdps.engine.run_log import environment
from fdps.pictures import read_picture
from fdps.structures import SceneSet

SIZE = (1920, 1080)


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scenes = full_hd_scenes(Path(name), options.pictures)
        decoders = milliseconds([scene.path for scene in scenes.scenes], options.rounds)
        loaders = {
            f"{n} workers, {'decoded before' if held else 'from files'}": rate(scenes, n, held)
            for n in options.workers
            for held in (False, True)
        }
    if options.json:
        print(json.dumps(environment() | {"ms": decoders, "pictures/s": loaders}))
        return
    print("| decoder | ms per picture |\n|---|---|")
    for decoder, taken in decoders.items():
        print(f"| {decoder} | {taken:.1f} |")
    print("\n| loader | pictures/s |\n|---|---|")
    for loader, pictures in loaders.items():
        print(f"| {loader} | {pictures:.0f} |")


def full_hd_scenes(root: Path, n_pictures: int) -> SceneSet:
    """Drawn scenes with their boxes, in the size of a video frame."""
    config = SyntheticConfig(n_train_scenes=n_pictures)
    draw_dataset(config, root / "drawn")
    scenes = load_scenes("folder", root / "drawn", "train").scenes
    enlarged = []
    for scene in scenes:
        path = root / scene.path.name
        with Image.open(scene.path) as picture:
            scale = np.tile(np.divide(SIZE, picture.size), 2).astype(np.float32)
            picture.resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=90)
        enlarged.append(replace(scene, path=path, boxes=scene.boxes * scale))
    return SceneSet("full HD", tuple(enlarged))


def milliseconds(paths: list[Path], rounds: int) -> dict[str, float]:
    """Time of one picture, by decoder; files are in memory but for ``read_picture``."""
    files = [path.read_bytes() for path in paths]
    tensors = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
    work: dict[str, Callable[[int], object]] = {
        "fdps.pictures.read_picture (simplejpeg, file, checks, EXIF)": lambda k: read_picture(
            paths[k]
        ),
        "Pillow": lambda k: np.array(_opened(paths[k])),
        "simplejpeg": lambda k: simplejpeg.decode_jpeg(files[k]),
        "torchvision.io (deprecated)": lambda k: decode_jpeg(tensors[k], mode=ImageReadMode.RGB),
    }
    if find_spec("cv2"):
        cv2: Any = import_module("cv2")
        cv2.setNumThreads(1)
        arrays = [np.frombuffer(data, dtype=np.uint8) for data in files]
        work["OpenCV, BGR to RGB"] = lambda k: cv2.cvtColor(
            cv2.imdecode(arrays[k], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        )
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, decode in work.items():
            started = time.perf_counter()
            for k in range(len(paths)):
                decode(k)
            taken = (time.perf_counter() - started) / len(paths) * 1000
            best[name] = min(best[name], taken)
    return best


def rate(scenes: SceneSet, workers: int, held: bool) -> float:
    """Pictures a second after the first batch, in the best of three epochs."""
    config = TrainConfig(batch_size=4, workers=workers)
    dataset = TrainingScenes(scenes, Augmentation.of(config), seed=0, decoded_gib=float(held))
    rates = []
    for epoch in range(3):
        batches = training_batches(dataset, config, epoch=epoch)
        next(batches)  # processes have started
        started = time.perf_counter()
        rates.append(sum(len(images) for images, _ in batches) / (time.perf_counter() - started))
    return max(rates)


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


if __name__ == "__main__":
    main()
