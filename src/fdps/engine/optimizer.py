"""Parameter groups, learning-rate schedule and gradient clipping."""

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

from fdps.config import TrainConfig

WARMUP_START = 1e-3  # share of the learning rate at the first step


def build_optimizer(parts: dict[str, nn.Module], config: TrainConfig) -> SGD:
    """SGD with momentum and weight decay on everything that trains (section 4.1 of the paper).

    Args:
        parts: The network in pieces that share no parameter; ``trunk`` learns at its own rate.
        config: Learning rate, momentum and weight decay.
    """
    groups = [
        {
            "params": [p for p in part.parameters() if p.requires_grad],
            "lr_scale": config.trunk_lr_scale if name == "trunk" else 1.0,
        }
        for name, part in parts.items()
    ]
    return SGD(
        [group for group in groups if group["params"]],
        lr=config.lr,
        momentum=config.sgd_momentum,
        weight_decay=config.weight_decay,
    )


def learning_rate(step: int, config: TrainConfig, steps_per_epoch: int) -> float:
    """Learning rate of a step: linear warm-up, then a fall at every milestone.

    Args:
        step: Optimiser step, from 0.
        config: Schedule, in epochs.
        steps_per_epoch: At least 1.
    """
    warmup = config.warmup_epochs * steps_per_epoch
    ramp = min(WARMUP_START + (1 - WARMUP_START) * step / warmup, 1.0) if warmup > 0 else 1.0
    passed = sum(step >= milestone * steps_per_epoch for milestone in config.milestones)
    return float(config.lr * ramp * config.decay**passed)


def reid_ramp(step: int, config: TrainConfig, steps_per_epoch: int) -> float:
    """Share of the re-ID weight at a step: a line from 0 to 1 over ``reid_warmup_epochs``.

    In the first epoch most people meet an empty table row. They can only be pushed away from
    everybody else, which teaches nothing, outweighs detection and wears pretrained weights off.
    """
    rise = config.reid_warmup_epochs * steps_per_epoch
    return min(step / rise, 1.0) if rise > 0 else 1.0


def set_learning_rate(optimizer: SGD, lr: float) -> None:
    """Use ``lr``, times the scale of each group, from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def clip_gradients(
    parts: dict[str, nn.Module], max_norm: float, *, whole: bool
) -> dict[str, float]:
    """Shorten gradients that are longer than ``max_norm``.

    Measured over the whole network, the early re-ID gradient is so long that the proposal network
    gets next to nothing; measured part by part, every part learns from the first step.

    Args:
        parts: The network in pieces that share no parameter.
        max_norm: Longest gradient of a piece (or of the whole).
        whole: Treat all pieces as one.

    Returns:
        Length before clipping, by part (or under ``all``).
    """
    pieces: dict[str, list[Tensor]] = {
        name: [p for p in part.parameters() if p.grad is not None] for name, part in parts.items()
    }
    if whole:
        pieces = {"all": [p for piece in pieces.values() for p in piece]}
    return {
        name: float(clip_grad_norm_(piece, max_norm)) if piece else 0.0
        for name, piece in pieces.items()
    }


def all_finite(losses: dict[str, Tensor]) -> bool:
    """Whether every loss is a finite number."""
    return bool(torch.stack([loss.detach() for loss in losses.values()]).isfinite().all())
