"""Several pictures of one person, and of others who are somebody else, as one query.

Axes in shapes: K pictures of the person, R of others, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from fdps.errors import UsageError

UNLIKE_WEIGHT = 0.5
"""How much a similarity to somebody else counts against the similarity to the person.

``benchmarks/feedback.py`` compares other values."""

_NO_DIRECTION = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Whom to look for, as one direction in the space of embeddings.

    The inner product with the sum ``mean(like) - weight * mean(unlike)`` is the mean similarity to
    the pictures of the person, less ``weight`` times the mean similarity to the others; so one
    exact search answers for all of them (Rocchio, "Relevance feedback in information retrieval",
    1971). Nothing is inflated: with one picture it is the plain similarity, with more it is at most
    the greatest of theirs.

    Args:
        direction: Of the sum, unit length.
        length: Of the sum.
    """

    direction: Float32[np.ndarray, " D"]
    length: float

    @classmethod
    def of(
        cls,
        like: Float[np.ndarray, "K D"],
        unlike: Float[np.ndarray, "R D"] | None = None,
        *,
        weight: float = UNLIKE_WEIGHT,
    ) -> "Wanted":
        """Join unit rows.

        Raises:
            UsageError: There is no picture of the person, or the rows cancel out.
        """
        if len(like) == 0:
            raise UsageError("nobody to look for", hint="give at least one picture of the person")
        is_refused = unlike is not None and len(unlike) > 0
        if len(like) == 1 and not is_refused:
            return cls(like[0].astype(np.float32), 1.0)  # to the last bit
        total = like.astype(np.float64).mean(axis=0)
        if unlike is not None and is_refused:
            total = total - weight * unlike.astype(np.float64).mean(axis=0)
        length = float(np.linalg.norm(total))
        if length < _NO_DIRECTION:
            raise UsageError(
                "the pictures cancel out: those of the person and those of others are the same",
                hint="leave one of them out",
            )
        return cls((total / length).astype(np.float32), length)

    def similarity(self, embeddings: Float[np.ndarray, "N D"]) -> Float64[np.ndarray, " N"]:
        """Of other people, as a search would tell it."""
        return np.asarray(embeddings.astype(np.float64) @ self.direction) * self.length


def unit_rows(embeddings: Sequence[Float[np.ndarray, " D"]], dim: int) -> np.ndarray:
    """Embeddings as rows of float32; none gives no row."""
    rows = [np.asarray(embedding, dtype=np.float32) for embedding in embeddings]
    return np.stack(rows) if rows else np.zeros((0, dim), dtype=np.float32)
