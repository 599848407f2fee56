import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from fdps.evaluation.ranking import (
    average_precision,
    average_precisions,
    best_columns,
    first_matches,
    rank_table,
)

# One list in plain words; the evaluator ranks a table of them at once.


def first_match(similarity: np.ndarray, is_match: np.ndarray) -> int:
    """Rank of the best match from 1, the later of tied entries first; 0 without a match."""
    rising = np.argsort(similarity, kind="stable")
    right = np.flatnonzero(is_match[rising[::-1]])
    return int(right[0]) + 1 if len(right) else 0


def best_entries(similarity: np.ndarray, n: int) -> np.ndarray:
    """The best entries, best first, the later of tied entries first."""
    return np.argsort(similarity, kind="stable")[::-1][:n]


LISTS = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=30)


def test_by_hand() -> None:
    # Ranks of the matches: 1, 3; a third relevant scene was not found: (1/1 + 2/3) / 3.
    similarity = np.array([0.2, 0.9, 0.5, -0.3])
    is_match = np.array([True, True, False, False])
    assert average_precision(similarity, is_match, 3) == pytest.approx(5 / 9)


def test_tied_entries_share_their_precision() -> None:
    # Both tied entries are taken at once: one of two is right.
    assert average_precision(np.array([0.5, 0.5]), np.array([True, False]), 1) == 0.5


@settings(max_examples=100, deadline=None)
@given(entries=LISTS, missed=st.integers(0, 3))
def test_equals_scikit_learn_times_recall(entries: list[tuple[int, bool]], missed: int) -> None:
    similarity = np.array([s for s, _ in entries]) / 5
    is_match = np.array([m for _, m in entries])
    n_found = int(is_match.sum())
    n_relevant = max(n_found + missed, 1)
    expected = 0.0
    if n_found:
        expected = average_precision_score(is_match, similarity) * n_found / n_relevant
    assert average_precision(similarity, is_match, n_relevant) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(entries=LISTS)
def test_only_the_order_counts(entries: list[tuple[int, bool]]) -> None:
    similarity = np.array([float(s) for s, _ in entries])
    is_match = np.array([m for _, m in entries])
    n = max(int(is_match.sum()), 1)
    moved = np.exp(similarity) - 100
    assert average_precision(moved, is_match, n) == average_precision(similarity, is_match, n)


def test_an_empty_gallery_scores_nothing() -> None:
    nothing, nobody = np.zeros(0), np.zeros(0, dtype=np.bool_)
    assert average_precision(nothing, nobody, 2) == 0


@pytest.mark.parametrize("n_relevant", [0, 1])
def test_fewer_relevant_than_matches_is_a_mistake(n_relevant: int) -> None:
    with pytest.raises(ValueError, match=f"2 matches, got {n_relevant}"):
        average_precision(np.array([0.1, 0.2]), np.array([True, True]), n_relevant)


@pytest.mark.parametrize(
    ("similarity", "is_match", "rank"),
    [
        ([0.1, 0.9, 0.5], [True, False, False], 3),
        ([0.1, 0.9, 0.5], [False, False, True], 2),
        ([0.5, 0.5, 0.5], [True, False, False], 3),  # of tied entries the last ranks first
        ([0.5, 0.5, 0.5], [True, False, True], 1),
        ([0.5, 0.4], [False, False], 0),
    ],
)
def test_first_match(similarity: list[float], is_match: list[bool], rank: int) -> None:
    right = np.array([is_match])
    table = rank_table(np.array([similarity], dtype=np.float32))
    rows, columns = np.nonzero(right)
    values = table.similarity[rows, columns]
    assert first_matches(table, right, rows, values, wrong_first=False).tolist() == [rank]
    assert first_match(np.array(similarity), right[0]) == rank


@settings(max_examples=60, deadline=None)
@given(lists=st.lists(LISTS, min_size=1, max_size=6), n=st.integers(1, 12))
def test_many_lists_at_once_give_what_each_gives_alone(
    lists: list[list[tuple[int, bool]]], n: int
) -> None:
    width = max(map(len, lists))
    similarity = np.full((len(lists), width), -np.inf, dtype=np.float32)
    is_match = np.zeros(similarity.shape, dtype=np.bool_)
    for row, entries in enumerate(lists):
        similarity[row, : len(entries)] = [s for s, _ in entries]
        is_match[row, : len(entries)] = [m for _, m in entries]
    rows, columns = np.nonzero(is_match)
    values, ranks = similarity[rows, columns], rank_table(similarity)
    n_relevant = is_match.sum(axis=1) + 1
    aps = average_precisions(ranks, rows, values, n_relevant)
    first = first_matches(ranks, is_match, rows, values, wrong_first=False)
    worst = first_matches(ranks, is_match, rows, values, wrong_first=True)
    best_rows, places, best = best_columns(ranks, n)
    for row, entries in enumerate(lists):
        s, m = similarity[row, : len(entries)], is_match[row, : len(entries)]
        assert aps[row] == pytest.approx(average_precision(s, m, int(n_relevant[row])), abs=1e-12)
        assert first[row] == first_match(s, m)
        shown = m & (s == s[m].max(initial=-np.inf))
        expected = (s > s[m].max()).sum() + ((s == s[m].max()) & ~shown).sum() + 1 if m.any() else 0
        assert worst[row] == expected
        assert best[best_rows == row].tolist() == best_entries(s, n).tolist()
        assert places[best_rows == row].tolist() == list(range(min(n, len(entries))))
