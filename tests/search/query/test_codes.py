"""Rows in eight bits: what they are, and that no product is further from the true one than said."""

import numpy as np
import pytest

from fdps.search.query.codes import LARGEST, Codes

DIM = 256


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def directions(n: int, *, kind: str, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """Unit rows that are easy and that are hard to code."""
    rng = np.random.default_rng(seed)
    if kind == "clusters":
        centres = rng.normal(size=(5, dim))
        return unit(centres[rng.integers(0, 5, n)] + 0.02 * rng.normal(size=(n, dim)))
    if kind == "few large numbers":
        return unit(rng.normal(size=(n, dim)) ** 7)
    if kind == "one number":
        rows = np.zeros((n, dim))
        rows[np.arange(n), rng.integers(0, dim, n)] = rng.choice([-1.0, 1.0], n)
        return unit(rows)
    return unit(rng.normal(size=(n, dim)))


KINDS = ["any direction", "clusters", "few large numbers", "one number"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_code_leaves_out_is_measured(kind: str) -> None:
    rows = directions(5000, kind=kind)
    coded = Codes.of(rows)
    left = rows.astype(np.float64) - coded.steps[:, None] * coded.codes
    lengths = np.linalg.norm(left, axis=1)
    assert lengths.max() <= coded.left_out <= lengths.max() + 1e-5
    assert np.abs(coded.codes).max(axis=1).tolist() == [LARGEST] * len(rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [1, 3, 64, 256, 2048])
def test_products_are_as_near_as_they_say(kind: str, dim: int) -> None:
    rows, queries = (directions(n, kind=kind, seed=n, dim=dim) for n in (700, 4))
    rough, error = Codes.of(rows).products(Codes.of(queries))
    true = queries.astype(np.float64) @ rows.astype(np.float64).T
    assert (np.abs(rough - true) <= error).all()
    if dim == DIM and kind == "any direction":
        assert error < 0.03  # tight enough to be of use


def test_products_are_those_of_whole_numbers() -> None:
    rows = Codes.of(directions(300, kind="few large numbers"))
    query = Codes.of(directions(1, kind="few large numbers", seed=9))
    whole = query.codes.astype(np.int64) @ rows.codes.astype(np.int64).T
    expected = whole * rows.steps * query.steps[:, None]
    assert np.array_equal(rows.products(query).rough, expected)


def test_zeros_and_nobody() -> None:
    zeros = Codes.of(np.zeros((2, 8), dtype=np.float32))
    assert not zeros.codes.any()
    assert not zeros.products(zeros).rough.any()
    nobody = Codes.of(np.zeros((0, 8), dtype=np.float32))
    assert nobody.products(zeros).rough.shape == (2, 0)
