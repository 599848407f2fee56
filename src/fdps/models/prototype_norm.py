"""A norm in which every identity counts alike, however many of its regions are in the batch.

Source: Lee et al., OIMNet++: Prototypical normalization and localization-aware learning for person
search, ECCV 2022 (ProtoNorm), and its public code.

Axes: N regions, D embedding dimension.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fdps.structures import UNLABELLED


class PrototypeNorm(nn.Module):
    r"""Centre rows by the mean of the identities' means, and scale them by their spread about it.

    .. math::
        \mu = \frac{1}{K} \sum_{k=1}^{K} c_k, \qquad
        \sigma^2 = \frac{1}{N} \sum_{n=1}^{N} (x_n - \mu)^2, \qquad
        \hat x_n = \frac{x_n - \mu}{\sqrt{\sigma^2 + \varepsilon}}

    with the prototypes :math:`c_k`: one mean for each identity of the batch, one for all background
    together, and each region of a person without identity by itself. Mean and variance have their
    gradient; there is no weight and no bias. In tests, running statistics take their place.

    The identities are those that one process sees in one micro-batch, as the rows of a batch norm
    are. Fewer than two rows, or rows whose identities are not known, are normed by the running
    statistics and leave them as they are.

    Args:
        num_features: D.
        eps: Added to the variance.
        momentum: Weight of a new batch in the running statistics.

    Attributes:
        is_fixed: Always use the running statistics and never move them; what comes out of a row
            then depends on no other row. May be changed.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum, self.is_fixed = eps, momentum, False
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(
        self, rows: Float[Tensor, "N D"], person_ids: Int[Tensor, " N"] | None = None
    ) -> Float[Tensor, "N D"]:
        """Normalise.

        Args:
            rows: One per region.
            person_ids: In 0..L-1, ``UNLABELLED`` or that of background; tests know none.
        """
        learns = self.training and not self.is_fixed and person_ids is not None and len(rows) > 1
        mean, var = self.running_mean, self.running_var
        if learns:
            assert person_ids is not None
            mean = prototype_mean(rows, person_ids)
            var = (rows - mean).square().mean(dim=0)
            self._follow(mean.detach(), var.detach() * len(rows) / (len(rows) - 1))
        return (rows - mean) * torch.rsqrt(var + self.eps)

    def extra_repr(self) -> str:
        """Show what a batch norm shows."""
        return f"{len(self.running_mean)}, eps={self.eps}, momentum={self.momentum}"

    def _follow(self, mean: Tensor, unbiased_var: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_var, self.momentum)
        self.num_batches_tracked.add_(1)


def prototype_mean(
    rows: Float[Tensor, "N D"], person_ids: Int[Tensor, " N"]
) -> Float[Tensor, " D"]:
    """Average the means of all identities; at least one row.

    Args:
        rows: One per region.
        person_ids: In 0..L-1, ``UNLABELLED`` or that of background.
    """
    ids, group, n_rows = torch.unique(person_ids, return_inverse=True, return_counts=True)
    is_alone = ids == UNLABELLED
    weights = torch.where(is_alone, 1, n_rows.to(rows.dtype).reciprocal())[group]
    n_prototypes = torch.where(is_alone, n_rows, 1).sum()
    # Not a matrix product: autocast would take that in half precision.
    return (weights[:, None] * rows).sum(dim=0) / n_prototypes
