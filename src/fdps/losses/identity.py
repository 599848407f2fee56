"""A classifier of the training identities, with hard or soft labels.

Axes: N people in the batch, L identities.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def identity_loss(
    logits: Float[Tensor, "N L"],
    person_ids: Int[Tensor, " N"],
    *,
    smoothing: float = 0.0,
    certainties: Float[Tensor, " N"] | None = None,
) -> Float[Tensor, ""]:
    r"""Cross-entropy of each person against a label that is not quite sure.

    .. math:: L = -\frac1N \sum_i \sum_{l=1}^{L} q_{il} \log p_{il}, \qquad
        q_{il} = c_i (1 - \epsilon) \, [l = t_i] + \frac{1 - c_i (1 - \epsilon)}{L}

    With certainties of 1 this is label smoothing (Szegedy et al., CVPR 2016). A certainty of 0
    leaves the even distribution, which is what somebody of no known identity should look like.

    Args:
        logits: Of the classifier.
        person_ids: In 0..L-1, or negative for people without a label, whose certainty has to be
            given and 0.
        smoothing: ε, in [0, 1).
        certainties: c of each person, in [0, 1]; ``None`` leaves out people without a label and
            takes 1 for all others.

    Returns:
        The mean over those who take part; 0 with a zero gradient where nobody does.

    Example:
        >>> loss = identity_loss(torch.zeros(1, 4), torch.tensor([2]), smoothing=0.1)
        >>> round(loss.item(), 4)  # ln 4, whatever the label
        1.3863
    """
    if certainties is None:
        is_labelled = person_ids >= 0
        logits, person_ids = logits[is_labelled], person_ids[is_labelled]
        certainties = torch.ones_like(logits[:, 0])
    log_p = logits.float().log_softmax(dim=1)
    share = certainties.to(log_p.dtype) * (1 - smoothing)
    own = log_p.gather(1, person_ids.clamp(min=0).long()[:, None])[:, 0]
    losses = -(share * own + (1 - share) * log_p.mean(dim=1))
    return losses.sum() / max(len(losses), 1)
