from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from fdps.models.sampling import (
    ANCHORS,
    BACKGROUND,
    IGNORED,
    PERSON,
    REGIONS,
    match,
    sample,
    seeded,
)


def labels(*, people: int, background: int, ignored: int) -> Tensor:
    counts = torch.tensor([people, background, ignored])
    label = torch.tensor([PERSON, BACKGROUND, IGNORED]).repeat_interleave(counts)
    return label[torch.randperm(len(label))]


# Overlaps of exactly 1, 1/2, 1/4, 1/8 and 0 with the first person; exact in binary.
PEOPLE = torch.tensor([[0.0, 0, 8, 8], [100, 100, 108, 108]])
CANDIDATES = torch.tensor(
    [[0.0, 0, 8, 8], [0, 0, 8, 4], [0, 0, 4, 4], [0, 0, 4, 2], [50, 50, 60, 60]]
)


@pytest.mark.parametrize(
    ("foreground", "background", "expected"),
    [
        (0.5, 0.5, [PERSON, PERSON, BACKGROUND, BACKGROUND, BACKGROUND]),  # exactly 0.5: a person
        (0.5, 0.1, [PERSON, PERSON, IGNORED, IGNORED, BACKGROUND]),  # the other rule
        (0.5, 0.25, [PERSON, PERSON, IGNORED, BACKGROUND, BACKGROUND]),  # exactly 0.25: ignored
        (0.5001, 0.5001, [PERSON, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND]),
        (1.0, 0.125, [PERSON, IGNORED, IGNORED, IGNORED, BACKGROUND]),
    ],
)
def test_match_at_the_thresholds(foreground: float, background: float, expected: list[int]) -> None:
    found = match(CANDIDATES, PEOPLE, foreground_iou=foreground, background_iou=background)
    assert found.label.tolist() == expected


def test_match_names_the_person_of_the_largest_overlap() -> None:
    people = torch.tensor([[0.0, 0, 8, 8], [4, 0, 12, 8]])
    regions = torch.tensor([[5.0, 0, 13, 8], [1, 0, 9, 8]])
    found = match(regions, people, foreground_iou=0.5, background_iou=0.5)
    assert found.person.tolist() == [1, 0]


@pytest.mark.parametrize("best", [False, True])
def test_match_without_people_is_all_background(best: bool) -> None:
    nobody = torch.zeros(0, 4)
    found = match(CANDIDATES, nobody, foreground_iou=0.5, background_iou=0.1, best_of_each=best)
    assert found.label.tolist() == [BACKGROUND] * 5
    assert found.person.dtype == found.label.dtype == torch.int64


@pytest.mark.parametrize("best", [False, True])
def test_match_without_regions(best: bool) -> None:
    nothing = torch.zeros(0, 4)
    found = match(nothing, PEOPLE, foreground_iou=0.5, background_iou=0.5, best_of_each=best)
    assert found.label.shape == found.person.shape == (0,)


def test_the_best_regions_of_each_person_are_people_however_small_the_overlap() -> None:
    people = torch.tensor([[0.0, 0, 8, 8], [40, 0, 48, 8]])
    regions = torch.tensor(
        [
            [0.0, 0, 4, 4],  # 1/4 of the first: not its best
            [0, 0, 8, 4],  # 1/2 of the first: its best
            [40, 0, 42, 4],  # 1/8 of the second: its best
            [46, 4, 48, 8],  # likewise
            [40, 0, 41, 4],  # 1/16 of the second
        ]
    )
    found = match(regions, people, foreground_iou=0.7, background_iou=0.3, best_of_each=True)
    assert found.label.tolist() == [BACKGROUND, PERSON, PERSON, PERSON, BACKGROUND]
    assert found.person.tolist() == [0, 0, 1, 1, 1]


def test_the_best_region_of_one_person_may_show_another() -> None:
    people = torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 2]])
    regions = torch.tensor([[0.0, 0, 8, 7], [20, 20, 28, 28]])
    found = match(regions, people, foreground_iou=0.9, background_iou=0.3, best_of_each=True)
    assert found.label.tolist() == [PERSON, BACKGROUND]
    assert found.person[0] == 0  # overlaps: 7/8 and 2/7


def whole_boxes(n: int) -> Tensor:
    """Boxes of few different sides and places, so that many overlaps are equal."""
    low = torch.randint(0, 8, (n, 2)) * 2.0
    return torch.cat([low, low + torch.randint(1, 4, (n, 2)) * 4], dim=1)


def fine_boxes(n: int) -> Tensor:
    low = torch.rand(n, 2) * 10
    return torch.cat([low, low + 6 + torch.rand(n, 2) * 6], dim=1)


@pytest.mark.parametrize("boxes", [whole_boxes, fine_boxes])
@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("n_people", [1, 2, 7, 40])
def test_match_labels_as_torchvision_does(
    boxes: Callable[[int], Tensor], best: bool, n_people: int
) -> None:
    regions, people = boxes(300), boxes(n_people)
    if n_people == 7:
        people[3] = torch.tensor([90, 90, 95, 99])  # touched by nobody
    found = match(regions, people, foreground_iou=0.7, background_iou=0.3, best_of_each=best)
    theirs = Matcher(0.7, 0.3, allow_low_quality_matches=best)(box_iou(people, regions))
    label = torch.where(theirs >= 0, PERSON, torch.where(theirs == -1, BACKGROUND, IGNORED))
    assert torch.equal(found.label, label)
    is_person = label == PERSON
    assert torch.equal(found.person[is_person], theirs[is_person])
    assert is_person.any()


@pytest.mark.parametrize(
    ("people", "background", "n_people", "n_background"),
    [
        (100, 100, 8, 8),  # enough of both: the share of people is a limit
        (3, 100, 3, 13),  # background fills up
        (100, 2, 8, 2),  # people do not fill up: fewer regions come
        (0, 100, 0, 16),
        (100, 0, 8, 0),
        (1, 1, 1, 1),
        (0, 0, 0, 0),
    ],
)
def test_sample_counts(people: int, background: int, n_people: int, n_background: int) -> None:
    label = labels(people=people, background=background, ignored=20)
    rows = sample(label, 16, 0.5)
    assert label[rows].tolist() == [PERSON] * n_people + [BACKGROUND] * n_background
    assert len(rows.unique()) == len(rows)


@pytest.mark.parametrize(("fraction", "n_people"), [(0.25, 4), (0.3, 4), (1.0, 16)])
def test_sample_respects_the_share_of_people(fraction: float, n_people: int) -> None:
    label = labels(people=50, background=50, ignored=0)
    assert (label[sample(label, 16, fraction)] == PERSON).sum() == n_people


def test_sample_draws_everything_alike() -> None:
    label = labels(people=8, background=8, ignored=4)
    drawn = torch.zeros(len(label))
    for _ in range(400):
        drawn[sample(label, 8, 0.5)] += 1
    # Each of 16 regions with probability 1/2: 200 times, give or take six deviations of 10.
    assert drawn[label != IGNORED].min() > 140
    assert drawn[label != IGNORED].max() < 260


def test_sample_follows_the_seed() -> None:
    label = labels(people=50, background=50, ignored=0)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(sample(label, 16, 0.5).tolist())
    assert draws[0] == draws[1] != draws[2]


def test_sample_without_a_generator_draws_from_the_global_one() -> None:
    label = labels(people=50, background=60, ignored=9)
    torch.manual_seed(4)
    rows = sample(label, 16, 0.5)
    torch.manual_seed(4)
    people = (label == PERSON).nonzero().squeeze(1)[torch.randperm(50)[:8]]
    background = (label == BACKGROUND).nonzero().squeeze(1)[torch.randperm(60)[:8]]
    assert torch.equal(rows, torch.cat([people, background]))


def test_sample_with_a_generator_leaves_the_global_one_alone() -> None:
    label = labels(people=50, background=50, ignored=0)
    before = torch.get_rng_state()
    first = sample(label, 16, 0.5, seeded(torch.tensor(3), ANCHORS))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(sample(label, 16, 0.5, seeded(torch.tensor(3), ANCHORS)), first)
    assert not torch.equal(sample(label, 16, 0.5, seeded(torch.tensor(4), ANCHORS)), first)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_draw_the_same() -> None:
    label = labels(people=50, background=50, ignored=5)
    on_cpu, on_gpu = (
        sample(where, 16, 0.5, seeded(torch.tensor(3), REGIONS)) for where in (label, label.cuda())
    )
    assert torch.equal(on_gpu.cpu(), on_cpu)


def first_number(seed: int, stream: int) -> int:
    generator = seeded(torch.tensor(seed), stream)
    assert generator is not None
    return int(torch.randint(8, (), generator=generator))


def test_no_seed_gives_no_generator() -> None:
    assert seeded(None, ANCHORS) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((5, ANCHORS), (5, REGIONS)),
        ((5, ANCHORS), (6, ANCHORS)),
        ((5, ANCHORS), (5 + 2**32, ANCHORS)),  # the lower half is the same
        ((5, REGIONS), (5 + 2**32, ANCHORS)),
        ((5, ANCHORS), (-5, ANCHORS)),
        ((-(2**63), ANCHORS), (2**63 - 1, ANCHORS)),
    ],
)
def test_seeds_and_streams_give_different_numbers(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    orders = [
        torch.randperm(50, generator=seeded(torch.tensor(seed), stream)).tolist()
        for seed, stream in (one, other, one)
    ]
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize(
    ("seed_step", "other_stream"),
    [(0, REGIONS), (1, ANCHORS), (1, REGIONS)],  # neighbours along either axis, and across
)
def test_streams_agree_by_chance_only(seed_step: int, other_stream: int) -> None:
    agreed = sum(
        first_number(seed, ANCHORS) == first_number(seed + seed_step, other_stream)
        for seed in range(800)
    )
    # With probability 1/8: 100 times, give or take six deviations of 9.4.
    assert 44 < agreed < 156


def test_what_lies_near_an_ignored_box_is_no_background() -> None:
    people = torch.tensor([[0.0, 0, 10, 20]])
    ignored = torch.tensor([[30.0, 0, 40, 20], [60, 0, 70, 20]])
    regions = torch.tensor(
        [
            [0.0, 0, 10, 20],  # the person
            [30, 0, 40, 20],  # a doubtful box
            [31, 0, 41, 20],  # much of it
            [39, 0, 49, 20],  # hardly any of it
            [30, 0, 35, 5],  # a part, as a part of a person would be
            [80, 0, 90, 20],
        ]
    )
    rules = {"foreground_iou": 0.5, "background_iou": 0.3}
    found = match(regions, people, ignored=ignored, **rules)
    assert found.label.tolist() == [PERSON, IGNORED, IGNORED, BACKGROUND, BACKGROUND, BACKGROUND]
    alone = match(regions, people[:0], ignored=ignored, **rules)
    assert alone.label.tolist() == [BACKGROUND, IGNORED, IGNORED, *[BACKGROUND] * 3]
    plain, none = (
        match(regions, people, **rules),
        match(regions, people, ignored=people[:0], **rules),
    )
    assert torch.equal(plain.label, none.label)
    certain = match(people, people, ignored=people, **rules)  # a person stays one
    assert certain.label.tolist() == [PERSON]
