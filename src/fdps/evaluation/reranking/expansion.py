"""Average query expansion: a query becomes the mean of itself and its best hits.

Source: Chum et al., "Total recall: automatic query expansion with a generative feature model for
object retrieval", ICCV 2007, in the plain form without spatial verification.

Axes: B queries, N detections of the set, D embedding dimension.
"""

import numpy as np
from jaxtyping import Float, Float64

from fdps.evaluation.ranking import best_columns, rank_table
from fdps.evaluation.table import Table


def expanded_queries(
    queries: Float[np.ndarray, "B D"],
    table: Table,
    embeddings: Float64[np.ndarray, "N D"],
    n_hits: int,
) -> Float64[np.ndarray, "B D"]:
    """Average each query with its ``n_hits`` best gallery detections.

    Nobody's identity is looked at: a wrong hit is averaged like a right one.

    Returns:
        Unit rows.
    """
    rows, _, columns = best_columns(rank_table(table.similarity), n_hits)
    total = queries.astype(np.float64)
    np.add.at(total, rows, embeddings[table.detections(rows, columns)])
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.where(length > 0, length, 1.0))
