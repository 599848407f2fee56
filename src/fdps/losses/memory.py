"""The memory of a re-identification loss: one row per identity, and recent people without one.

Everything here is a persistent buffer, so a checkpoint holds the whole memory, and everything
changes in ``update`` and nowhere else. Rows that were never written are zero.

Axes: N people in the batch, C embedding dimension, L identities, Q queue slots.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdps.structures import UNLABELLED


class LookupTable(nn.Module):
    """One running mean embedding per identity.

    ``rows`` (L, C) is float32 and starts at zero: such a row belongs to nobody yet.

    Args:
        n_persons: L, at least 1.
        dim: C, at least 1.
        momentum: How much of the old row stays at an update, in [0, 1).

    Raises:
        ValueError: An argument is outside its range.
    """

    rows: Tensor

    def __init__(self, n_persons: int, dim: int, momentum: float = 0.5) -> None:
        super().__init__()
        if n_persons < 1 or dim < 1:
            raise ValueError(f"n_persons and dim must be at least 1, got {n_persons} and {dim}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        self.momentum = momentum
        self.register_buffer("rows", torch.zeros(n_persons, dim, dtype=torch.float32))

    @torch.no_grad()
    def update(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        kept: Float[Tensor, " N"] | None = None,
    ) -> None:
        r"""Write the labelled people of a batch, one after the other in batch order.

        .. math:: v_t \leftarrow \frac{m v_t + (1 - m) x}{\lVert m v_t + (1 - m) x \rVert}

        Source: the update of OIM, with the row brought back to unit length. People without
        identity are passed over.

        Args:
            embeddings: Unit rows, any float dtype.
            person_ids: In 0..L-1, or ``UNLABELLED``.
            kept: The momentum of each person, in [0, 1); ``None`` takes that of the table.

        Raises:
            ValueError: An id is outside that range; nothing was written then.
        """
        check_person_ids(person_ids, len(self.rows))
        labelled = person_ids != UNLABELLED
        embeddings, person_ids = embeddings[labelled].to(self.rows.dtype), person_ids[labelled]
        shares = None if kept is None else kept[labelled].to(self.rows.dtype)[:, None]
        for turn in _turns(person_ids):
            row = person_ids[turn]
            m = self.momentum if shares is None else shares[turn]
            self.rows[row] = normalize(m * self.rows[row] + (1 - m) * embeddings[turn], dim=1)


class CircularQueue(nn.Module):
    """The latest people without identity; a new one overwrites the oldest.

    ``rows`` (Q, C) is float32 and starts at zero; ``pointer`` (int64) is the next slot to write.

    Args:
        size: Q; 0 remembers nobody.
        dim: C, at least 1.

    Raises:
        ValueError: An argument is outside its range.
    """

    rows: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 0 or dim < 1:
            raise ValueError(f"size must be at least 0 and dim at least 1, got {size} and {dim}")
        self.register_buffer("rows", torch.zeros(size, dim, dtype=torch.float32))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, embeddings: Float[Tensor, "N C"]) -> None:
        """Write people in batch order; of more than Q people the last Q stay.

        Args:
            embeddings: Unit rows, any float dtype.
        """
        size, n = len(self.rows), len(embeddings)
        if size == 0:
            return
        skipped = max(n - size, 0)  # those would be overwritten within this very batch
        slots = (self.pointer + torch.arange(skipped, n, device=self.rows.device)) % size
        self.rows[slots] = embeddings[skipped:].to(self.rows.dtype)
        self.pointer.add_(n).remainder_(size)


class PersonMemory(nn.Module):
    """A :class:`LookupTable` for labelled people beside a :class:`CircularQueue` for the others.

    Args:
        n_persons: Identities, at least 1.
        queue_size: Slots of the queue; may be 0.
        dim: Length of an embedding.
        momentum: Momentum of the table, in [0, 1).

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(self, n_persons: int, queue_size: int, dim: int, *, momentum: float = 0.5) -> None:
        super().__init__()
        self.table = LookupTable(n_persons, dim, momentum)
        self.queue = CircularQueue(queue_size, dim)

    def update(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        kept: Float[Tensor, " N"] | None = None,
    ) -> None:
        """Write a batch: labelled people into the table, the others into the queue.

        Args:
            embeddings: Unit rows.
            person_ids: In 0..L-1, or ``UNLABELLED``.
            kept: See :meth:`LookupTable.update`.

        Raises:
            ValueError: An id is neither in 0..L-1 nor ``UNLABELLED``; nothing was written then.
        """
        self.table.update(embeddings, person_ids, kept)
        self.queue.update(embeddings[person_ids == UNLABELLED])


def check_person_ids(person_ids: Int[Tensor, " N"], n_persons: int) -> None:
    """Refuse ids that name no row of the table and are not ``UNLABELLED``.

    An id past the table would otherwise be trained silently against a slot of the queue.

    Raises:
        ValueError: Names the first such id and the range.
    """
    is_wrong = (person_ids < UNLABELLED) | (person_ids >= n_persons)
    if is_wrong.any():
        raise ValueError(
            f"person_ids must be in 0..{n_persons - 1} or {UNLABELLED} (unlabelled), "
            f"got {int(person_ids[is_wrong][0])}"
        )


def is_written(rows: Float[Tensor, "M C"]) -> Bool[Tensor, " M"]:
    """Mark the rows of a table or queue that ever received an embedding."""
    return (rows != 0).any(dim=1)


def similarity(
    embeddings: Float[Tensor, "N C"], rows: Float[Tensor, "M C"]
) -> Float[Tensor, "N M"]:
    """Inner products of embeddings and remembered rows, in float32 or better.

    Half precision would be multiplied by 1 / temperature = 30 on its way into an exponential, so
    autocast is off here. The rows are copied: the memory may be updated in place before the
    backward pass, which then still sees what the loss saw.
    """
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    with torch.autocast(embeddings.device.type, enabled=False):
        return embeddings.to(dtype) @ rows.to(dtype, copy=True).T


def _turns(person_ids: Int[Tensor, " N"]) -> list[Int[Tensor, " K"]]:
    """Positions of the first sample of every id, then of the second of those that have one, ...

    Different ids do not touch each other's rows, so writing turn after turn, each at once, equals
    writing sample after sample. Most batches need few turns.
    """
    if len(person_ids) == 0:
        return []
    order = person_ids.argsort(stable=True)
    by_id = person_ids[order]
    turn = torch.arange(len(by_id), device=by_id.device) - torch.searchsorted(by_id, by_id)
    return [order[turn == k] for k in range(int(turn.max()) + 1)]
