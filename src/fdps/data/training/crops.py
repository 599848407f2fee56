"""People cut out of scenes, to learn from one by one.

Axes: N crops, M detections of one scene, h and w of a crop.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from fdps.boxes import iou
from fdps.crops import cut_scaled
from fdps.data.training.augment import Augmentation, Sample
from fdps.data.training.dataset import TrainingItems
from fdps.pictures import read_picture
from fdps.structures import BACKGROUND_ID, UNLABELLED, Boxes, Scene


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Boxes to cut out of scenes, with whom they show.

    Args:
        scenes: The scenes.
        scene: Row of the scene of each crop; those of one scene follow each other.
        boxes: In pixels of that scene.
        person_ids: In 0..L-1, ``UNLABELLED``, or ``BACKGROUND_ID`` for nobody.
        overlaps: Intersection over union with the box of the person, in [0, 1]; 1 for annotated
            boxes, 0 for nobody.
    """

    scenes: tuple[Scene, ...]
    scene: Int64[np.ndarray, " N"]
    boxes: Float32[np.ndarray, "N 4"]
    person_ids: Int64[np.ndarray, " N"]
    overlaps: Float32[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.boxes)

    def target(self, row: int) -> dict[str, Tensor]:
        """Say whom a crop shows, as tensors of one row."""
        return {
            "person_ids": torch.tensor([int(self.person_ids[row])]),
            "overlaps": torch.tensor([float(self.overlaps[row])]),
        }


def annotated_crops(scenes: tuple[Scene, ...]) -> Crops:
    """Return everybody who is annotated."""
    counts = [len(scene.boxes) for scene in scenes]
    return Crops(
        scenes,
        np.repeat(np.arange(len(scenes)), counts).astype(np.int64),
        np.concatenate([np.zeros((0, 4), np.float32), *(scene.boxes for scene in scenes)]),
        np.concatenate([np.zeros(0, np.int64), *(scene.person_ids for scene in scenes)]),
        np.ones(sum(counts), dtype=np.float32),
    )


def detected_crops(
    scenes: tuple[Scene, ...],
    found: Sequence[Float32[np.ndarray, "_ 4"]],
    *,
    min_iou: float,
    keeps_background: bool = False,
) -> Crops:
    """Say of every detection whom it shows: the person whose box it overlaps most.

    Args:
        scenes: The scenes.
        found: Detections of each scene.
        min_iou: Least overlap, above 0; a detection below shows nobody.
        keeps_background: Whether detections that show nobody are kept; else they are left out.
    """
    rows, boxes, ids, overlaps = [], [], [], []
    for row, (scene, some) in enumerate(zip(scenes, found, strict=True)):
        best, whom = _matched(some, scene)
        shows = best >= min_iou
        kept = np.ones(len(some), dtype=np.bool_) if keeps_background else shows
        rows.append(np.full(int(kept.sum()), row, dtype=np.int64))
        boxes.append(some[kept])
        ids.append(np.where(shows, whom, BACKGROUND_ID)[kept].astype(np.int64))
        overlaps.append(np.where(shows, best, 0)[kept].astype(np.float32))
    return Crops(
        scenes,
        np.concatenate([np.zeros(0, np.int64), *rows]),
        np.concatenate([np.zeros((0, 4), np.float32), *boxes]),
        np.concatenate([np.zeros(0, np.int64), *ids]),
        np.concatenate([np.zeros(0, np.float32), *overlaps]),
    )


def joined_crops(lists: Sequence[Crops]) -> Crops:
    """Put lists of crops of the same scenes into one, in the order of :func:`joining_order`."""
    order = joining_order(lists)

    return Crops(
        lists[0].scenes,
        np.concatenate([crops.scene for crops in lists])[order],
        np.concatenate([crops.boxes for crops in lists])[order],
        np.concatenate([crops.person_ids for crops in lists])[order],
        np.concatenate([crops.overlaps for crops in lists])[order],
    )


def joining_order(lists: Sequence[Crops]) -> Int64[np.ndarray, " N"]:
    """Return the order that puts lists of crops, one after the other, scene by scene."""
    scene = np.concatenate([crops.scene for crops in lists])
    return np.asarray(np.argsort(scene, kind="stable"))


class TrainingCrops(TrainingItems):
    """Crops, augmented at random.

    Args:
        crops: Who is cut out.
        size: Height and width of a crop.
        augment: The changes to each crop.
        seed: Seed of the run.
        decoded_gib: Memory for crops in GiB. If all fit, they are cut out here, once; else the
            picture of a crop is read each time.
    """

    def __init__(
        self,
        crops: Crops,
        size: tuple[int, int],
        augment: Augmentation,
        *,
        seed: int,
        decoded_gib: float = 0.0,
    ) -> None:
        super().__init__(seed)
        self.crops, self.size, self.augment = crops, size, augment
        needed = len(crops) * size[0] * size[1] * 3
        self._held = _cut_all(crops, size) if needed <= decoded_gib * 2**30 else None

    def __len__(self) -> int:
        return len(self.crops)

    def changed(self, row: int, rng: np.random.Generator) -> Sample:
        """Cut the person of a row out, and augment the crop, of which all is the person."""
        pixels = self._read(row) if self._held is None else self._held[row].copy()
        height, width = self.size
        whole = {"boxes": torch.tensor([[0.0, 0.0, width, height]])}
        image, _ = self.augment(torch.from_numpy(pixels).permute(2, 0, 1), whole, rng)
        return image, self.crops.target(row)

    def _read(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        scene = self.crops.scenes[int(self.crops.scene[row])]
        image = read_picture(scene.path)
        pixels: np.ndarray = cut_scaled(image, self.crops.boxes[row : row + 1], self.size)[0]
        return pixels.copy()


def _matched(found: Boxes, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest overlap of every detection with a person, and who that is."""
    if not (len(found) and len(scene.boxes)):
        return np.zeros(len(found)), np.full(len(found), UNLABELLED)
    overlaps = iou(found, scene.boxes)
    return overlaps.max(axis=1), scene.person_ids[overlaps.argmax(axis=1)]


def _cut_all(crops: Crops, size: tuple[int, int]) -> UInt8[np.ndarray, "N h w 3"]:
    """Cut everybody out, several pictures at a time."""
    rows = [np.flatnonzero(crops.scene == k) for k in range(len(crops.scenes))]

    def cut(k: int) -> np.ndarray:
        if len(rows[k]) == 0:
            return np.zeros((0, *size, 3), dtype=np.uint8)
        image = read_picture(crops.scenes[k].path)
        return cut_scaled(image, crops.boxes[rows[k]], size)

    with ThreadPoolExecutor() as threads:  # Pillow decodes outside the interpreter's lock
        held = [*threads.map(cut, range(len(rows)))]
    return np.concatenate([np.zeros((0, *size, 3), np.uint8), *held])
