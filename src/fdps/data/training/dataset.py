"""Scenes as tensors, augmented by a rule that depends on seed, epoch and scene alone.

The module :mod:`fdps.data.training.order` decides which scenes make up a batch.
"""

import signal
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from traceback import clear_frames
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fdps.data.training.augment import Augmentation, Sample
from fdps.errors import FdpsError
from fdps.pictures import picture_size, read_picture
from fdps.structures import Scene, SceneSet

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]

_AUGMENT, _SEED = 1, 2  # streams of random numbers; the order of the scenes has another


class Draw(NamedTuple):
    """A scene of an epoch, named such that all that is random about it follows from the name."""

    epoch: int
    row: int
    """Position of the scene in the set."""
    turn: int
    """Number of times that the scene has come up in this epoch before."""


class TrainingItems(Dataset[Sample], ABC):
    """What a training looks at, changed at random.

    The random numbers of an item come from its name, a :class:`Draw`, so that neither the number of
    processes nor an interruption changes what is learnt. Every target has a ``seed``, from which
    the network draws what it samples in the item.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @abstractmethod
    def __len__(self) -> int: ...

    def __getitem__(self, item: Draw) -> Sample:
        """Read an item.

        Raises:
            PictureError: The picture cannot be decoded; the message names the file.
            MissingDataError: The picture is gone.
        """
        image, target = self.changed(item.row, self._rng(_AUGMENT, item))
        seed = int(self._rng(_SEED, item).integers(2**63))
        return image, target | {"seed": torch.tensor(seed)}

    @abstractmethod
    def changed(self, row: int, rng: np.random.Generator) -> Sample:
        """Read the item of a row and change it at random."""

    def _rng(self, stream: int, item: Draw) -> np.random.Generator:
        return np.random.default_rng((self.seed, stream, *item))


class TrainingScenes(TrainingItems):
    """The scenes of a set, augmented at random.

    Args:
        scenes: Scenes whose identities are contiguous, 0..L-1.
        augment: The changes to each scene.
        seed: Seed of the run.
        decoded_gib: Memory for decoded pictures, in GiB. A set that fits is decoded here, once, and
            reading processes that are forked share it; a larger set is read from its files each
            time.
        teacher_dim: Length of the teacher's embeddings; targets then have ``teacher``, with NaN
            for people whom the teacher was not asked about. 0 leaves them out.
    """

    def __init__(
        self,
        scenes: SceneSet,
        augment: Augmentation,
        *,
        seed: int,
        decoded_gib: float = 0.0,
        teacher_dim: int = 0,
    ) -> None:
        super().__init__(seed)
        self.scenes, self.augment = scenes.scenes, augment
        self.teacher_dim = teacher_dim
        limit = decoded_gib * 2**30
        self._decoded = decode_all(scenes) if limit and decoded_bytes(scenes) <= limit else None

    def __len__(self) -> int:
        return len(self.scenes)

    def changed(self, row: int, rng: np.random.Generator) -> Sample:
        """Read the scene of a row and augment it."""
        return self.augment.scene(self._read, row, len(self), rng)

    def _read(self, row: int) -> Sample:
        scene = self.scenes[row]
        if self._decoded is None:
            image, target = load_sample(scene)
        else:  # a copy, since a reading process hands over the memory itself
            image, target = as_tensors(self._decoded[row].copy(), scene)
        if self.teacher_dim:
            target["teacher"] = self._teacher(scene)
        return image, target

    def _teacher(self, scene: Scene) -> Tensor:
        if scene.teacher is None:
            return torch.full((len(scene.boxes), self.teacher_dim), torch.nan)
        return torch.from_numpy(scene.teacher.astype(np.float32))


def training_batches(
    dataset: TrainingItems,
    batches: Sequence[Sequence[int]],
    *,
    epoch: int,
    skip: int = 0,
    workers: int,
    rank: int = 0,
    n_processes: int = 1,
) -> Iterator[Batch]:
    """Read the share of every batch that is for one process.

    A batch is dealt out in consecutive shares of about equal size, so that the shares in the order
    of the processes are the batch; those of a batch with fewer pictures may be empty.

    Args:
        dataset: The items.
        batches: Positions of the items of each batch
            (:func:`fdps.data.training.order.epoch_batches`).
        epoch: Number of the pass through the set, from 0.
        skip: Number of batches at the start that an interrupted run has seen already.
        workers: Number of reading processes; 0 reads in this process.
        rank: Rank of this process, from 0.
        n_processes: Number of processes that share a batch.

    Raises:
        PictureError: A picture cannot be decoded; the message names the file.
        MissingDataError: A picture is gone.
    """
    shares = [
        draws[len(draws) * rank // n_processes : len(draws) * (rank + 1) // n_processes]
        for draws in islice(_named(batches, epoch), skip, None)
    ]
    loader = DataLoader(
        _Outcomes(dataset),
        batch_sampler=shares,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_leave_signals_to_the_parent,
        # Reading draws its random numbers from item names; torch's stream belongs to the network.
        generator=torch.Generator(),
    )
    reading = iter(loader)
    try:
        for outcome in reading:
            if isinstance(outcome, FdpsError):
                raise outcome
            yield outcome
    except BaseException as error:
        # The frames of torch in the traceback hold the iterator too.
        clear_frames(error.__traceback__)
        raise
    finally:
        # Torch ends its processes when the iterator goes, and the traceback of an error would keep
        # it; at exit Python would then wait for processes that ignore its signal.
        del reading


def _named(batches: Sequence[Sequence[int]], epoch: int) -> Iterator[list[Draw]]:
    turns: Counter[int] = Counter()
    for rows in batches:
        draws = []
        for row in rows:
            draws.append(Draw(epoch, row, turns[row]))
            turns[row] += 1
        yield draws


def load_sample(scene: Scene) -> Sample:
    """Read the picture of a scene and turn its annotations into tensors."""
    return as_tensors(read_picture(scene.path), scene)


def decoded_bytes(scenes: SceneSet) -> int:
    """Return how many bytes the decoded pictures of all scenes take, by their headers."""
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
    """Make tensors of a decoded picture and the annotations of its scene."""
    target = {
        "boxes": torch.from_numpy(scene.boxes.copy()),
        "person_ids": torch.from_numpy(scene.person_ids.copy()),
    }
    if scene.ignored is not None:
        target["ignored"] = torch.from_numpy(scene.ignored.copy())
    return torch.from_numpy(image).permute(2, 0, 1), target


def collate(samples: list[Sample | FdpsError]) -> Batch | FdpsError:
    """Put samples into two lists, since pictures differ in size; the first error replaces them."""
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
    """Samples, with errors as values: of an exception in another process torch would make text.

    Args:
        dataset: Dataset that the samples come from.
    """

    def __init__(self, dataset: TrainingItems) -> None:
        self.dataset = dataset

    def __getitem__(self, item: Draw) -> Sample | FdpsError:
        try:
            return self.dataset[item]
        except FdpsError as error:
            return error


def _leave_signals_to_the_parent(worker: int) -> None:
    # Ctrl-C and a batch system signal every process; one that reads must live until the last step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
