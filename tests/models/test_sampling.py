import pytest
import torch
from torch import Tensor

from fdps.models.sampling import BACKGROUND, IGNORED, PERSON, match, sample


def labels(*, people: int, background: int, ignored: int) -> Tensor:
    counts = torch.tensor([people, background, ignored])
    label = torch.tensor([PERSON, BACKGROUND, IGNORED]).repeat_interleave(counts)
    return label[torch.randperm(len(label))]


# Overlaps of exactly 1, 1/2, 1/4, 1/8 and 0 with the first person; exact in binary.
PEOPLE = torch.tensor([[0.0, 0, 8, 8], [100, 100, 108, 108]])
REGIONS = torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 4], [0, 0, 4, 4], [0, 0, 4, 2], [50, 50, 60, 60]])


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
    found = match(REGIONS, PEOPLE, foreground_iou=foreground, background_iou=background)
    assert found.label.tolist() == expected


def test_match_names_the_person_of_the_largest_overlap() -> None:
    people = torch.tensor([[0.0, 0, 8, 8], [4, 0, 12, 8]])
    regions = torch.tensor([[5.0, 0, 13, 8], [1, 0, 9, 8]])
    found = match(regions, people, foreground_iou=0.5, background_iou=0.5)
    assert found.person.tolist() == [1, 0]


def test_match_without_people_is_all_background() -> None:
    found = match(REGIONS, torch.zeros(0, 4), foreground_iou=0.5, background_iou=0.1)
    assert found.label.tolist() == [BACKGROUND] * 5
    assert found.person.dtype == found.label.dtype == torch.int64


def test_match_without_regions() -> None:
    found = match(torch.zeros(0, 4), PEOPLE, foreground_iou=0.5, background_iou=0.5)
    assert found.label.shape == found.person.shape == (0,)


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
