"""Run one search: the hits of a query in the order asked for, or its appearances.

Re-ranking changes the order only. The similarities stay those of the query, so that levels keep
their meaning.

Axes in shapes: H hits, D embedding dimension.
"""

from collections.abc import Set
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Int64

from fdps.errors import UsageError
from fdps.search.query.wanted import Wanted, unit_rows
from fdps.search.store import Appearance, Filters, Searchable
from fdps.structures import Hit

Rerank = Literal["", "expansion", "k-reciprocal"]
"""Orders of hits: by similarity; by similarity to the query and its best hit together (Chum et al.,
"Total recall", ICCV 2007); by common neighbours (Zhong et al., CVPR 2017)."""

SHORTLIST = 100
"""Number of hits whose pairs k-reciprocal re-ranking looks at; later hits keep their place."""


def check_rerank(name: str) -> None:
    """Refuse a name that is not one of a re-ranking.

    Raises:
        UsageError: No re-ranking has this name.
    """
    if name not in get_args(Rerank):
        names = ", ".join(filter(None, get_args(Rerank)))
        raise UsageError(f"no re-ranking is called {name!r}", hint=f"there are: {names}")


def find(
    store: Searchable,
    wanted: Wanted,
    top: int,
    *,
    filters: Filters,
    rerank: str = "",
    known: Set[int] = frozenset(),
) -> list[Hit]:
    """Find the best hits of one query.

    Args:
        store: The archive.
        wanted: The person to look for.
        top: Number of results wanted.
        filters: Conditions on the people to look at.
        rerank: One of :data:`Rerank`.
        known: Items left out of the results, because the query was made of them.

    Raises:
        UsageError: ``top`` is below 1, the embedding does not fit the archive, or ``rerank`` is
            unknown.
    """
    check_rerank(rerank)
    depth = max(top, SHORTLIST) if rerank == "k-reciprocal" else top
    hits = _search(store, wanted, depth, filters, known)
    if not rerank or not hits:
        return hits[:top]
    if rerank == "k-reciprocal":
        return _by_neighbours(store, wanted, hits)[:top]
    best = store.people([hits[0].item])
    if not best:  # it was removed meanwhile
        return hits
    both = Wanted.of(np.stack([wanted.direction, best[0].embedding]))
    return _as_similar_to(store, wanted, _search(store, both, top, filters, known))


def find_appearances(
    store: Searchable, wanted: Wanted, top: int, *, filters: Filters, known: Set[int] = frozenset()
) -> list[Appearance]:
    """Find the best appearances of one query.

    Args:
        store: The archive.
        wanted: The person to look for.
        top: Number of results wanted.
        filters: Conditions on the people to look at.
        known: Items of which the query was made; appearances that include them are left out.

    Raises:
        UsageError: ``top`` is below 1, the embedding does not fit the archive, or this process may
            not hold what the search takes.
    """
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


def _search(
    store: Searchable, wanted: Wanted, top: int, filters: Filters, known: Set[int]
) -> list[Hit]:
    if top < 1:
        raise UsageError(f"top must be at least 1, got {top}")
    rows = wanted.direction[np.newaxis]
    (hits,) = store.search(rows, top=top + len(known), filters=filters)
    unknown = [hit for hit in hits if hit.item not in known][:top]
    if wanted.length == 1.0:
        return unknown
    return [replace(hit, similarity=hit.similarity * wanted.length) for hit in unknown]


def _by_neighbours(store: Searchable, wanted: Wanted, hits: list[Hit]) -> list[Hit]:
    embeddings = {p.item: p.embedding for p in store.people([h.item for h in hits[:SHORTLIST]])}
    short = [hit for hit in hits[:SHORTLIST] if hit.item in embeddings]
    rows = unit_rows([embeddings[hit.item] for hit in short], len(wanted.direction))
    order = reciprocal_order(wanted, rows).tolist()
    return [short[place] for place in order] + hits[SHORTLIST:]


def reciprocal_order(
    wanted: Wanted, embeddings: Float32[np.ndarray, "H D"]
) -> Int64[np.ndarray, " H"]:
    """Order hits, best first, by the distance of k-reciprocal re-ranking.

    Args:
        wanted: The query.
        embeddings: Embeddings of its hits, best first; of equal distances the better hit comes
            first.
    """
    from fdps.evaluation.protocols import RerankOptions
    from fdps.evaluation.reranking.reciprocal import k_reciprocal_distance

    rows = np.concatenate([wanted.direction[None], embeddings]).astype(np.float64)
    distance = k_reciprocal_distance(rows @ rows.T, RerankOptions())[1:]
    return np.argsort(distance, kind="stable")


def _as_similar_to(store: Searchable, wanted: Wanted, hits: list[Hit]) -> list[Hit]:
    """Return the same hits, with their similarity to the query itself."""
    people = {person.item: person for person in store.people([hit.item for hit in hits])}
    there = [hit for hit in hits if hit.item in people]
    rows = unit_rows([people[hit.item].embedding for hit in there], len(wanted.direction))
    similarities = wanted.similarity(rows).tolist()
    return [replace(h, similarity=s) for h, s in zip(there, similarities, strict=True)]
