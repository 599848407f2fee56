r"""Hierarchical online instance matching (HOIM): one softmax over background and everybody.

Source: Chen et al., Hierarchical online instance matching for person search, sections 3.2 and 3.3.

A memory of background stands beside the table and the queue. With all of them in one softmax, the
shares of the people add up to the probability that a region shows a person, so that the memory
itself is the detector; and the probability among the people alone names the identity.

Axes: N regions in the batch, C embedding dimension, L identities, Q slots of a queue.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from fdps.losses.balanced_oim import negative_loss
from fdps.losses.criterion import Criterion
from fdps.losses.density import RunningDispersion
from fdps.losses.memory import LookupTable, check_person_ids, similarity
from fdps.losses.oim import TEMPERATURE
from fdps.losses.watched import watched_similarities
from fdps.structures import BACKGROUND_ID, UNLABELLED

ALPHA, GAMMA = 0.25, 2.0  # of the focal losses; the paper found these best
TINY = 1e-12


class SelectiveQueue(nn.Module):
    """The most telling embeddings of the past, of people without identity or of background.

    ``rows`` (Q, C) is float32 and starts at zero; ``importance`` (Q,) belongs to the rows.

    Args:
        size: Q; 0 remembers nothing.
        dim: C.
        decay: Importance that a row keeps from one update to the next, in (0, 1].
    """

    rows: Tensor
    importance: Tensor

    def __init__(self, size: int, dim: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("importance", torch.zeros(size))

    @torch.no_grad()
    def update(self, embeddings: Float[Tensor, "N C"], importance: Float[Tensor, " N"]) -> None:
        """Let embeddings take the places of rows that are less important, then let all fade.

        One after the other, an embedding replaces the least important row unless it is less
        important itself. What is left of that are the Q most important of all; that is computed at
        once here, and rows that stay keep their places. Of equally important ones the latest stay,
        so that a queue fills from the first batch on.
        """
        size = len(self.rows)
        every = torch.cat([self.importance, importance.to(self.importance)])
        stays = torch.ones_like(every, dtype=torch.bool)
        stays[every.argsort(stable=True)[: len(importance)]] = False
        free, new = ~stays[:size], stays[size:]
        self.rows[free] = embeddings[new].to(self.rows.dtype)
        self.importance[free] = importance[new].to(self.importance)
        self.importance.mul_(self.decay)


class HierarchicalMemory(nn.Module):
    """A table of the identities beside two queues: people without identity, and background.

    Args:
        n_persons: Identities, at least 1.
        queue_size: Slots for people without identity.
        background_size: Slots for background.
        dim: Length of an embedding.
        momentum: Of the table, in [0, 1).
        temperature: Divisor of similarities, greater than 0.
    """

    def __init__(
        self,
        n_persons: int,
        queue_size: int,
        background_size: int,
        dim: int,
        *,
        momentum: float = 0.5,
        temperature: float = TEMPERATURE,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.table = LookupTable(n_persons, dim, momentum)
        self.queue = SelectiveQueue(queue_size, dim)
        self.background = SelectiveQueue(background_size, dim)

    def logits(self, embeddings: Float[Tensor, "N C"]) -> Float[Tensor, "N 2"]:
        r"""Return logits of background and person, whose softmax are the shares of both.

        .. math::
            p(\mathrm{person}) = \sum_{j \in \mathrm{people}} \mathrm{softmax}_j(v^\top x / \tau)
        """
        nobody = similarity(embeddings, self.background.rows) / self.temperature
        people = self.people(embeddings)
        return torch.stack([nobody.logsumexp(dim=1), people.logsumexp(dim=1)], dim=1)

    def people(self, embeddings: Float[Tensor, "N C"]) -> Float[Tensor, "N LQ"]:
        """Return similarities to the table and the queue, divided by the temperature."""
        rows = torch.cat([self.table.rows, self.queue.rows])
        return similarity(embeddings, rows) / self.temperature

    @torch.no_grad()
    def update(self, embeddings: Float[Tensor, "N C"], person_ids: Int[Tensor, " N"]) -> None:
        """Write a batch; what is important is judged by the memory before it.

        Args:
            embeddings: Unit rows.
            person_ids: In 0..L-1, ``UNLABELLED`` or :data:`BACKGROUND_ID`.
        """
        to_table = similarity(embeddings, self.table.rows).amax(dim=1)
        to_queue = _largest(similarity(embeddings, self.queue.rows))
        to_background = _largest(similarity(embeddings, self.background.rows))
        is_nobody, is_unlabelled = person_ids == BACKGROUND_ID, person_ids == UNLABELLED
        self.table.update(embeddings[~is_nobody], person_ids[~is_nobody])
        looks_known = to_table / (to_queue + TINY)
        self.queue.update(embeddings[is_unlabelled], looks_known[is_unlabelled])
        looks_like_people = torch.maximum(to_table, to_queue) / (to_background + TINY)
        self.background.update(embeddings[is_nobody], looks_like_people[is_nobody])


class HOIMTerms(NamedTuple):
    """The re-ID half of HOIM by its terms; ``_asdict()`` names them for a log.

    Args:
        hoim: The focal loss over the people, weighted by how sure a region shows one.
        w: Dispersion of the centres (FDPS, Eq. 10), without gradient; 1 where it is switched off.
        negative: Hard negatives (FDPS, Eq. 9); 0 where they are switched off.
        positive_similarity: See :func:`~fdps.losses.watched.watched_similarities`.
        negative_similarity: Likewise, of the nearest other identity.
    """

    hoim: Float[Tensor, ""]
    w: Float[Tensor, ""]
    negative: Float[Tensor, ""]
    positive_similarity: Float[Tensor, ""]
    negative_similarity: Float[Tensor, ""]

    @property
    def loss(self) -> Float[Tensor, ""]:
        """What is minimised; FDPS, Eq. 11, with HOIM in the place of OIM."""
        return self.w * self.hoim + self.negative


def hoim_loss(
    embeddings: Float[Tensor, "N C"], person_ids: Int[Tensor, " N"], memory: HierarchicalMemory
) -> Float[Tensor, ""]:
    r"""Name the people of a batch, each weighted by how surely the memory detects it.

    .. math::
        L = -\frac{1}{P} \sum_{x} p(\mathrm{person} \mid x)^2 \,
            \alpha (1 - p_t)^\gamma \log p_t, \qquad
        p_t = \mathrm{softmax}_t(v^\top x / \tau)

    over the P regions that show somebody; the softmax runs over table and queue, and those without
    identity add nothing to the sum. The first factor has no gradient. Source: HOIM, Eq. 8 and 9,
    where :math:`\lambda = p^2` is the dynamic weight of section 3.3.

    Args:
        embeddings: Unit rows.
        person_ids: In 0..L-1, ``UNLABELLED`` or :data:`BACKGROUND_ID`.
        memory: What is remembered.

    Returns:
        At least 0; 0 with a zero gradient where nobody is labelled.
    """
    is_person = person_ids != BACKGROUND_ID
    x, ids = embeddings[is_person], person_ids[is_person]
    labelled = ids != UNLABELLED
    log_p = memory.people(x[labelled]).log_softmax(dim=1)
    own = log_p.gather(1, ids[labelled].long()[:, None]).squeeze(1)
    weight = memory.logits(x[labelled]).softmax(dim=1)[:, 1].detach().square()
    return -(weight * focal(own)).sum() / max(len(ids), 1)


def hierarchical_detection_loss(
    logits: Float[Tensor, "N 2"], is_person: Bool[Tensor, " N"]
) -> Float[Tensor, ""]:
    r"""Focal loss of background and person, mean over the regions; HOIM, Eq. 7.

    Args:
        logits: Of :meth:`HierarchicalMemory.logits`.
        is_person: What each region shows.

    Returns:
        At least 0; 0 with a zero gradient without regions.
    """
    right = logits.log_softmax(dim=1).gather(1, is_person.long()[:, None]).squeeze(1)
    return -focal(right).sum() / max(len(logits), 1)


def focal(log_p: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    r"""Weigh log-probabilities by how wrong they are: :math:`\alpha (1 - p)^\gamma \log p`."""
    return ALPHA * (1 - log_p.exp()) ** GAMMA * log_p


class HOIMLoss(Criterion):
    """:func:`hoim_loss` with its memory, plain or balanced as FDPS balances OIM.

    ``terms`` changes nothing; ``update`` writes the memory, once per step.

    Args:
        memory: The memory, which scores boxes as well.
        alpha: Of the dispersion, FDPS, Eq. 10; ``None`` for the mean.
        sigma: Of the hard negatives, FDPS, Eq. 9.
        beta: Likewise.
        use_dispersion: Weigh the loss by the dispersion of the centres.
        use_negatives: Add the hard negatives.
    """

    sees_background = True

    def __init__(
        self,
        memory: HierarchicalMemory,
        *,
        alpha: float | None = None,
        sigma: float = 0.5,
        beta: float = 0.2,
        use_dispersion: bool = False,
        use_negatives: bool = False,
    ) -> None:
        super().__init__()
        self.memory, self.temperature = memory, memory.temperature
        self.alpha, self.sigma, self.beta = alpha, sigma, beta
        self.use_negatives = use_negatives
        n_persons = len(memory.table.rows)
        self.dispersion = RunningDispersion(n_persons) if use_dispersion else None

    def n_samples(self, person_ids: Int[Tensor, " P"]) -> Int64[Tensor, ""]:
        """Count what the loss is a mean over: all people, those without identity too."""
        return torch.tensor(len(person_ids), device=person_ids.device)

    def terms(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        overlaps: Float[Tensor, " N"] | None = None,
    ) -> HOIMTerms:
        """Return the loss by its terms."""
        is_person = person_ids != BACKGROUND_ID
        people, ids, rows = embeddings[is_person], person_ids[is_person], self.memory.table.rows
        check_person_ids(ids, len(rows))
        loss = hoim_loss(embeddings, person_ids, self.memory)
        w, negative = loss.new_ones(()), loss.new_zeros(())
        if self.dispersion is not None:
            w = self.dispersion.value(alpha=self.alpha).to(loss.dtype)
        if self.use_negatives:
            negative = negative_loss(people, ids, rows, sigma=self.sigma, beta=self.beta)
        return HOIMTerms(loss, w, negative, *watched_similarities(people, ids, rows))

    def update(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        overlaps: Float[Tensor, " N"] | None = None,
    ) -> None:
        """Write a batch into the memory and let w follow.

        Raises:
            ValueError: An id is outside its range; nothing was written then.
        """
        rows = self.memory.table.rows
        check_person_ids(person_ids[person_ids != BACKGROUND_ID], len(rows))
        changed = torch.unique(person_ids[person_ids >= 0])
        before = rows[changed]
        self.memory.update(embeddings, person_ids)
        if self.dispersion is not None:
            self.dispersion.update(before, changed, rows)


def _largest(similarities: Float[Tensor, "N M"]) -> Float[Tensor, " N"]:
    """Return the largest of each row, 0 where there are none."""
    if similarities.shape[1] == 0:
        return similarities.new_zeros(len(similarities))
    return similarities.amax(dim=1)
