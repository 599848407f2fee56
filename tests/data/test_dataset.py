import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info

from fake.people import write_picture
from fake.runs import tiny_recipe, write_scenes
from fdps.data.augment import Augmentation, mirror
from fdps.data.dataset import (
    Batch,
    ShuffledRows,
    TrainingScenes,
    decoded_bytes,
    load_sample,
    training_batches,
)
from fdps.data.pictures import read_picture
from fdps.errors import FdpsError, MissingDataError, PictureError
from fdps.structures import Scene, SceneSet


@pytest.fixture
def scenes(tmp_path: Path) -> SceneSet:
    return write_scenes(tmp_path, n_scenes=5)


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


def test_an_item_follows_from_seed_epoch_and_row_alone(scenes: SceneSet) -> None:
    def flips(seed: int, epoch: int, *, order: list[int]) -> list[bool]:
        dataset = TrainingScenes(scenes, Augmentation(flip=0.5), seed=seed)
        plain = {row: load_sample(scenes.scenes[row])[0] for row in order}
        return [not torch.equal(dataset[epoch, row][0], plain[row]) for row in sorted(order)]

    forth, back = list(range(5)), [4, 3, 2, 1, 0]
    kinds = {(seed, epoch): flips(seed, epoch, order=forth) for seed in (1, 2) for epoch in (0, 1)}
    for (seed, epoch), flipped in kinds.items():
        torch.manual_seed(epoch)  # of no account
        assert flips(seed, epoch, order=back) == flipped
    assert len({tuple(flipped) for flipped in kinds.values()}) > 1


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_never_and_always_mirrored(flip: float, scenes: SceneSet) -> None:
    dataset = TrainingScenes(scenes, Augmentation(flip=flip), seed=1)
    for row, scene in enumerate(scenes.scenes):
        image, target = load_sample(scene)
        expected = mirror(image, target) if flip else (image, target)
        found = dataset[0, row]
        assert equal(([found[0]], [found[1]]), ([expected[0]], [expected[1]]))


def test_an_epoch_shows_every_row_once_in_an_order_of_its_own() -> None:
    orders = [list(ShuffledRows(20, seed=3, epoch=epoch)) for epoch in range(3)]
    for epoch, order in enumerate(orders):
        assert sorted(order) == [(epoch, row) for row in range(20)]
        assert order == list(ShuffledRows(20, seed=3, epoch=epoch))
        assert order[8:] == list(ShuffledRows(20, seed=3, epoch=epoch, skip=8))
    rows = [[row for _, row in order] for order in orders]
    assert rows[0] != rows[1] != rows[2]
    assert rows[0] != [row for _, row in ShuffledRows(20, seed=4, epoch=0)]
    assert len(ShuffledRows(20, seed=3, epoch=0, skip=8)) == 12


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_who_reads_and_where_one_starts(
    workers: int, scenes: SceneSet
) -> None:
    dataset = TrainingScenes(scenes, Augmentation(flip=0.5), seed=1)
    expected = list(training_batches(dataset, tiny_recipe().train, epoch=1))
    assert [len(images) for images, _ in expected] == [2, 2, 1]
    state = torch.get_rng_state()
    config = tiny_recipe(workers=workers).train
    found = list(training_batches(dataset, config, epoch=1, skip=1))
    assert len(found) == 2
    assert all(map(equal, found, expected[1:]))
    assert torch.equal(torch.get_rng_state(), state)  # which belongs to the network


def with_picture(scenes: SceneSet, path: Path) -> SceneSet:
    return replace(scenes, scenes=(*scenes.scenes[:2], replace(scenes.scenes[2], path=path)))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_goes_wrong_while_reading_arrives_as_it_was(
    workers: int, scenes: SceneSet, tmp_path: Path
) -> None:
    config = tiny_recipe(workers=workers).train
    gone = TrainingScenes(with_picture(scenes, tmp_path / "gone.jpg"), Augmentation(), seed=1)
    with pytest.raises(MissingDataError) as missing:
        list(training_batches(gone, config, epoch=0))
    assert str(missing.value) == f"no picture at {tmp_path / 'gone.jpg'}"

    (tmp_path / "text.jpg").write_text("a letter")
    broken = TrainingScenes(with_picture(scenes, tmp_path / "text.jpg"), Augmentation(), seed=1)
    with pytest.raises(PictureError) as undecodable:
        list(training_batches(broken, config, epoch=0))
    assert str(undecodable.value) == f"{tmp_path / 'text.jpg'} is not a picture that fdps reads"
    assert "JPEG" in undecodable.value.hint


def test_batches_before_a_broken_picture_come_out(scenes: SceneSet, tmp_path: Path) -> None:
    dataset = TrainingScenes(with_picture(scenes, tmp_path / "gone.jpg"), Augmentation(), seed=1)
    config = tiny_recipe(batch_size=1).train
    order = [row for _, row in ShuffledRows(3, seed=1, epoch=0)]
    batches = training_batches(dataset, config, epoch=0)
    for _ in range(order.index(2)):
        next(batches)
    with pytest.raises(MissingDataError):
        next(batches)


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(FdpsError("no picture", hint="look elsewhere")))
    assert (str(error), error.hint) == ("no picture", "look elsewhere")


class SignalledScenes(TrainingScenes):
    """The process that reads gets both signals, as by Ctrl-C and from a batch system."""

    def __getitem__(self, item: tuple[int, int]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        assert get_worker_info() is not None
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return super().__getitem__(item)


def test_processes_that_read_leave_signals_to_the_training(scenes: SceneSet) -> None:
    dataset = SignalledScenes(scenes, Augmentation(), seed=1)
    batches = list(training_batches(dataset, tiny_recipe(workers=1).train, epoch=0))
    assert [len(images) for images, _ in batches] == [2, 2, 1]


def test_decoded_pictures_need_no_files_and_are_never_changed(scenes: SceneSet) -> None:
    augment = Augmentation(flip=0.5, zoom=0.3, colour_jitter=0.3, erase=0.5)
    read = TrainingScenes(scenes, augment, seed=1)
    expected = [read[epoch, row] for epoch in range(2) for row in range(len(scenes))]
    held = TrainingScenes(scenes, augment, seed=1, decoded_gib=1.0)
    plain = TrainingScenes(scenes, Augmentation(), seed=1, decoded_gib=1.0)
    for scene in scenes.scenes:
        scene.path.unlink()
    plain[0, 0][0].zero_()
    assert plain[0, 0][0].any()
    found = [held[epoch, row] for epoch in range(2) for row in range(len(scenes))]
    for one, other in zip(found, expected, strict=True):
        assert equal(([one[0]], [one[1]]), ([other[0]], [other[1]]))
    config = tiny_recipe(workers=1).train
    assert sum(len(images) for images, _ in training_batches(held, config, epoch=0)) == 5


def test_pictures_that_do_not_fit_are_read_from_their_files(scenes: SceneSet) -> None:
    needed = decoded_bytes(scenes) / 2**30
    assert needed == sum(read_picture(s.path).nbytes for s in scenes.scenes) / 2**30
    fits = TrainingScenes(scenes, Augmentation(), seed=1, decoded_gib=needed)
    too_large = TrainingScenes(scenes, Augmentation(), seed=1, decoded_gib=needed * 0.99)
    scenes.scenes[0].path.unlink()
    assert fits[0, 0][0].any()
    with pytest.raises(MissingDataError, match=scenes.scenes[0].name):
        too_large[0, 0]


def test_pictures_of_one_batch_may_differ_in_size(tmp_path: Path) -> None:
    sizes = [(10, 20), (30, 15)]
    scenes = []
    for k, (width, height) in enumerate(sizes):
        path = tmp_path / f"{k}.png"
        write_picture(path, np.zeros((height, width, 3), np.uint8))
        boxes = np.zeros((0, 4), np.float32)
        scenes.append(Scene(f"{k}", path, boxes, np.zeros(0, np.int64)))
    dataset = TrainingScenes(SceneSet("s", tuple(scenes)), Augmentation(), seed=1)
    ((images, _),) = training_batches(dataset, tiny_recipe().train, epoch=0)
    assert sorted(tuple(image.shape) for image in images) == [(3, 15, 30), (3, 20, 10)]
