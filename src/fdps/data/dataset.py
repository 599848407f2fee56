"""Scenes as tensors, augmented by a rule that depends on seed, epoch and scene alone."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fdps.config import TrainConfig
from fdps.data.augment import Augmentation, Sample
from fdps.data.pictures import picture_size, read_picture
from fdps.errors import FdpsError
from fdps.structures import Scene, SceneSet

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]

_ORDER, _AUGMENT = 0, 1  # streams of random numbers


class TrainingScenes(Dataset[Sample]):
    """The scenes of a set, augmented at random.

    An item is named by ``(epoch, row)``: the random numbers of an item come from its name, so that
    neither the number of reading processes nor an interruption changes what is learnt.

    Args:
        scenes: Identities are contiguous, 0..L-1.
        augment: What happens to each scene.
        seed: Of the run.
        decoded_gib: Memory for decoded pictures. A set that fits is decoded here, once, and reading
            processes that are forked share it; a larger set is read from its files each time.
    """

    def __init__(
        self, scenes: SceneSet, augment: Augmentation, *, seed: int, decoded_gib: float = 0.0
    ) -> None:
        self.scenes, self.augment, self.seed = scenes.scenes, augment, seed
        limit = decoded_gib * 2**30
        self._decoded = decode_all(scenes) if limit and decoded_bytes(scenes) <= limit else None

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, item: tuple[int, int]) -> Sample:
        """Read a scene.

        Raises:
            PictureError: Its picture cannot be decoded; the message names the file.
            MissingDataError: Its picture is gone.
        """
        epoch, row = item
        scene = self.scenes[row]
        if self._decoded is None:
            image, target = load_sample(scene)
        else:  # a copy, since a reading process hands over the memory itself
            image, target = as_tensors(self._decoded[row].copy(), scene)
        rng = np.random.default_rng((self.seed, _AUGMENT, epoch, row))
        return self.augment(image, target, rng)


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
    dataset: TrainingScenes, config: TrainConfig, *, epoch: int, skip: int = 0
) -> Iterator[Batch]:
    """Read the batches of one epoch; the last one may be smaller.

    Args:
        dataset: The scenes.
        config: Its ``batch_size`` and ``workers``.
        epoch: Which pass, from 0.
        skip: Batches at the start that an interrupted run has seen already.

    Raises:
        PictureError: A picture cannot be decoded; the message names the file.
        MissingDataError: A picture is gone.
    """
    rows = ShuffledRows(len(dataset), seed=dataset.seed, epoch=epoch, skip=skip * config.batch_size)
    loader = DataLoader(
        _Outcomes(dataset),
        batch_size=config.batch_size,
        sampler=rows,
        num_workers=config.workers,
        collate_fn=collate,
        worker_init_fn=_leave_signals_to_the_parent,
        # Reading draws its random numbers from item names; torch's stream belongs to the network.
        generator=torch.Generator(),
    )
    for outcome in loader:
        if isinstance(outcome, FdpsError):
            raise outcome
        yield outcome


def load_sample(scene: Scene) -> Sample:
    """Read the picture of a scene and turn its annotations into tensors."""
    return as_tensors(read_picture(scene.path), scene)


def decoded_bytes(scenes: SceneSet) -> int:
    """What the decoded pictures of all scenes take, by their headers."""
    return sum(3 * width * height for width, height in map(picture_size, _paths(scenes)))


def decode_all(scenes: SceneSet) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Decode the pictures of all scenes, several at a time.

    Raises:
        PictureError: A picture cannot be decoded; the message names the file.
        MissingDataError: A picture is gone.
    """
    with ThreadPoolExecutor() as threads:  # Pillow decodes outside the interpreter's lock
        return list(threads.map(read_picture, _paths(scenes)))


def as_tensors(image: UInt8[np.ndarray, "H W 3"], scene: Scene) -> Sample:
    """A decoded picture and the annotations of its scene."""
    return torch.from_numpy(image).permute(2, 0, 1), {
        "boxes": torch.from_numpy(scene.boxes.copy()),
        "person_ids": torch.from_numpy(scene.person_ids.copy()),
    }


def collate(samples: list[Sample | FdpsError]) -> Batch | FdpsError:
    """Pictures differ in size, so a batch is two lists; the first error takes its place."""
    images, targets = [], []
    for sample in samples:
        if isinstance(sample, FdpsError):
            return sample
        images.append(sample[0])
        targets.append(sample[1])
    return images, targets


def _paths(scenes: SceneSet) -> list[Path]:
    return [scene.path for scene in scenes.scenes]


class _Outcomes(Dataset[Sample | FdpsError]):
    """Samples, or what went wrong as a value: of an exception in another process torch makes text.

    Args:
        dataset: Where the samples come from.
    """

    def __init__(self, dataset: TrainingScenes) -> None:
        self.dataset = dataset

    def __getitem__(self, item: tuple[int, int]) -> Sample | FdpsError:
        try:
            return self.dataset[item]
        except FdpsError as error:
            return error


def _leave_signals_to_the_parent(worker: int) -> None:
    # Ctrl-C and a batch system signal every process; one that reads must live until the last step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
