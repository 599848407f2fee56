"""Appearances that look alike become one person, and people who stood side by side never do."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from fake.photos import unit_rows
from fdps.search.query.joining import (
    ENOUGH_STRANGERS,
    NEIGHBOURS,
    join_alike,
    least_similarity,
    usual_similarity,
)
from fdps.search.query.tracklets import USUAL_STRANGERS

NOBODY_APART = np.zeros((0, 2), dtype=np.int64)


def pairs(*of: tuple[int, int]) -> np.ndarray:
    return np.array(of, dtype=np.int64)


def at_angles(*degrees: float) -> np.ndarray:
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1)


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(((one[:, None] == one) == (other[:, None] == other)).all())


@pytest.mark.parametrize("least", [0.1, 0.3, 0.6, 0.9])
def test_it_is_average_linkage(least: float) -> None:
    rows = unit_rows(np.random.default_rng(7), NEIGHBOURS, dim=4).astype(np.float64)
    tree = linkage(rows, "average", metric=lambda a, b: 1 - float(a @ b))
    expected = fcluster(tree, 1 - least, "distance")
    found = join_alike(rows, NOBODY_APART, least)
    assert same_partition(found, expected)
    assert 1 < found.max() + 1 < len(rows)


def test_groups_are_numbered_by_their_first_appearance() -> None:
    rows = at_angles(0, 90, 1, 91, 180)
    assert join_alike(rows, NOBODY_APART, 0.9).tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("n", [0, 1])
def test_nobody_and_one(n: int) -> None:
    assert join_alike(np.ones((n, 1)), NOBODY_APART, 0.5).tolist() == [0] * n


def test_people_who_stood_side_by_side_stay_apart_however_alike() -> None:
    rows = at_angles(0, 0, 0)
    assert join_alike(rows, pairs((0, 1)), 0.5).tolist() in ([0, 1, 0], [0, 1, 1])
    assert join_alike(rows, pairs((0, 1), (1, 2), (0, 2)), 0.5).tolist() == [0, 1, 2]


def test_they_are_not_joined_through_others_either() -> None:
    # 0 and 3 are apart: whoever is joined to one of them can no longer be joined to the other.
    rows = at_angles(0, 4, 9, 13)
    labels = join_alike(rows, pairs((0, 3)), 0.9)
    assert labels.tolist() == [0, 0, 1, 1]


def test_the_mean_decides_not_the_nearest() -> None:
    rows = at_angles(0, 20, 40, 60)  # each 0.94 like the next, and the first 0.5 like the last
    assert join_alike(rows, NOBODY_APART, 0.93).max() == 1
    assert join_alike(rows, NOBODY_APART, 0.7).max() == 0


def test_more_appearances_than_one_round_looks_at() -> None:
    rng = np.random.default_rng(3)
    people = np.eye(3, 16)[rng.integers(3, size=5 * NEIGHBOURS)]
    rows = people + rng.normal(scale=0.05, size=people.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = join_alike(rows, NOBODY_APART, 0.6)
    assert same_partition(labels, people.argmax(axis=1))


def test_the_limit_lies_above_the_usual_stranger() -> None:
    strangers = np.full(ENOUGH_STRANGERS, 0.1)
    assert usual_similarity(strangers) == pytest.approx(0.1)
    assert least_similarity(strangers) == pytest.approx(0.1 + 0.4 * 0.9)


def test_one_in_a_hundred_strangers_may_reach_the_limit() -> None:
    strangers = np.concatenate([np.zeros(960), np.linspace(0.5, 0.9, 40)])
    limit = least_similarity(strangers)
    assert limit > 0.4
    assert (strangers >= limit).sum() == 10


def test_few_strangers_leave_an_assumption_that_they_can_only_raise() -> None:
    assumed = USUAL_STRANGERS + 0.4 * (1 - USUAL_STRANGERS)
    assert least_similarity(np.zeros(0)) == pytest.approx(assumed)
    assert least_similarity(np.array([-0.5])) == pytest.approx(assumed)
    assert least_similarity(np.array([0.8])) == pytest.approx(0.8)


def test_a_calibration_counts_where_few_strangers_are_seen() -> None:
    assert least_similarity(np.zeros(0), known=0.7) == pytest.approx(0.7)
    assert least_similarity(np.full(ENOUGH_STRANGERS, 0.1), known=0.7) == pytest.approx(0.46)
