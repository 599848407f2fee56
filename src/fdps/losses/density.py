"""The density of the identity centres: the coefficient w of the balanced OIM loss.

It is always computed in float64: the sum has L² terms (30 million for CUHK-SYSU).

Axes: L identities, C embedding dimension, K rows that change together.
"""

import math

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

BLOCK = 1024  # rows at once; the full Gram matrix of 5532 rows would take 245 MB


@torch.no_grad()
def dispersion(lut: Float[Tensor, "L C"], *, alpha: float | None = None) -> Float64[Tensor, ""]:
    r"""Sum the exponential of the similarity over all pairs of centres.

    .. math:: w = \sum_{i=1}^{L} \sum_{j=1}^{L} \exp(v_i^\top v_j + \alpha)

    Source: FDPS, Eq. 10. The paper does not give :math:`\alpha`. ``None`` stands for
    :math:`-2 \ln L`, which turns the sum into the mean: 1 for an empty table, near 1 for scattered
    centres, e for collapsed ones. A given value is taken literally. There is no gradient: the
    table is a memory, not a parameter.

    Args:
        lut: Unit rows, or zero where nothing was written.
        alpha: Added in the exponent; ``None`` for the mean.

    Example:
        >>> dispersion(torch.zeros(3, 2)).item()
        1.0
        >>> round(dispersion(torch.eye(2)).item(), 6)  # (e + 1) / 2
        1.859141
    """
    return _scaled(_sum_over_pairs(lut, lut), len(lut), alpha)


class RunningDispersion(nn.Module):
    r"""The sum of :func:`dispersion` kept up to date while rows change, exactly.

    When the rows :math:`S` change from :math:`a` to :math:`b`, only their rows and columns of the
    Gram matrix change. With :math:`g(X, Y) = \sum_{x \in X, y \in Y} \exp(x^\top y)` and the table
    :math:`V` after the change, the sum grows by

    .. math:: 2 \bigl(g(b, V) - g(a, V)\bigr) - g(b, b) + 2 g(a, b) - g(a, a)

    which costs :math:`O(|S| L C)` instead of :math:`O(L^2 C)`. Nothing is approximated; the full
    sum every ``refresh_every`` updates takes away what float64 rounding has added up.

    ``total`` (float64) and ``n_updates`` (int64) are persistent buffers: a run that resumes goes on
    with the very bits, where summing anew would change the last ones.

    Args:
        n_persons: L; the table is taken to be empty at first, call :meth:`refresh` if it is not.
        refresh_every: Updates between two full sums, at least 1.

    Raises:
        ValueError: ``refresh_every`` is below 1.
    """

    total: Tensor
    n_updates: Tensor

    def __init__(self, n_persons: int, *, refresh_every: int = 1000) -> None:
        super().__init__()
        if refresh_every < 1:
            raise ValueError(f"refresh_every must be at least 1, got {refresh_every}")
        self.n_persons = n_persons
        self.refresh_every = refresh_every
        self.register_buffer("total", torch.tensor(float(n_persons) ** 2, dtype=torch.float64))
        self.register_buffer("n_updates", torch.zeros((), dtype=torch.int64))

    def value(self, *, alpha: float | None = None) -> Float64[Tensor, ""]:
        """Return w; equals ``dispersion(lut, alpha=alpha)`` of the table as last told."""
        return _scaled(self.total, self.n_persons, alpha)

    @torch.no_grad()
    def update(
        self,
        before: Float[Tensor, "K C"],
        person_ids: Int[Tensor, " K"],
        lut: Float[Tensor, "L C"],
    ) -> None:
        """Follow a change of the table.

        Args:
            before: The rows as they were.
            person_ids: Which rows; each one once, however many samples changed it.
            lut: The table as it is now.
        """
        self.n_updates += 1
        if int(self.n_updates) % self.refresh_every == 0:
            self.refresh(lut)
            return
        old, new = before.double(), lut[person_ids].double()
        both = torch.cat([new, old])  # one matrix product per block for the two
        signs = torch.ones(len(both), dtype=torch.float64, device=both.device)
        signs[len(new) :] = -1
        for block in torch.split(lut, BLOCK):
            self.total += 2 * (signs @ (both @ block.double().T).exp_()).sum()
        within = _sum_over_pairs(new, new) + _sum_over_pairs(old, old)
        self.total += 2 * _sum_over_pairs(old, new) - within

    @torch.no_grad()
    def refresh(self, lut: Float[Tensor, "L C"]) -> None:
        """Sum anew over the whole table; needed after the table was written by other means."""
        self.total.copy_(_sum_over_pairs(lut, lut))


def _sum_over_pairs(
    rows: Float[Tensor, "M C"], others: Float[Tensor, "L C"]
) -> Float64[Tensor, ""]:
    others = others.double()
    total = torch.zeros((), dtype=torch.float64, device=rows.device)
    for block in torch.split(rows, BLOCK):
        total += (block.double() @ others.T).exp_().sum()
    return total


def _scaled(total: Float64[Tensor, ""], n_persons: int, alpha: float | None) -> Tensor:
    if alpha is None:
        return total / n_persons**2  # exactly 1 for an empty table, which exp(-2 ln L) is not
    return total * math.exp(alpha)
