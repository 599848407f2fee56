import numpy as np
import pytest

from fake.photos import unit_rows
from fdps.search.query.codes import UNIT_ROUNDOFF, Codes
from fdps.search.query.ranking import (
    nearest,
    nearest_and_counts,
    rounding_bound,
    similarity_counts,
)


def sorted_in_float64(
    rows: np.ndarray, query: np.ndarray, top: int, allowed: np.ndarray
) -> tuple[list[int], list[float]]:
    similarity = [float(np.float64(row) @ np.float64(query)) for row in rows]
    order = sorted(np.flatnonzero(allowed).tolist(), key=lambda row: (-similarity[row], row))
    return order[:top], [similarity[row] for row in order[:top]]


def in_blocks(rows: np.ndarray, n_per_block: int) -> list[np.ndarray]:
    return [rows[start : start + n_per_block] for start in range(0, len(rows), n_per_block)]


@pytest.mark.long
@pytest.mark.parametrize("n_per_block", [1, 7, 64, 500])
@pytest.mark.parametrize("dim", [1, 6, 256])
@pytest.mark.parametrize("top", [1, 10, 499, 500, 1000])
def test_equals_a_sort_of_all_inner_products(n_per_block: int, dim: int, top: int) -> None:
    rng = np.random.default_rng(dim)
    rows, queries = unit_rows(rng, 500, dim), unit_rows(rng, 3, dim)
    everybody = np.ones(500, dtype=bool)
    most, few = rng.random(500) < 0.7, rng.random(500) < 0.05
    for mask in (None, most, few, np.arange(500) < 250):
        best = nearest(in_blocks(rows, n_per_block), queries, top, mask)
        for query, (found, similarity) in zip(queries, best, strict=True):
            expected = sorted_in_float64(rows, query, top, everybody if mask is None else mask)
            assert found.tolist() == expected[0]
            assert similarity.tolist() == pytest.approx(expected[1], abs=1e-12)


@pytest.mark.parametrize("order", [1, -1])  # the best come last: every block beats those before
def test_rows_in_the_order_of_similarity(order: int) -> None:
    rng = np.random.default_rng(0)
    rows, query = unit_rows(rng, 500), unit_rows(rng, 1)
    rows = rows[np.argsort(rows @ query[0])[::order]]
    (best,) = nearest(in_blocks(rows, 50), query, 70)
    assert best.rows.tolist() == sorted_in_float64(rows, query[0], 70, np.ones(500, bool))[0]


def test_more_queries_than_one_pass_takes() -> None:
    rng = np.random.default_rng(0)
    rows, queries = unit_rows(rng, 300), unit_rows(rng, 150)
    together = nearest(in_blocks(rows, 90), queries, 5)
    for query, best in zip(queries, together, strict=True):
        (alone,) = nearest([rows], query[np.newaxis], 5)
        assert best.rows.tolist() == alone.rows.tolist()
        assert best.similarities.tolist() == alone.similarities.tolist()


@pytest.mark.parametrize("n_per_block", [3, 100, 1000])
def test_equal_similarities_come_by_row_also_at_the_cut(n_per_block: int) -> None:
    rng = np.random.default_rng(0)
    rows = unit_rows(rng, 1, 256).repeat(1000, axis=0)
    (best,) = nearest(in_blocks(rows, n_per_block), rows[:1], 7)
    assert best.rows.tolist() == list(range(7))
    assert len(set(best.similarities.tolist())) == 1


@pytest.mark.parametrize("n_per_block", [1, 2])
def test_differences_below_float32_decide(n_per_block: int) -> None:
    rows = np.array([[1, 0], [1, 2**-13]], dtype=np.float32)  # products differ by 2**-26
    query = np.array([[1, 2**-13]], dtype=np.float32)
    assert nearest(in_blocks(rows, n_per_block), query, 1)[0].rows.tolist() == [1]


@pytest.mark.parametrize("dim", [1, 6, 256, 2048])
def test_the_bound_holds_for_the_worst_order_of_addition(dim: int) -> None:
    rng = np.random.default_rng(dim)
    rows, query = np.abs(unit_rows(rng, 200, dim)), np.abs(unit_rows(rng, 1, dim)[0])
    rough = np.zeros(200, dtype=np.float32)
    for column in range(dim):  # one after the other, nothing cancels
        rough += rows[:, column] * query[column]
    true = rows.astype(np.float64) @ query.astype(np.float64)
    error = np.abs(rough - true).max()
    assert error <= rounding_bound(dim)
    assert dim * UNIT_ROUNDOFF <= rounding_bound(dim) <= 1.01 * dim * UNIT_ROUNDOFF


@pytest.mark.parametrize(
    ("n", "allowed"),
    [
        (0, None),  # an empty archive
        (3, np.zeros(3, dtype=bool)),  # a filter that nobody passes
    ],
)
def test_nobody_to_find(n: int, allowed: np.ndarray | None) -> None:
    rng = np.random.default_rng(0)
    (best,) = nearest(in_blocks(unit_rows(rng, n), 2), unit_rows(rng, 1), 5, allowed)
    assert (len(best.rows), len(best.similarities)) == (0, 0)


@pytest.mark.long
@pytest.mark.parametrize("n_per_block", [7, 500])
def test_counting_beside_the_search_changes_neither(n_per_block: int) -> None:
    rng = np.random.default_rng(2)
    rows, queries = unit_rows(rng, 500), unit_rows(rng, 70)
    blocks = in_blocks(rows, n_per_block)
    for mask in (None, rng.random(500) < 0.7, rng.random(500) < 0.05, np.zeros(500, bool)):
        found, counts = nearest_and_counts(blocks, queries, 9, 20, mask)
        for one, alone in zip(found, nearest(blocks, queries, 9, mask), strict=True):
            assert one.rows.tolist() == alone.rows.tolist()
            assert one.similarities.tolist() == alone.similarities.tolist()
        apart = similarity_counts(blocks, queries, 20, mask)
        assert counts.sum(axis=1).tolist() == apart.sum(axis=1).tolist()
        assert np.abs(counts - apart).sum() <= 4  # a float32 product at a border
        products = queries.astype(np.float64) @ rows.astype(np.float64).T
        allowed = np.ones(500, bool) if mask is None else mask
        expected, _ = np.histogram(products[0][allowed], 20, (-1, 1))
        assert np.abs(counts[0] - expected).sum() <= 2


def test_no_query_no_answer() -> None:
    rng = np.random.default_rng(0)
    assert nearest([unit_rows(rng, 3)], unit_rows(rng, 0), 5) == []


@pytest.mark.parametrize("n_coded", [1, 3, 8])
@pytest.mark.parametrize("n_queries", [1, 2, 3])
@pytest.mark.parametrize("kind", ["any direction", "clusters", "equal"])
def test_codes_change_no_bit_of_the_hits(kind: str, n_queries: int, n_coded: int) -> None:
    rng = np.random.default_rng(n_coded)
    rows, queries = unit_rows(rng, 800, 64), unit_rows(rng, n_queries, 64)
    if kind == "clusters":
        near = rows[rng.integers(0, 3, 800)] + 0.01 * rows
        rows = near / np.linalg.norm(near, axis=1, keepdims=True)
        queries = rows[:n_queries]
    if kind == "equal":
        rows = rows[:1].repeat(800, axis=0)
    blocks = in_blocks(rows, 100)
    codes = [Codes.of(block) for block in blocks[:n_coded]]
    most, few = rng.random(800) < 0.7, rng.random(800) < 0.05
    for mask in (None, most, few, np.zeros(800, dtype=bool)):
        for top in (1, 10, 799, 900):
            plain = nearest(blocks, queries, top, mask)
            coded = nearest(blocks, queries, top, mask, codes)
            for one, other in zip(plain, coded, strict=True):
                assert one.rows.tolist() == other.rows.tolist()
                assert one.similarities.tobytes() == other.similarities.tobytes()


def test_counts_by_codes_are_those_of_neighbouring_bins() -> None:
    rng = np.random.default_rng(0)
    rows, queries = unit_rows(rng, 3000, 256), unit_rows(rng, 2, 256)
    blocks = in_blocks(rows, 1000)
    _, plain = nearest_and_counts(blocks, queries, 5, 40)
    best, coded = nearest_and_counts(
        blocks, queries, 5, 40, codes=[Codes.of(block) for block in blocks]
    )
    assert coded.sum(axis=1).tolist() == [3000, 3000]
    # Whoever is counted in another bin is counted in the next one.
    moved = np.cumsum(plain - coded, axis=1)
    assert np.abs(moved).max() < 0.02 * 3000
    for one, other in zip(best, nearest(blocks, queries, 5), strict=True):
        assert one.rows.tolist() == other.rows.tolist()
