"""Losses of the region heads that find people: where the box lies, and whether it is a person.

Axes: N sampled regions, P positive ones among them. (The RPN brings its own losses.)
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy, smooth_l1_loss


def box_loss(
    deltas: Float[Tensor, "P 4"],
    targets: Float[Tensor, "P 4"],
    n_samples: int,
    beta: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Smooth L1 over the positive regions, divided by the number of all sampled regions.

    .. math::
        \frac{1}{N} \sum_{p, k}
        \begin{cases} d^2 / 2\beta & |d| < \beta \\ |d| - \beta / 2 & \text{else} \end{cases},
        \qquad d = \mathrm{deltas}_{pk} - \mathrm{targets}_{pk}

    Source: Fast R-CNN, Eq. 3. Dividing by N, not P, weighs a positive the same however many there
    are; the loss therefore rises while the RPN finds more of them.

    Args:
        deltas: Predicted ``dx dy dw dh`` of the positive regions.
        targets: What they should be (:func:`fdps.models.box_coder.encode`).
        n_samples: N, positives and negatives together.
        beta: Where the square ends and the line begins; 0 for plain L1.

    Returns:
        At least 0; 0 with a zero gradient without positives.

    Raises:
        ValueError: ``n_samples`` is below the number of positives, or ``beta`` is negative.

    Example:
        >>> box_loss(torch.tensor([[3.0, 0.5, 0, 0]]), torch.zeros(1, 4), 2).item()
        1.3125
    """
    if n_samples < len(deltas):
        raise ValueError(f"n_samples must be at least P={len(deltas)}, got {n_samples}")
    if beta < 0:
        raise ValueError(f"beta must be at least 0, got {beta}")
    total = smooth_l1_loss(_full(deltas), _full(targets), beta=beta, reduction="sum")
    return total / max(n_samples, 1)


def classification_loss(
    logits: Float[Tensor, "N 2"], is_person: Bool[Tensor, " N"]
) -> Float[Tensor, ""]:
    """Cross-entropy of background (column 0) and person (column 1), mean over the regions.

    Returns:
        At least 0; 0 with a zero gradient without regions.

    Example:
        >>> classification_loss(torch.zeros(3, 2), torch.tensor([True, False, True])).item()
        0.6931471824645996
    """
    total = cross_entropy(_full(logits), is_person.long(), reduction="sum")
    return total / max(len(logits), 1)


def _full(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
