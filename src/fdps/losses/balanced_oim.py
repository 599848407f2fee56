"""The balanced OIM loss (BOIM): OIM, weighted by the density of the centres, plus hard negatives.

Under OIM the own identity takes nearly all of the softmax, so the other identities hardly move
anything (FDPS, Eq. 8). BOIM adds a term for those that come close. (Elsewhere "BOIM" also means
*bidirectional* OIM, which is another loss.)

Axes: N people in the batch, C embedding dimension, L identities, Q queue slots.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fdps.losses.criterion import Criterion
from fdps.losses.density import RunningDispersion, dispersion
from fdps.losses.memory import PersonMemory, check_person_ids, is_written, similarity
from fdps.losses.oim import TEMPERATURE, oim_loss
from fdps.losses.watched import watched_similarities
from fdps.structures import UNLABELLED

__all__ = [
    "BalancedOIMLoss",
    "BalancedTerms",
    "RunningDispersion",
    "balanced_oim_loss",
    "dispersion",
    "negative_loss",
]


class BalancedTerms(NamedTuple):
    """The balanced OIM loss by its terms; ``_asdict()`` names them for a log.

    Args:
        oim: Eq. 7.
        w: Eq. 10, without gradient; 1 where it is switched off.
        negative: Eq. 9; 0 where it is switched off.
        n_hard: Hard negatives per labelled person, without gradient.
        positive_similarity: See :func:`~fdps.losses.watched.watched_similarities`.
        negative_similarity: Likewise, of the nearest other identity.
    """

    oim: Float[Tensor, ""]
    w: Float[Tensor, ""]
    negative: Float[Tensor, ""]
    n_hard: Float[Tensor, ""]
    positive_similarity: Float[Tensor, ""]
    negative_similarity: Float[Tensor, ""]

    @property
    def loss(self) -> Float[Tensor, ""]:
        """FDPS, Eq. 11: what is minimised."""
        return self.w * self.oim + self.negative


def negative_loss(
    embeddings: Float[Tensor, "N C"],
    person_ids: Int[Tensor, " N"],
    lut: Float[Tensor, "L C"],
    *,
    sigma: float,
    beta: float,
) -> Float[Tensor, ""]:
    r"""Push people away from the identities that come close to their own.

    .. math::
        H = \{j \ne t : v_j^\top x > \sigma \, v_t^\top x\}, \qquad
        L_\mathrm{neg} = \frac{1}{|H|} \sum_{j \in H} \max(v_j^\top x - \beta, 0)

    Source: FDPS, Eq. 9. The paper prints the ratio :math:`v_j^\top x / v_t^\top x > \sigma`; the
    product says the same where :math:`v_t^\top x > 0` and is defined elsewhere too. The paper does
    not say, and we choose: the mean over labelled people; 0 for a person without hard negatives;
    the queue and rows that were never written take no part.

    Args:
        embeddings: Unit rows.
        person_ids: In 0..L-1, or ``UNLABELLED``: such people do not count here.
        lut: One row per identity; zero where nothing was written.
        sigma: Share of the own similarity from which a negative is hard.
        beta: Similarity below which a negative is far enough.

    Returns:
        At least 0; 0 with a zero gradient when nobody is labelled.

    Raises:
        ValueError: An id is outside its range.

    Example:
        >>> x = torch.tensor([[0.8, 0.6]])
        >>> loss = negative_loss(x, torch.tensor([0]), torch.eye(2), sigma=0.5, beta=0.2)
        >>> round(loss.item(), 6)  # 0.6 > 0.5 · 0.8, and 0.6 - 0.2
        0.4
    """
    return _negatives(embeddings, person_ids, lut, sigma, beta)[0]


def balanced_oim_loss(
    embeddings: Float[Tensor, "N C"],
    person_ids: Int[Tensor, " N"],
    lut: Float[Tensor, "L C"],
    queue: Float[Tensor, "Q C"],
    *,
    temperature: float,
    alpha: float | None,
    sigma: float,
    beta: float,
) -> Float[Tensor, ""]:
    r"""Combine OIM, density and hard negatives.

    .. math:: L_\mathrm{BOIM} = w L_\mathrm{OIM} + L_\mathrm{neg}

    Source: FDPS, Eq. 11. This function sums w over the whole table, which a training step need
    not: :class:`BalancedOIMLoss` keeps it up to date.

    Args:
        embeddings: Unit rows.
        person_ids: In 0..L-1, or ``UNLABELLED``: such people do not count here.
        lut: One row per identity.
        queue: People without identity; may have no slots.
        temperature: See :func:`oim_loss`.
        alpha: See :func:`dispersion`.
        sigma: See :func:`negative_loss`.
        beta: See :func:`negative_loss`.

    Returns:
        At least 0; 0 with a zero gradient when nobody is labelled.

    Raises:
        ValueError: An id is outside its range.
    """
    oim = oim_loss(embeddings, person_ids, lut, queue, temperature=temperature)
    w = dispersion(lut, alpha=alpha).to(oim.dtype)
    return w * oim + negative_loss(embeddings, person_ids, lut, sigma=sigma, beta=beta)


class BalancedOIMLoss(Criterion):
    """:func:`balanced_oim_loss` with its memory, and w kept up to date at little cost.

    ``forward`` and ``terms`` change nothing; ``update`` writes the memory, before or after the
    backward pass, once per step. The four rows of Table 2 are ``use_dispersion`` times
    ``use_negatives``; with neither it is :class:`~fdps.losses.oim.OIMLoss`.

    Args:
        n_persons: Labelled identities of the training split (CUHK-SYSU 5532, PRW 483).
        queue_size: Slots for people without identity (CUHK-SYSU 5000, PRW 500).
        dim: Length of an embedding.
        temperature: Greater than 0.
        momentum: How much of a row stays at an update, in [0, 1).
        alpha: See :func:`dispersion`; ``None`` for the mean. The paper does not say.
        sigma: See :func:`negative_loss`. The paper does not say.
        beta: See :func:`negative_loss`. The paper does not say.
        use_dispersion: Weigh OIM by w; else by 1.
        use_negatives: Add the hard negatives.
        refresh_every: Updates between two full sums of w, at least 1.

    Raises:
        ValueError: An argument is outside its range, or ``alpha`` lets w overflow float32.
    """

    def __init__(
        self,
        n_persons: int,
        queue_size: int,
        dim: int,
        *,
        temperature: float = TEMPERATURE,
        momentum: float = 0.5,
        alpha: float | None = None,
        sigma: float = 0.5,
        beta: float = 0.2,
        use_dispersion: bool = True,
        use_negatives: bool = True,
        refresh_every: int = 1000,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be greater than 0, got {temperature}")
        self.memory = PersonMemory(n_persons, queue_size, dim, momentum=momentum)
        _check_alpha(alpha, n_persons)
        self.temperature = temperature
        self.alpha = alpha
        self.sigma = sigma
        self.beta = beta
        self.use_negatives = use_negatives
        self.dispersion = (
            RunningDispersion(n_persons, refresh_every=refresh_every) if use_dispersion else None
        )

    def terms(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        overlaps: Float[Tensor, " N"] | None = None,
    ) -> BalancedTerms:
        """Return the loss by its terms; see :func:`balanced_oim_loss`."""
        rows, slots = self.memory.table.rows, self.memory.queue.rows
        oim = oim_loss(embeddings, person_ids, rows, slots, temperature=self.temperature)
        w, negative, n_hard = oim.new_ones(()), oim.new_zeros(()), oim.new_zeros(())
        if self.dispersion is not None:
            w = self.dispersion.value(alpha=self.alpha).to(oim.dtype)
        if self.use_negatives:
            negative, n_hard = _negatives(embeddings, person_ids, rows, self.sigma, self.beta)
        watched = watched_similarities(embeddings, person_ids, rows)
        return BalancedTerms(oim, w, negative, n_hard, *watched)

    def update(
        self,
        embeddings: Float[Tensor, "N C"],
        person_ids: Int[Tensor, " N"],
        overlaps: Float[Tensor, " N"] | None = None,
    ) -> None:
        """Write a batch into the memory and let w follow; see :meth:`PersonMemory.update`.

        Raises:
            ValueError: An id is neither in 0..L-1 nor ``UNLABELLED``; nothing was written then.
        """
        rows = self.memory.table.rows
        check_person_ids(person_ids, len(rows))
        changed = torch.unique(person_ids[person_ids != UNLABELLED])
        before = rows[changed]
        self.memory.update(embeddings, person_ids)
        if self.dispersion is not None:
            self.dispersion.update(before, changed, rows)


def _negatives(
    embeddings: Float[Tensor, "N C"],
    person_ids: Int[Tensor, " N"],
    lut: Float[Tensor, "L C"],
    sigma: float,
    beta: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return Eq. 9 and the number of hard negatives per labelled person."""
    check_person_ids(person_ids, len(lut))
    labelled = person_ids != UNLABELLED
    own = person_ids[labelled].long()[:, None]
    to_all = similarity(embeddings[labelled], lut)
    is_hard = (to_all > sigma * to_all.gather(1, own)) & is_written(lut)
    is_hard = is_hard.scatter(1, own, False)
    excess = torch.where(is_hard, to_all - beta, 0).clamp(min=0)
    n_hard, n_labelled = is_hard.sum(dim=1), max(len(own), 1)
    loss = (excess.sum(dim=1) / n_hard.clamp(min=1)).sum() / n_labelled
    return loss, n_hard.sum().to(loss.dtype) / n_labelled


def _check_alpha(alpha: float | None, n_persons: int) -> None:
    # w is largest, e · L² · exp(alpha), for collapsed centres
    limit = math.log(torch.finfo(torch.float32).max) - 2 * math.log(n_persons) - 1
    if alpha is not None and not -math.inf < alpha < limit:
        raise ValueError(
            f"alpha must be finite and below {limit:.1f} for {n_persons} persons, got {alpha}"
        )
