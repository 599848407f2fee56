"""Augmentation: what a box held before, it holds after."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fdps.config import TrainConfig
from fdps.data.training.augment import (
    MIN_HEIGHT,
    MIN_VISIBLE,
    Augmentation,
    Sample,
    erase,
    jitter_colours,
    mirror,
    mosaic,
    zoom,
)

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


def person(number: int, *, height: int, width: int, of: tuple[int, int]) -> Sample:
    """One person of a green of their own in the middle of a grey picture."""
    image = torch.full((3, *of), 90, dtype=torch.uint8)
    top, left = (of[0] - height) // 2, (of[1] - width) // 2
    image[1, top : top + height, left : left + width] = 100 + number
    return image, {
        "boxes": torch.tensor([[left, top, left + width, top + height]], dtype=torch.float32),
        "person_ids": torch.tensor([number]),
        "teacher": torch.tensor([[float(number), 1.0]]),
    }


@given(seed=st.integers(0, 500))
def test_a_mosaic_shows_everybody_where_their_box_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn: list[int] = []

    def draw() -> Sample:
        drawn.append(len(drawn))
        sides = (int(rng.integers(60, 200)), int(rng.integers(40, 300)))
        return person(drawn[-1], height=sides[0] // 2, width=sides[1] // 2, of=sides)

    image, target = mosaic(draw(), draw, (120, 200), rng)
    assert image.shape == (3, 120, 200)
    assert image.dtype == torch.uint8
    assert len(set(target["person_ids"].tolist())) == len(target["boxes"]) > 0
    assert torch.equal(target["teacher"][:, 0].long(), target["person_ids"])
    for box, number in zip(target["boxes"], target["person_ids"].tolist(), strict=True):
        x1, y1, x2, y2 = box.tolist()
        assert y2 - y1 >= MIN_HEIGHT * 120
        if min(x2 - x1, y2 - y1) < 10:
            continue  # resizing blurs the outline, and there may be nothing else
        inside = image[1, round(y1) + 4 : round(y2) - 4, round(x1) + 4 : round(x2) - 4]
        assert (inside == 100 + number).all()


def test_rows_of_a_mosaic_are_one_to_three_of_like_height() -> None:
    numbers = set()
    for seed in range(40):
        bands = 0

        def draw() -> Sample:
            nonlocal bands
            bands += 1  # every picture is as wide as the canvas, so it is a row of its own
            return person(bands, height=20, width=900, of=(40, 2000))

        image, _ = mosaic(draw(), draw, (120, 100), np.random.default_rng(seed))
        found = [int((image[1, :, 50] == 100 + n).sum()) for n in range(1, bands + 1)]
        heights = torch.tensor(found)
        numbers.add(len(heights))
        assert heights.max() <= 1.6 * heights.min()
    assert numbers == {1, 2, 3}


def test_people_of_a_few_pixels_are_ignored_in_a_mosaic() -> None:
    def draw() -> Sample:
        image, target = person(1, height=3, width=2, of=(100, 100))
        return image, target | {"ignored": torch.tensor([[1.0, 2, 30, 40]])}

    _, target = mosaic(draw(), draw, (60, 60), np.random.default_rng(0))
    assert target["boxes"].shape == (0, 4)
    assert target["person_ids"].shape == (0,)
    assert len(target["ignored"]) >= 2


def test_people_whom_the_border_of_a_mosaic_cuts_off_are_ignored() -> None:
    drawn = 0

    def draw() -> Sample:
        nonlocal drawn
        drawn += 1
        image, target = person(drawn, height=40, width=40, of=(40, 140))
        right = torch.tensor([100.0, 0, 140, 40])  # the canvas ends at 100 of 140
        return image, target | {"boxes": right[None]}

    seed = next(n for n in range(99) if np.random.default_rng(n).integers(3) == 0)  # one row
    _, target = mosaic(draw(), draw, (40, 110), np.random.default_rng(seed))
    assert drawn == 1
    assert len(target["boxes"]) == 0  # ten of forty columns are left
    assert target["ignored"].tolist() == [[100.0, 0, 110, 40]]


def test_a_mosaic_of_empty_pictures_has_nobody() -> None:
    empty = (
        torch.zeros(3, 5, 4, dtype=torch.uint8),
        {"boxes": torch.zeros(0, 4), "person_ids": torch.zeros(0, dtype=torch.int64)},
    )
    image, target = mosaic(empty, lambda: empty, (32, 48), np.random.default_rng(0))
    assert image.shape == (3, 32, 48)
    assert target["boxes"].shape == target["ignored"].shape == (0, 4)


def test_a_scene_comes_in_a_mosaic_as_often_as_asked() -> None:
    def read(row: int) -> Sample:
        return person(row, height=20, width=10, of=(40, 30))

    augment = Augmentation(mosaic=0.3, mosaic_size=(64, 96))
    shapes = [augment.scene(read, 5, 20, np.random.default_rng(n))[0].shape for n in range(400)]
    assert 0.2 < np.mean([shape == (3, 64, 96) for shape in shapes]) < 0.4
    assert set(shapes) == {(3, 64, 96), (3, 40, 30)}
    first, again = (augment.scene(read, 5, 20, np.random.default_rng(3))[0] for _ in range(2))
    assert torch.equal(first, again)
    shown = set()
    for seed in range(20):
        everybody = augment.scene(read, 5, 20, np.random.default_rng(seed))[1]["person_ids"]
        assert everybody[0] == 5
        shown |= set(everybody.tolist())
    assert len(shown) > 10
