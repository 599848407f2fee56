import multiprocessing
import os
import pickle
import signal
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info

from fake.people import write_picture
from fake.runs import write_scenes
from fdps.data.training.augment import Augmentation, mirror
from fdps.data.training.dataset import (
    Batch,
    Draw,
    TrainingScenes,
    decoded_bytes,
    load_sample,
    training_batches,
)
from fdps.errors import FdpsError, MissingDataError, PictureError
from fdps.pictures import read_picture
from fdps.structures import Scene, SceneSet

FLIPPED_OR_NOT = Augmentation(flip=0.5)
BATCHES = [(3, 0), (1, 4), (2,)]
"""An epoch of five scenes."""


@pytest.fixture
def scenes(tmp_path: Path) -> SceneSet:
    return write_scenes(tmp_path, n_scenes=5)


def read(
    dataset: TrainingScenes, batches: Sequence[Sequence[int]] = BATCHES, **changes: Any
) -> list[Batch]:
    return list(training_batches(dataset, batches, **{"epoch": 0, "workers": 0} | changes))


def equal(one: Batch, other: Batch) -> bool:
    return all(map(torch.equal, one[0], other[0])) and all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
        for a, b in zip(one[1], other[1], strict=True)
    )


def test_a_sample_is_the_picture_and_its_people(scenes: SceneSet) -> None:
    scene = scenes.scenes[0]
    image, target = load_sample(scene)
    assert np.array_equal(image.permute(1, 2, 0).numpy(), read_picture(scene.path))
    assert np.array_equal(target["boxes"].numpy(), scene.boxes)
    assert np.array_equal(target["person_ids"].numpy(), scene.person_ids)
    target["boxes"].zero_()
    assert scene.boxes.any()  # the scene is not changed through its sample


def kinds(scenes: SceneSet, *, seed: int, draws: list[Draw]) -> list[tuple[bool, int]]:
    """Of each drawn scene whether it is mirrored, and its seed."""
    dataset = TrainingScenes(scenes, FLIPPED_OR_NOT, seed=seed)
    found = []
    for draw in draws:
        (image, target), (plain, _) = dataset[draw], load_sample(scenes.scenes[draw.row])
        found.append((not torch.equal(image, plain), int(target["seed"])))
    return found


def test_an_item_follows_from_seed_epoch_row_and_turn_alone(scenes: SceneSet) -> None:
    draws = [Draw(epoch, row, turn) for epoch in range(2) for row in range(5) for turn in range(3)]
    first, second = (kinds(scenes, seed=seed, draws=draws) for seed in (1, 2))
    torch.manual_seed(7)  # of no account, as is the order in which one asks
    assert kinds(scenes, seed=1, draws=draws[::-1]) == first[::-1]
    seeds = [seed for _, seed in first + second]
    assert len({*seeds}) == len(seeds)  # each of the four counts
    for flips in ([flipped for flipped, _ in found] for found in (first, second)):
        assert 0 < sum(flips) < len(flips)
        turns = zip(flips[::3], flips[1::3], flips[2::3], strict=True)
        assert any(len({*of_a_row}) == 2 for of_a_row in turns)


def test_seeds_do_not_hang_on_the_augmentation(scenes: SceneSet) -> None:
    plain, busy = (
        TrainingScenes(scenes, augment, seed=3)
        for augment in (Augmentation(), Augmentation(flip=1.0, zoom=0.3, colour_jitter=0.1))
    )
    for row in range(5):
        assert plain[Draw(0, row, 0)][1]["seed"] == busy[Draw(0, row, 0)][1]["seed"]


def test_a_seed_is_a_whole_number_that_fits_64_bits(scenes: SceneSet) -> None:
    dataset = TrainingScenes(scenes, Augmentation(), seed=2**32 - 1)
    seeds = torch.stack([dataset[Draw(0, 0, turn)][1]["seed"] for turn in range(20)])
    assert seeds.dtype == torch.int64
    assert (seeds >= 0).all()
    assert seeds.max() > 2**40  # all of the bits are used


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_never_and_always_mirrored(flip: float, scenes: SceneSet) -> None:
    dataset = TrainingScenes(scenes, Augmentation(flip=flip), seed=1)
    for row, scene in enumerate(scenes.scenes):
        image, target = load_sample(scene)
        expected = mirror(image, target) if flip else (image, target)
        found, annotated = dataset[Draw(0, row, 0)]
        del annotated["seed"]
        assert equal(([found], [annotated]), ([expected[0]], [expected[1]]))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_who_reads_and_where_one_starts(
    workers: int, scenes: SceneSet
) -> None:
    dataset = TrainingScenes(scenes, FLIPPED_OR_NOT, seed=1)
    expected = read(dataset, epoch=1)
    state = torch.get_rng_state()
    found = read(dataset, epoch=1, skip=1, workers=workers)
    assert len(found) == 2
    assert all(map(equal, found, expected[1:]))
    assert torch.equal(torch.get_rng_state(), state)  # which belongs to the network


def test_batches_hold_the_rows_that_they_are_told_to(scenes: SceneSet) -> None:
    dataset = TrainingScenes(scenes, FLIPPED_OR_NOT, seed=1)
    for batch, rows in zip(read(dataset, epoch=2), BATCHES, strict=True):
        samples = [dataset[Draw(2, row, 0)] for row in rows]
        assert equal(batch, ([image for image, _ in samples], [target for _, target in samples]))


@pytest.mark.parametrize("n_skipped", [0, 2, 3])
def test_a_scene_that_comes_up_again_has_another_turn(n_skipped: int, scenes: SceneSet) -> None:
    rows = [(2, 2), (0, 2), (2, 0), (0,)]
    turns = [(0, 1), (0, 2), (3, 1), (2,)]
    dataset = TrainingScenes(scenes, FLIPPED_OR_NOT, seed=1)
    found = read(dataset, rows, skip=n_skipped)  # what was seen before counts all the same
    assert len(found) == 4 - n_skipped
    for (images, targets), of_batch, its_turns in zip(
        found, rows[n_skipped:], turns[n_skipped:], strict=True
    ):
        draws = [Draw(0, row, turn) for row, turn in zip(of_batch, its_turns, strict=True)]
        samples = [dataset[draw] for draw in draws]
        expected = [image for image, _ in samples], [target for _, target in samples]
        assert equal((images, targets), expected)


@pytest.mark.parametrize(
    ("n_processes", "workers"), [(1, 0), (2, 0), (3, 0), (4, 0), (7, 0), (4, 1)]
)
def test_the_shares_of_all_processes_in_order_are_the_batch(
    n_processes: int, workers: int, scenes: SceneSet
) -> None:
    dataset = TrainingScenes(scenes, FLIPPED_OR_NOT, seed=1)
    batches = [(3, 0, 1, 4, 2), (2, 2), (1,)]
    whole = read(dataset, batches)
    shares = [
        read(dataset, batches, workers=workers, rank=rank, n_processes=n_processes)
        for rank in range(n_processes)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):  # every process has every batch
        together = (
            list(chain.from_iterable(images for images, _ in parts)),
            list(chain.from_iterable(targets for _, targets in parts)),
        )
        assert equal(together, batch)
        sizes = [len(images) for images, _ in parts]
        assert max(sizes) - min(sizes) <= 1
        assert [len(targets) for _, targets in parts] == sizes


def test_an_epoch_that_was_seen_whole_has_no_batch_left(scenes: SceneSet) -> None:
    dataset = TrainingScenes(scenes, Augmentation(), seed=1)
    assert read(dataset, skip=3) == read(dataset, []) == []


def with_picture(scenes: SceneSet, path: Path) -> SceneSet:
    """Another picture in row 2."""
    changed = [replace(s, path=path) if row == 2 else s for row, s in enumerate(scenes.scenes)]
    return replace(scenes, scenes=tuple(changed))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_goes_wrong_while_reading_arrives_as_it_was(
    workers: int, scenes: SceneSet, tmp_path: Path
) -> None:
    gone = TrainingScenes(with_picture(scenes, tmp_path / "gone.jpg"), Augmentation(), seed=1)
    with pytest.raises(MissingDataError) as missing:
        read(gone, workers=workers)
    assert str(missing.value) == f"no picture at {tmp_path / 'gone.jpg'}"

    (tmp_path / "text.jpg").write_text("a letter")
    broken = TrainingScenes(with_picture(scenes, tmp_path / "text.jpg"), Augmentation(), seed=1)
    with pytest.raises(PictureError) as undecodable:
        read(broken, workers=workers)
    assert str(undecodable.value) == f"{tmp_path / 'text.jpg'} is not a picture that fdps reads"
    assert "JPEG" in undecodable.value.hint


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_before_a_broken_picture_come_out(
    workers: int, scenes: SceneSet, tmp_path: Path
) -> None:
    dataset = TrainingScenes(with_picture(scenes, tmp_path / "gone.jpg"), Augmentation(), seed=1)
    batches = training_batches(dataset, [(1,), (0,), (0, 2)], epoch=0, workers=workers)
    next(batches)
    next(batches)
    with pytest.raises(MissingDataError):
        next(batches)


def test_a_broken_picture_in_the_share_of_another_is_not_met(
    scenes: SceneSet, tmp_path: Path
) -> None:
    dataset = TrainingScenes(with_picture(scenes, tmp_path / "gone.jpg"), Augmentation(), seed=1)
    assert len(read(dataset, [(0, 2)], rank=0, n_processes=2)) == 1
    with pytest.raises(MissingDataError):
        read(dataset, [(0, 2)], rank=1, n_processes=2)


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(FdpsError("no picture", hint="look elsewhere")))
    assert (str(error), error.hint) == ("no picture", "look elsewhere")


class SignalledScenes(TrainingScenes):
    """The process that reads gets both signals, as by Ctrl-C and from a batch system."""

    def __getitem__(self, item: Draw) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        assert get_worker_info() is not None
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return super().__getitem__(item)


def test_processes_that_read_leave_signals_to_the_training(scenes: SceneSet) -> None:
    dataset = SignalledScenes(scenes, Augmentation(), seed=1)
    batches = read(dataset, workers=1)
    assert [len(images) for images, _ in batches] == [2, 2, 1]


class FailingScenes(TrainingScenes):
    """Row 2 fails in a way that nobody expects, or takes its process with it."""

    is_killed = False

    def __getitem__(self, item: Draw) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if item.row == 2:
            if self.is_killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("a bug")
        return super().__getitem__(item)


@pytest.mark.parametrize(
    ("is_killed", "error", "words"),
    [(False, ZeroDivisionError, "a bug"), (True, RuntimeError, "DataLoader worker")],
)
def test_an_unexpected_error_leaves_no_process_that_reads(
    is_killed: bool, error: type[Exception], words: str, scenes: SceneSet
) -> None:
    dataset = FailingScenes(scenes, Augmentation(), seed=1)
    dataset.is_killed = is_killed
    with pytest.raises(error) as caught:
        read(dataset, workers=2)
    assert words in str(caught.value)  # which keeps the traceback, and all that it refers to
    # At exit Python sends them a signal that they ignore, and would wait for them for ever.
    left = multiprocessing.active_children()
    for process in left:
        process.kill()
        process.join()
    assert not left


def test_decoded_pictures_need_no_files_and_are_never_changed(scenes: SceneSet) -> None:
    augment = Augmentation(flip=0.5, zoom=0.3, colour_jitter=0.3, erase=0.5)
    draws = [Draw(epoch, row, 0) for epoch in range(2) for row in range(len(scenes))]
    read_anew = TrainingScenes(scenes, augment, seed=1)
    expected = [read_anew[draw] for draw in draws]
    held = TrainingScenes(scenes, augment, seed=1, decoded_gib=1.0)
    plain = TrainingScenes(scenes, Augmentation(), seed=1, decoded_gib=1.0)
    for scene in scenes.scenes:
        scene.path.unlink()
    plain[draws[0]][0].zero_()
    assert plain[draws[0]][0].any()
    found = [held[draw] for draw in draws]
    for one, other in zip(found, expected, strict=True):
        assert equal(([one[0]], [one[1]]), ([other[0]], [other[1]]))
    assert sum(len(images) for images, _ in read(held, workers=1)) == 5


def test_pictures_that_do_not_fit_are_read_from_their_files(scenes: SceneSet) -> None:
    needed = decoded_bytes(scenes) / 2**30
    assert needed == sum(read_picture(s.path).nbytes for s in scenes.scenes) / 2**30
    fits = TrainingScenes(scenes, Augmentation(), seed=1, decoded_gib=needed)
    too_large = TrainingScenes(scenes, Augmentation(), seed=1, decoded_gib=needed * 0.99)
    scenes.scenes[0].path.unlink()
    assert fits[Draw(0, 0, 0)][0].any()
    with pytest.raises(MissingDataError, match=scenes.scenes[0].name):
        too_large[Draw(0, 0, 0)]


def test_pictures_of_one_batch_may_differ_in_size(tmp_path: Path) -> None:
    sizes = [(10, 20), (30, 15)]
    scenes = []
    for k, (width, height) in enumerate(sizes):
        path = tmp_path / f"{k}.png"
        write_picture(path, np.zeros((height, width, 3), np.uint8))
        boxes = np.zeros((0, 4), np.float32)
        scenes.append(Scene(f"{k}", path, boxes, np.zeros(0, np.int64)))
    dataset = TrainingScenes(SceneSet("s", tuple(scenes)), Augmentation(), seed=1)
    ((images, _),) = read(dataset, [(1, 0)])
    assert [tuple(image.shape) for image in images] == [(3, 15, 30), (3, 20, 10)]
