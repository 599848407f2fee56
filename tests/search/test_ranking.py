import numpy as np
import pytest

from fake.photos import unit_rows
from fdps.search.ranking import nearest


def sorted_in_float64(
    rows: np.ndarray, query: np.ndarray, top: int, allowed: np.ndarray
) -> tuple[list[int], list[float]]:
    similarity = [float(np.float64(row) @ np.float64(query)) for row in rows]
    order = sorted(np.flatnonzero(allowed).tolist(), key=lambda row: (-similarity[row], row))
    return order[:top], [similarity[row] for row in order[:top]]


@pytest.mark.parametrize("dim", [1, 6, 256])
@pytest.mark.parametrize("top", [1, 10, 499, 500, 1000])
def test_equals_a_sort_of_all_inner_products(dim: int, top: int) -> None:
    rng = np.random.default_rng(dim)
    rows, query = unit_rows(rng, 500, dim), unit_rows(rng, 1, dim)[0]
    allowed = rng.random(500) < 0.7
    for mask in (None, allowed):
        found, similarity = nearest(rows, query, top, mask)
        everybody = np.ones(500, dtype=bool)
        expected = sorted_in_float64(rows, query, top, everybody if mask is None else mask)
        assert found.tolist() == expected[0]
        assert similarity.tolist() == pytest.approx(expected[1], abs=1e-12)


def test_equal_similarities_come_by_row_also_at_the_cut() -> None:
    rng = np.random.default_rng(0)
    rows = unit_rows(rng, 1, 256).repeat(1000, axis=0)
    found, similarity = nearest(rows, rows[0], 7)
    assert found.tolist() == list(range(7))
    assert len(set(similarity.tolist())) == 1


def test_differences_below_float32_decide() -> None:
    rows = np.array([[1, 0], [1, 2**-13]], dtype=np.float32)  # products differ by 2**-26
    query = np.array([1, 2**-13], dtype=np.float32)
    assert nearest(rows, query, 1)[0].tolist() == [1]


@pytest.mark.parametrize(
    ("n", "allowed"),
    [
        (0, None),  # an empty archive
        (3, np.zeros(3, dtype=bool)),  # a filter that nobody passes
    ],
)
def test_nobody_to_find(n: int, allowed: np.ndarray | None) -> None:
    rng = np.random.default_rng(0)
    found, similarity = nearest(unit_rows(rng, n), unit_rows(rng, 1)[0], 5, allowed)
    assert (len(found), len(similarity)) == (0, 0)
