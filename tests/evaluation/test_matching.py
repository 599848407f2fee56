import numpy as np
import pytest

from fdps.evaluation.matching import mutual_matches, search_iou
from fdps.structures import empty_boxes

PERSON = [0.0, 0, 10, 10]


@pytest.mark.parametrize(
    ("boxes", "people", "expected"),
    [
        ([PERSON], [PERSON], [0]),
        ([[0, 0, 10, 5]], [PERSON], [0]),  # overlap of exactly one half is enough
        ([[0, 0, 10, 4.9]], [PERSON], [-1]),
        ([[0, 0, 10, 8], [0, 0, 10, 9]], [PERSON], [-1, 0]),  # the second is the better one
        ([PERSON, PERSON], [PERSON], [0, -1]),  # equal: the first
        ([PERSON], [PERSON, PERSON], [0]),  # two people at one place: the first
        ([[0, 0, 10, 14], [0, 4, 10, 14]], [PERSON, [0, 4, 10, 14]], [0, 1]),
        # The first detection prefers the second person, whose best is the other: it gets nobody.
        ([[0, 3, 10, 14], [0, 4, 10, 14]], [PERSON, [0, 4, 10, 14]], [-1, 1]),
    ],
)
def test_pairs_choose_each_other(
    boxes: list[list[float]], people: list[list[float]], expected: list[int]
) -> None:
    assert mutual_matches(np.array(boxes, float), np.array(people, float)).tolist() == expected


@pytest.mark.parametrize(("n_boxes", "n_people"), [(0, 0), (2, 0), (0, 2)])
def test_nobody_matches_nobody(n_boxes: int, n_people: int) -> None:
    boxes = np.tile(np.array([PERSON]), (n_boxes, 1))
    people = np.tile(np.array([PERSON]), (n_people, 1))
    assert mutual_matches(boxes, people).tolist() == [-1] * n_boxes


def test_search_accepts_less_overlap_from_small_people() -> None:
    small = 13 * 36 / (23 * 46)
    people = np.array([[5.0, 5, 18, 41], [0, 0, 60, 180], [0, 0, 10, 10]])
    np.testing.assert_allclose(search_iou(people), [small, 0.5, 0.25])


def test_search_threshold_of_nobody() -> None:
    assert search_iou(empty_boxes()).shape == (0,)
