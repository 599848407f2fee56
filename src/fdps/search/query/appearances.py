"""One search for appearances from beginning to end."""

from collections.abc import Set
from dataclasses import replace

import numpy as np

from fdps.errors import UsageError
from fdps.search.query.wanted import Wanted
from fdps.search.store import Appearance, Filters, Store, Tracks


def find_appearances(
    store: Store, wanted: Wanted, top: int, *, filters: Filters, known: Set[int] = frozenset()
) -> list[Appearance]:
    """The best appearances of one query.

    Args:
        store: The archive.
        wanted: Whom to look for.
        top: Results wanted.
        filters: Whom to look at.
        known: Items of which the query was made; appearances with them are no results.

    Raises:
        UsageError: ``top`` is below 1, the embedding does not fit the archive, or the archive does
            not know tracks.
    """
    if not isinstance(store, Tracks):
        raise UsageError(
            "an archive of this kind cannot search appearances",
            hint="search people instead, or index the videos into an archive in a folder",
        )
    if top < 1:
        raise UsageError(f"top must be at least 1, got {top}")
    rows = wanted.direction[np.newaxis]
    (found,) = store.search_appearances(rows, top=top + len(known), filters=filters)
    unknown = [appearance for appearance in found if known.isdisjoint(appearance.items)][:top]
    if wanted.length == 1.0:
        return unknown
    return [
        replace(
            appearance,
            similarity=appearance.similarity * wanted.length,
            best=replace(appearance.best, similarity=appearance.best.similarity * wanted.length),
        )
        for appearance in unknown
    ]
