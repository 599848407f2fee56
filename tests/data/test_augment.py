"""Augmentation: what a box held before, it holds after."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fdps.config import TrainConfig
from fdps.data.augment import MIN_VISIBLE, Augmentation, erase, jitter_colours, mirror, zoom

WIDTH, HEIGHT = 60, 40
sides = st.tuples(st.integers(0, 50), st.integers(0, 30), st.integers(3, 25), st.integers(4, 30))


def painted(people: list[tuple[int, int, int, int]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Grey, with a rectangle of its own green for each person who covers nobody."""
    image = torch.full((3, HEIGHT, WIDTH), 90, dtype=torch.uint8)
    boxes: list[tuple[int, int, int, int]] = []
    for left, top, width, height in people:
        x2, y2 = min(left + width, WIDTH), min(top + height, HEIGHT)
        if any(left < b[2] and b[0] < x2 and top < b[3] and b[1] < y2 for b in boxes):
            continue
        image[1, top:y2, left:x2] = 200 + len(boxes)
        boxes.append((left, top, x2, y2))
    return image, {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "person_ids": torch.arange(len(boxes)),
    }


def extent(image: Tensor, person: int) -> list[float] | None:
    """Where the green of a person is."""
    rows, columns = (image[1] == 200 + person).nonzero(as_tuple=True)
    if len(rows) == 0:
        return None
    return [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


def test_mirrored_boxes_hold_the_same_pixels() -> None:
    image = torch.arange(2 * 7, dtype=torch.uint8).reshape(1, 2, 7).repeat(3, 1, 1)
    target = {"boxes": torch.tensor([[1.0, 0, 3, 2]]), "person_ids": torch.tensor([5])}
    turned, changed = mirror(image, target)
    assert changed["boxes"].tolist() == [[4, 0, 6, 2]]
    assert torch.equal(turned[:, :, 4:6], image[:, :, 1:3].flip(2))
    assert changed["person_ids"].tolist() == [5]
    assert target["boxes"].tolist() == [[1, 0, 3, 2]]


def test_nobody_can_be_augmented() -> None:
    target = {"boxes": torch.zeros(0, 4), "person_ids": torch.zeros(0, dtype=torch.int64)}
    image = torch.zeros(3, 4, 5, dtype=torch.uint8)
    everything = Augmentation(flip=1.0, zoom=1.0, colour_jitter=0.5, erase=1.0)
    for seed in range(5):
        _, changed = everything(image, target, np.random.default_rng(seed))
        assert changed["boxes"].shape == (0, 4)
        assert changed["person_ids"].shape == (0,)


@given(people=st.lists(sides, max_size=4), seed=st.integers(0, 1000))
def test_mirrored_twice_is_the_same(people: list[tuple[int, int, int, int]], seed: int) -> None:
    image, target = painted(people)
    turned, changed = mirror(image, target)
    for box, person in zip(changed["boxes"].tolist(), changed["person_ids"].tolist(), strict=True):
        assert extent(turned, person) == box
    again, back = mirror(turned, changed)
    assert torch.equal(again, image)
    assert torch.equal(back["boxes"], target["boxes"])


@given(people=st.lists(sides, max_size=4), factor=st.floats(0.4, 3.0), seed=st.integers(0, 1000))
def test_zoomed_boxes_are_where_the_people_are(
    people: list[tuple[int, int, int, int]], factor: float, seed: int
) -> None:
    image, target = painted(people)
    before = image.clone()
    shown, changed = zoom(image, target, factor, np.random.default_rng(seed))
    assert torch.equal(image, before)
    assert shown.shape[1:] == (max(round(HEIGHT / factor), 1), max(round(WIDTH / factor), 1))
    kept = dict(zip(changed["person_ids"].tolist(), changed["boxes"].tolist(), strict=True))
    for person, (x1, y1, x2, y2) in enumerate(target["boxes"].tolist()):
        seen = extent(shown, person)
        area = (seen[2] - seen[0]) * (seen[3] - seen[1]) if seen else 0
        limit = MIN_VISIBLE * (x2 - x1) * (y2 - y1)
        if area > limit + 1e-3:
            assert kept[person] == seen
        elif area < limit - 1e-3:  # rounding decides on the limit itself
            assert person not in kept


@given(people=st.lists(sides, min_size=1, max_size=3), seed=st.integers(0, 1000))
def test_a_part_of_a_picture_holds_somebody_whole(
    people: list[tuple[int, int, int, int]], seed: int
) -> None:
    image, target = painted(people)
    lengths = (target["boxes"][:, 2:] - target["boxes"][:, :2]).tolist()
    part = (WIDTH / 1.5, HEIGHT / 1.5)
    if not any(w < int(part[0]) and h < int(part[1]) for w, h in lengths):
        return
    _, changed = zoom(image, target, 1.5, np.random.default_rng(seed))
    left = (changed["boxes"][:, 2:] - changed["boxes"][:, :2]).tolist()
    assert any(length in lengths for length in left)


def test_erasing_stays_inside_the_box_and_covers_a_part_of_it() -> None:
    image, target = painted([(10, 5, 20, 30), (40, 2, 15, 25)])
    changed = erase(image, target["boxes"][:1], np.random.default_rng(3))
    differs = (changed != image).any(dim=0)
    inside = torch.zeros_like(differs)
    inside[5:35, 10:30] = True
    assert not (differs & ~inside).any()
    share = float(differs.sum()) / (20 * 30)
    assert 0.2 * 0.3 * 0.8 < share < 0.5 * 1.0 * 1.1
    assert not torch.equal(changed, image)


def test_erasing_by_chance_hits_that_share_of_people() -> None:
    image, target = painted([(0, 0, 8, 20), (10, 0, 8, 20), (20, 0, 8, 20), (30, 0, 8, 20)])
    augment, hits = Augmentation(erase=0.3), 0
    for seed in range(200):
        changed, _ = augment(image, target, np.random.default_rng(seed))
        differs = (changed != image).any(dim=0)
        hits += sum(
            bool(differs[y1:y2, x1:x2].any()) for x1, y1, x2, y2 in target["boxes"].int().tolist()
        )
    assert hits / 800 == pytest.approx(0.3, abs=0.05)


def test_colours_change_by_hand_computed_amounts() -> None:
    image = torch.tensor([100, 50, 200], dtype=torch.uint8)[:, None, None].repeat(1, 2, 2)
    brighter = jitter_colours(image, np.array([0.2, 0.0, 0.0]))
    assert brighter[:, 0, 0].tolist() == [120, 60, 240]
    grey = 0.299 * 100 + 0.587 * 50 + 0.114 * 200
    paler = jitter_colours(image, np.array([0.0, 0.0, -0.5]))
    expected = [0.5 * value + 0.5 * grey for value in (100, 50, 200)]
    assert paler[:, 0, 0].tolist() == pytest.approx(expected, abs=2)
    assert torch.equal(jitter_colours(image, np.zeros(3)), image)


def test_equal_random_numbers_make_equal_changes_and_others_do_not() -> None:
    image, target = painted([(10, 5, 20, 30)])
    augment = Augmentation(flip=0.5, zoom=0.3, colour_jitter=0.2, erase=0.5)
    one, same, other = (augment(image, target, np.random.default_rng(s)) for s in (1, 1, 2))
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1]["boxes"], same[1]["boxes"])
    assert one[0].shape != other[0].shape or not torch.equal(one[0], other[0])


def test_a_recipe_decides() -> None:
    config = TrainConfig(flip=0.1, zoom=0.2, colour_jitter=0.3, erase=0.4)
    assert Augmentation.of(config) == Augmentation(0.1, 0.2, 0.3, 0.4)
    assert Augmentation.of(TrainConfig()) == Augmentation(flip=0.5)  # the paper's only one
