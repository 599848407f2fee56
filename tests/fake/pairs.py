"""Pictures that share people, for networks that look at pairs."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fake.tiny import picture, target
from fdps.losses import Criterion
from fdps.models.systems.qeeps import QueryGuidedNet

Net = TypeVar("Net", bound=QueryGuidedNet)
LOSSES = ["rpn_score", "rpn_box", "person", "box", "reid", "query_score", "similarity"]
ONE = target((5, 5, 30, 60, 0), (40, 8, 62, 60, 2))
OTHER = target((10, 5, 35, 60, 2), (40, 8, 62, 60, -1))
STRANGER = target((10, 5, 35, 60, 1))


def settle(net: Net, criterion: Criterion, *, std: float) -> Net:
    """Let the norms learn what maps are like: at first, those of different pictures are alike.

    Args:
        net: The network, which is returned for evaluation.
        criterion: Its losses.
        std: Of the random weights by which the similarity is decided.
    """
    with torch.no_grad():
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                norm.momentum = 1.0
        net.train()([picture(), picture()], [ONE, OTHER], criterion)
        net.similarity.norm.reset_running_stats()
        nn.init.normal_(net.similarity.decide.weight, std=std)
    return net.eval()


def seeded(*targets: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Number the pictures, as the loader does."""
    return [one | {"seed": torch.tensor(seed)} for seed, one in enumerate(targets)]


def total(losses: dict[str, Any]) -> Tensor:
    """Sum the losses."""
    return torch.stack([loss.value for loss in losses.values()]).sum()
