"""Join several pictures of one person, and of other people, into one query.

Axes in shapes: K pictures of the person, R pictures of others, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64

from fdps.errors import UsageError
from fdps.search.store import ArchivedPerson, check_embeddings

UNLIKE_WEIGHT = 0.5
"""Weight of a similarity to somebody else, against the similarity to the person.

``benchmarks/feedback.py`` compares other values."""

_NO_DIRECTION = 1e-6


@runtime_checkable
class HasEmbedding(Protocol):
    """A person to look for, such as ``PersonSearcher.query`` or ``Index.person`` returns."""

    @property
    def embedding(self) -> Float32[np.ndarray, " D"]:
        """The embedding of the person, of unit length."""


Person = HasEmbedding | Float[np.ndarray, " D"]
"""A person to look for: a query, or the embedding itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """The person to look for, as one direction in the space of embeddings.

    The inner product with the sum ``mean(like) - weight * mean(unlike)`` is the mean similarity to
    the pictures of the person, less ``weight`` times the mean similarity to the others; so one
    exact search answers for all of them (Rocchio, "Relevance feedback in information retrieval",
    1971). Nothing is inflated: with one picture it is the plain similarity, with more it is at most
    the greatest of theirs.

    Args:
        direction: Direction of the sum, of unit length.
        length: Length of the sum.
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
        """Join rows of unit length.

        Raises:
            UsageError: There is no picture of the person, or the rows cancel out.
        """
        if len(like) == 0:
            raise UsageError("nobody to look for", hint="give at least one picture of the person")
        is_refused = unlike is not None and len(unlike) > 0
        if len(like) == 1 and not is_refused:
            return cls(like[0].astype(np.float32), 1.0)  # exact to the last bit
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
        """Return the similarity of other people, as a search would tell it."""
        return np.asarray(embeddings.astype(np.float64) @ self.direction) * self.length


def wanted_people(
    query: Person | Sequence[Person], unlike: Sequence[Person], dim: int
) -> tuple[Wanted, set[int]]:
    """Return whom to look for, and the items of the archive that are part of the question.

    Args:
        query: One person, or several pictures of one person.
        unlike: People who are somebody else.
        dim: D of the archive, the length of an embedding.

    Raises:
        UsageError: An embedding does not fit the archive; or as for :meth:`Wanted.of`.
    """
    like = [query] if isinstance(query, np.ndarray | HasEmbedding) else list(query)
    groups = []
    for people in (like, unlike):
        rows = [p if isinstance(p, np.ndarray) else p.embedding for p in people]
        for row in rows:
            check_embeddings(row[np.newaxis], dim)
        groups.append(unit_rows(rows, dim))
    same, others = (
        {p.item for p in people if isinstance(p, ArchivedPerson)} for people in (like, unlike)
    )
    if both := same & others:
        raise UsageError(
            f"item {min(both)} cannot be the person and somebody else", hint="name it once"
        )
    return Wanted.of(*groups), same | others


def unit_rows(embeddings: Sequence[Float[np.ndarray, " D"]], dim: int) -> np.ndarray:
    """Stack embeddings as rows of float32; without embeddings there is no row."""
    rows = [np.asarray(embedding, dtype=np.float32) for embedding in embeddings]
    return np.stack(rows) if rows else np.zeros((0, dim), dtype=np.float32)
