"""Exact search on Milvus: it provides the candidates, and their order is computed here.

Axes in shapes: Q queries, K candidates, D embedding dimension.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from fdps.search.milvus.collections import BOX, PAGE, STRONG, GlobPatterns, filter_conditions
from fdps.search.query.ranking import inner_products, rounding_bound
from fdps.search.store import ArchivedPerson, Filters
from fdps.structures import Hit

if TYPE_CHECKING:
    from pymilvus import MilvusClient

DEEPEST = 16_384  # most results that Milvus gives in one search
MARGIN = 32  # candidates beyond those wanted, so that the error bound seldom asks for more
ANSWER_BYTES = 2**25
FIELDS = ["item", "name", "source", *BOX, "score", "embedding"]

Row = dict[str, Any]


def search_everybody(
    client: "MilvusClient",
    collection: str,
    counting: str,
    embeddings: Float32[np.ndarray, "Q D"],
    top: int,
    filters: Filters,
) -> list[list[Hit]]:
    """Find the most similar people among those who count and pass the filters.

    Milvus gives its best by float32 products. If the last of them is so far below the last place
    wanted that the error bound cannot bring anybody beyond it back, the best are among them;
    otherwise more are asked for, four times as many each time. Where that ends (thousands of people
    are alike), or where more are wanted than Milvus gives, all people who pass are read.

    Args:
        client: A client that is connected.
        collection: Name of the collection of people.
        counting: Expression for the people who count.
        embeddings: Rows of unit length.
        top: Number of results wanted, at least 1.
        filters: Conditions on the people to look at.
    """
    condition = " and ".join([counting, *filter_conditions(filters)])
    found: dict[int, list[Hit]] = {}
    waiting = list(range(len(embeddings)))
    depth = min(top + MARGIN, DEEPEST)
    with GlobPatterns(filters) as patterns:
        while waiting and top < DEEPEST:
            answers = _best_by_milvus(client, collection, condition, embeddings[waiting], depth)
            for number, answer in zip(waiting, answers, strict=True):
                passing = [row for row in answer if patterns.fit(row)]
                if len(answer) < depth or _is_deep_enough(passing, answer, top, len(embeddings[0])):
                    found[number] = _ranked(passing, embeddings[number], top)
            waiting = [number for number in waiting if number not in found]
            if depth == DEEPEST:
                break
            depth = min(4 * depth, DEEPEST)
        if waiting:
            everybody = _best_of_all(
                client, collection, condition, embeddings[waiting], top, patterns
            )
            found |= dict(zip(waiting, everybody, strict=True))
    return [found[number] for number in range(len(embeddings))]


def count_people(client: "MilvusClient", collection: str, counting: str, filters: Filters) -> int:
    """Return how many of the people who count pass the filters.

    Args:
        client: A client that is connected.
        collection: Name of the collection of people.
        counting: Expression for the people who count.
        filters: Conditions on the people to count.
    """
    condition = " and ".join([counting, *filter_conditions(filters)])
    if not (filters.scenes or filters.source):
        (row,) = client.query(
            collection, filter=condition, output_fields=["count(*)"], consistency_level=STRONG
        )
        return int(row["count(*)"])
    pages = client.query_iterator(
        collection,
        filter=condition,
        batch_size=PAGE,
        output_fields=["name", "source"],
        consistency_level=STRONG,
    )
    n_people = 0
    try:
        with GlobPatterns(filters) as patterns:
            while rows := pages.next():
                n_people += sum(map(patterns.fit, rows))
    finally:
        pages.close()
    return n_people


def _best_by_milvus(
    client: "MilvusClient", collection: str, condition: str, queries: np.ndarray, depth: int
) -> list[list[Row]]:
    """Return rows with their approximate similarity, highest first."""
    row_bytes = 4 * queries.shape[1] + 500
    n_at_once = max(1, ANSWER_BYTES // (depth * row_bytes))
    answers: list[list[Row]] = []
    for start in range(0, len(queries), n_at_once):
        part = client.search(
            collection,
            data=queries[start : start + n_at_once].tolist(),
            anns_field="embedding",
            limit=depth,
            filter=condition,
            output_fields=FIELDS,
            search_params={"metric_type": "IP"},
            consistency_level=STRONG,
        )
        answers += [[{**hit["entity"], **_key(hit)} for hit in answer] for answer in part]
    return answers


def _key(hit: Any) -> Row:
    return {"item": int(hit["item"]), "rough": float(hit["distance"])}


def _is_deep_enough(passing: list[Row], answer: list[Row], top: int, dim: int) -> bool:
    if len(passing) < top:
        return False
    last = float(passing[top - 1]["rough"])
    return bool(answer[-1]["rough"] < last - 2 * rounding_bound(dim))


def _ranked(rows: list[Row], query: np.ndarray, top: int) -> list[Hit]:
    if not rows:
        return []
    embeddings = np.array([row["embedding"] for row in rows], dtype=np.float32)
    similarities = inner_products(embeddings, query)
    order = np.lexsort(([row["item"] for row in rows], -similarities))[:top]
    return [_hit(rows[place], float(similarities[place])) for place in order.tolist()]


def archived_person(row: Row) -> ArchivedPerson:
    """Make a person from a row with :data:`FIELDS`."""
    return ArchivedPerson(
        item=row["item"],
        scene=row["name"],
        box=np.array([row[side] for side in BOX], dtype=np.float32),
        score=row["score"],
        embedding=np.array(row["embedding"], dtype=np.float32),
    )


def _hit(row: Row, similarity: float) -> Hit:
    return Hit(
        scene=row["name"],
        box=np.array([row[side] for side in BOX], dtype=np.float32),
        similarity=similarity,
        score=row["score"],
        item=row["item"],
    )


def _best_of_all(
    client: "MilvusClient",
    collection: str,
    condition: str,
    queries: np.ndarray,
    top: int,
    patterns: GlobPatterns,
) -> list[list[Hit]]:
    best: list[list[Hit]] = [[] for _ in queries]
    pages = client.query_iterator(
        collection,
        filter=condition,
        batch_size=PAGE,
        output_fields=FIELDS,
        consistency_level=STRONG,
    )
    try:
        while rows := pages.next():
            passing = [row for row in rows if patterns.fit(row)]
            for number, query in enumerate(queries):
                merged = best[number] + _ranked(passing, query, top)
                merged.sort(key=lambda hit: (-hit.similarity, hit.item))
                best[number] = merged[:top]
    finally:
        pages.close()
    return best
