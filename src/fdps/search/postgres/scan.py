"""Search without holding embeddings: the server compares with everybody, in parallel workers.

Axes in shapes: Q queries, K results, D embedding dimension.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from fdps.search.postgres.database import PostgresDatabase
from fdps.search.query.matrix import embedding_rows
from fdps.search.query.ranking import inner_products, rounding_bound
from fdps.search.sql.filters import filter_conditions
from fdps.search.sql.search import BestPeople
from fdps.search.store import EVERYBODY, Filters

MARGIN = 32  # people beyond those asked for, so that one request is nearly always enough


def scan(
    database: PostgresDatabase,
    embeddings: Float32[np.ndarray, "Q D"],
    top: int,
    filters: Filters,
) -> list[BestPeople]:
    """Find the people most similar to each query, as the archive in a folder does.

    pgvector computes products in float32. They only tell who cannot be among the best; similarities
    of the others are computed here in float64 and decide. Where nothing tells the last place from
    those behind it, twice as many are asked for.

    Args:
        database: Database within a read transaction.
        embeddings: Queries of unit length.
        top: Number of results wanted.
        filters: Conditions on the people to look at.
    """
    return [_scan_one(database, query, top, filters) for query in embeddings]


def _scan_one(
    database: PostgresDatabase, query: Float32[np.ndarray, " D"], top: int, filters: Filters
) -> BestPeople:
    bound, n_asked = rounding_bound(len(query)), top + MARGIN
    while True:
        rows = _roughly_nearest(database, query, n_asked, filters)
        items = np.array([row[0] for row in rows], dtype=np.int64)
        exact = inner_products(embedding_rows([row[1] for row in rows], len(query)), query)
        order = np.lexsort((items, -exact))[:top]
        best = BestPeople(items[order], exact[order])
        if len(rows) < n_asked or best.similarities[-1] > bound - rows[-1][2]:
            return best
        n_asked *= 2


def _roughly_nearest(
    database: PostgresDatabase, query: np.ndarray, n_wanted: int, filters: Filters
) -> list[tuple[Any, ...]]:
    """Return items, embeddings and negative products, best first."""
    tables, condition = "people", ""
    values: list[Any] = []
    if filters != EVERYBODY:
        tables = "scenes JOIN people ON scenes.id = people.scene_id"
        condition, values = filter_conditions(database, filters)
        condition = f"WHERE {condition}"
    return database.execute(
        f"SELECT people.id, embedding, embedding <#> CAST(? AS vector) AS negative FROM {tables} "
        f"{condition} ORDER BY negative LIMIT ?",
        (str(query.tolist()), *values, n_wanted),
    ).fetchall()


def scanned_counts(
    database: PostgresDatabase,
    embeddings: Float32[np.ndarray, "Q D"],
    n_bins: int,
    filters: Filters,
) -> Int64[np.ndarray, "Q _"]:
    """Count everybody who passes the filters by their similarity to each query.

    The products are those of float32: at the border of two bins a person may be counted in either.
    """
    condition, values = filter_conditions(database, filters)
    counts = np.zeros((len(embeddings), n_bins), dtype=np.int64)
    for of_query, query in zip(counts, embeddings, strict=True):
        rows = database.execute(
            "SELECT CAST(least(greatest(floor((1 - (embedding <#> CAST(? AS vector))) * ?), 0), ?) "
            "AS bigint) AS bin, count(*) FROM scenes JOIN people ON scenes.id = people.scene_id "
            f"WHERE {condition} GROUP BY bin",
            (str(query.tolist()), n_bins / 2, n_bins - 1, *values),
        )
        for number, n_people in rows:
            of_query[number] = n_people
    return counts
