"""Learn from the embeddings of another model: no identity is needed.

Axes: N people in the batch, C embedding dimension, D that of the teacher, Q queue slots.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, normalize

from fdps.losses.memory import CircularQueue, is_written, similarity

TEMPERATURE = 0.07


class TeacherTerms(NamedTuple):
    """The two terms of :func:`distillation_loss`, each at least 0; not yet weighted."""

    direction: Float[Tensor, ""]
    """Mean of 1 - cosine, in [0, 2]."""
    similarity: Float[Tensor, ""]
    """Mean divergence of the similarities to everybody else."""


def distillation_loss(
    embeddings: Float[Tensor, "N C"],
    targets: Float[Tensor, "N C"],
    queue: Float[Tensor, "Q C"],
    *,
    temperature: float = TEMPERATURE,
) -> TeacherTerms:
    r"""Compare embeddings with those of a teacher, and their likeness to others with its.

    .. math::
        L_\mathrm{direction} = 1 - t^\top x, \qquad
        L_\mathrm{similarity} = \sum_{k=0}^{Q} p_k \log \frac{p_k}{q_k}, \qquad
        p = \operatorname{softmax}(u_k^\top t / \tau), \quad
        q = \operatorname{softmax}(u_k^\top x / \tau)

    :math:`u_0 = t` is the person's own target and :math:`u_1 \ldots u_Q` are targets of earlier
    people. The other people of the batch are not among them: a batch may come in parts, and every
    person must see the same in all of them (:mod:`fdps.engine.step`). They enter the queue at once
    when the step is taken.

    Source: our own. Distributions of similarities to a queue are what SEED compares (Fang et al.,
    Self-supervised distillation for visual representation, ICLR 2021).

    Args:
        embeddings: Unit rows of the student.
        targets: Unit rows of the teacher; a row of NaN takes no part.
        queue: Earlier targets; slots that were never written take no part.
        temperature: Greater than 0.

    Returns:
        Means over the people with a target; 0 with a zero gradient if there are none.

    Example:
        >>> x = torch.tensor([[1.0, 0.0]])
        >>> distillation_loss(x, torch.tensor([[0.0, 1.0]]), torch.zeros(3, 2)).direction.item()
        1.0
    """
    taught = has_target(targets)
    x, t = embeddings[taught], targets[taught].to(embeddings.dtype)
    n = max(len(t), 1)
    cosine = (x * t).sum(dim=1)
    earlier = queue[is_written(queue)]
    own = (t * t).sum(dim=1)
    wanted = torch.cat([own[:, None], similarity(t, earlier)], dim=1) / temperature
    found = torch.cat([cosine[:, None], similarity(x, earlier)], dim=1) / temperature
    divergence = kl_div(
        log_softmax(found, dim=1), log_softmax(wanted, dim=1), reduction="sum", log_target=True
    )
    return TeacherTerms((1 - cosine).sum() / n, divergence / n)


class Distillation(nn.Module):
    """:func:`distillation_loss` with its queue, and the way from the teacher's space to ours.

    A target is the teacher's embedding less the mean of all, mapped to the student's dimension by
    ``basis`` and brought to unit length. Mean and map are fixed when a training begins. A map that
    learns would make everybody alike, which is the easiest to imitate. Everything is a buffer, so
    a checkpoint holds it; a weights file does not.

    Args:
        mean: Mean embedding of the teacher over the training people.
        basis: From :func:`teacher_basis`.
        queue_size: Earlier targets to compare with; may be 0.
        temperature: Greater than 0.

    Raises:
        ValueError: The temperature is not positive.
    """

    mean: Tensor
    basis: Tensor

    def __init__(
        self,
        mean: Float32[np.ndarray, " D"],
        basis: Float32[np.ndarray, "C D"],
        *,
        queue_size: int,
        temperature: float = TEMPERATURE,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be greater than 0, got {temperature}")
        self.temperature = temperature
        self.register_buffer("mean", torch.from_numpy(mean.copy()))
        self.register_buffer("basis", torch.from_numpy(basis.copy()))
        self.queue = CircularQueue(queue_size, len(basis))

    @property
    def teacher_dim(self) -> int:
        """Length of the teacher's embeddings."""
        return len(self.mean)

    @torch.no_grad()
    def targets(self, teacher: Float[Tensor, "N D"]) -> Float[Tensor, "N C"]:
        """Turn embeddings of the teacher into unit targets; rows of NaN stay so."""
        with torch.autocast(teacher.device.type, enabled=False):
            return normalize((teacher.float() - self.mean) @ self.basis.T, dim=1)

    def terms(
        self, embeddings: Float[Tensor, "N C"], teacher: Float[Tensor, "N D"]
    ) -> TeacherTerms:
        """Return the loss by its terms; nothing is remembered.

        Args:
            embeddings: Unit rows of the student.
            teacher: The teacher's embedding of the same people, or NaN.
        """
        targets, rows = self.targets(teacher), self.queue.rows
        return distillation_loss(embeddings, targets, rows, temperature=self.temperature)

    def update(self, teacher: Float[Tensor, "N D"]) -> None:
        """Remember the targets of a batch; rows of NaN are passed over."""
        self.queue.update(self.targets(teacher[has_target(teacher)]))


def has_target(teacher: Float[Tensor, "N _"]) -> Bool[Tensor, " N"]:
    """Mark the people whom the teacher was asked about."""
    return ~teacher.isnan().any(dim=1)


def teacher_basis(
    rows: Float[np.ndarray, "M D"], dim: int, seed: int = 0
) -> tuple[Float32[np.ndarray, " D"], Float32[np.ndarray, "C D"]]:
    """Return the mean of a teacher's embeddings, and a map to the student's dimension.

    Equal dimensions need no map. A shorter teacher is turned into the larger space, which changes
    no angle. Of a longer one the ``dim`` axes are kept along which people differ most.

    Args:
        rows: All embeddings of the training people, at least one.
        dim: Length C of the student's embeddings.
        seed: Of the turn.
    """
    exact = rows.astype(np.float64)
    mean, n = exact.mean(axis=0), rows.shape[1]
    if n == dim:
        basis = np.eye(n)
    elif n < dim:
        basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, n)))
    else:
        centred = exact - mean
        basis = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dim].T
    return mean.astype(np.float32), basis.astype(np.float32)
