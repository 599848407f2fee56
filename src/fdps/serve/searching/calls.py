"""Calls of a store that come together: those of one kind and with the same filters are one.

This is what the process of an archive does, so nothing is imported here that it does not need.

Axes in shapes: D embedding dimension, Q queries.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from fdps.search.index import Index
from fdps.search.store import Filters, Store

N_FINE = 200
"""Bins of similarity that are counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a store.

    Args:
        kind: Which call.
        row: The embedding, (1, D).
        top: Number of results.
        filters: Conditions.
    """

    kind: Literal["people", "people and spread", "appearances", "spread"]
    row: Float32[np.ndarray, "1 D"]
    top: int
    filters: Filters


def answer_calls(index: Index, calls: Sequence[Call]) -> list[Any]:
    """Answer calls; where one fails, its answer is the error.

    Every call gets to the last bit what it would get alone, because the rows that a product in
    float32 lets through are compared in float64, each by itself.

    Returns:
        Of ``people`` the hits, of ``appearances`` the appearances, best first; of ``spread`` the
        number of people in each of :data:`N_FINE` bins; of ``people and spread`` both.
    """
    together: dict[tuple[str, Filters], list[int]] = defaultdict(list)
    for number, call in enumerate(calls):
        together[call.kind, call.filters].append(number)
    answers: list[Any] = [None] * len(calls)
    for (kind, filters), numbers in together.items():
        rows = np.concatenate([calls[number].row for number in numbers])
        try:
            found = _one_call(index.store, kind, rows, max(calls[n].top for n in numbers), filters)
        except Exception as error:
            found = [error] * len(numbers)
        for number, of_query in zip(numbers, found, strict=True):
            answers[number] = _shortened(of_query, calls[number].top)
    return answers


def _shortened(told: Any, top: int) -> Any:
    """The best few of a longer list are the list of the best few."""
    if isinstance(told, tuple):
        hits, counts = told
        return hits[:top], counts
    return told[:top] if isinstance(told, list) else told


def _one_call(store: Store, kind: str, rows: np.ndarray, top: int, filters: Filters) -> list[Any]:
    if kind == "people":
        return list(store.search(rows, top=top, filters=filters))
    if kind == "appearances":
        return list(store.search_appearances(rows, top=top, filters=filters))
    if kind == "spread":
        return list(store.spread(rows, n_bins=N_FINE, filters=filters))
    hits, counts = store.search_and_spread(rows, top=top, n_bins=N_FINE, filters=filters)
    return list(zip(hits, counts, strict=True))
