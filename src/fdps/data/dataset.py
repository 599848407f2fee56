"""Scenes as tensors, augmented by a rule that depends on seed, epoch and scene alone."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fdps.data.pictures import read_picture
from fdps.structures import Scene, SceneSet

Sample = tuple[Tensor, dict[str, Tensor]]
"""A picture (3, H, W), uint8 RGB, and its ``boxes`` (N, 4) and ``person_ids`` (N,)."""

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]

_ORDER, _AUGMENT = 0, 1  # streams of random numbers


class TrainingScenes(Dataset[Sample]):
    """The scenes of a set, mirrored at random.

    An item is named by ``(epoch, row)``: the random numbers of an item come from its name, so that
    neither the number of reading processes nor an interruption changes what is learnt.

    Args:
        scenes: Identities are contiguous, 0..L-1.
        flip: Probability that a scene is mirrored.
        seed: Of the run.
    """

    def __init__(self, scenes: SceneSet, *, flip: float, seed: int) -> None:
        self.scenes, self.flip, self.seed = scenes.scenes, flip, seed

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, item: tuple[int, int]) -> Sample:
        """Read a scene.

        Raises:
            PictureError: Its picture cannot be decoded; the message names the file.
            MissingDataError: Its picture is gone.
        """
        epoch, row = item
        image, target = load_sample(self.scenes[row])
        rng = np.random.default_rng((self.seed, _AUGMENT, epoch, row))
        return mirror(image, target) if rng.random() < self.flip else (image, target)


class ShuffledRows(Sampler[tuple[int, int]]):
    """Every row once per epoch, in an order that follows from seed and epoch.

    Args:
        n_rows: Of the data set.
        seed: Of the run.
        epoch: Which pass, from 0.
        skip: Rows at the start that an interrupted run has seen already.
    """

    def __init__(self, n_rows: int, *, seed: int, epoch: int, skip: int = 0) -> None:
        self.n_rows, self.seed, self.epoch, self.skip = n_rows, seed, epoch, skip

    def __len__(self) -> int:
        return self.n_rows - self.skip

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, _ORDER, self.epoch)).permutation(self.n_rows)
        return iter([(self.epoch, int(row)) for row in order[self.skip :]])


def training_batches(
    dataset: TrainingScenes, *, batch_size: int, epoch: int, skip: int, workers: int
) -> DataLoader[Sample]:
    """Batches of one epoch; the last one may be smaller.

    Args:
        dataset: The scenes.
        batch_size: Pictures per batch.
        epoch: Which pass, from 0.
        skip: Batches at the start that an interrupted run has seen already.
        workers: Processes that read; 0 reads here.
    """
    rows = ShuffledRows(len(dataset), seed=dataset.seed, epoch=epoch, skip=skip * batch_size)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=rows,
        num_workers=workers,
        collate_fn=collate,
        # Reading draws its random numbers from item names; torch's stream belongs to the network.
        generator=torch.Generator(),
    )


def load_sample(scene: Scene) -> Sample:
    """Read the picture of a scene and turn its annotations into tensors."""
    image = torch.from_numpy(read_picture(scene.path)).permute(2, 0, 1)
    return image, {
        "boxes": torch.from_numpy(scene.boxes.copy()),
        "person_ids": torch.from_numpy(scene.person_ids.copy()),
    }


def mirror(image: Tensor, target: dict[str, Tensor]) -> Sample:
    """Flip a picture left to right, boxes with it."""
    boxes = target["boxes"].clone()
    boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
    return image.flip(2), target | {"boxes": boxes}


def collate(samples: list[Sample]) -> Batch:
    """Pictures differ in size, so a batch is two lists."""
    return [image for image, _ in samples], [target for _, target in samples]
