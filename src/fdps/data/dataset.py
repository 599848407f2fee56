"""Scenes as tensors, augmented by a rule that depends on seed, epoch and scene alone."""

import signal
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fdps.config import TrainConfig
from fdps.data.augment import Augmentation, Sample
from fdps.data.pictures import read_picture
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
    """

    def __init__(self, scenes: SceneSet, augment: Augmentation, *, seed: int) -> None:
        self.scenes, self.augment, self.seed = scenes.scenes, augment, seed

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
    image = torch.from_numpy(read_picture(scene.path)).permute(2, 0, 1)
    return image, {
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
