"""Parameter groups, learning-rate schedule and gradient clipping."""

import math

from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW, Optimizer

from fdps.config import TrainConfig
from fdps.models.trainable import TrainableNet

_NAMED = {"backbone": "trunk", "rpn": "rpn"}


def parts_of(net: TrainableNet) -> dict[str, nn.Module]:
    """Divide a network into pieces that share no parameter: trunk, proposals if any, heads.

    What a system has besides these three belongs to the heads.
    """
    parts = {_NAMED[name]: part for name, part in net.named_children() if name in _NAMED}
    heads = [part for name, part in net.named_children() if name not in _NAMED]
    return parts | {"heads": nn.ModuleList(heads)}


def build_optimizer(net: TrainableNet, config: TrainConfig) -> Optimizer:
    """Build SGD with momentum (section 4.1 of the paper) or AdamW, on everything that trains.

    The stages of the trunk learn at ``trunk_lr_scale`` times ``layer_decay`` to the number of
    stages behind them; proposals and heads learn at the full rate.

    Args:
        net: Network whose parameters are trained.
        config: Kind of optimiser, learning rates, momentum and weight decay.
    """
    stages = [*net.backbone.stages]
    scaled = [
        (stage, config.trunk_lr_scale * config.layer_decay ** (len(stages) - 1 - i))
        for i, stage in enumerate(stages)
    ]
    others = [(part, 1.0) for name, part in parts_of(net).items() if name != "trunk"]
    groups = [
        {"params": [p for p in piece.parameters() if p.requires_grad], "lr_scale": scale}
        for piece, scale in (*scaled, *others)
    ]
    learning = [group for group in groups if group["params"]]
    if config.optimizer == "adamw":
        return AdamW(
            learning, lr=config.lr, betas=config.adam_betas, weight_decay=config.weight_decay
        )
    return SGD(
        learning, lr=config.lr, momentum=config.sgd_momentum, weight_decay=config.weight_decay
    )


def learning_rate(step: int, config: TrainConfig, steps_per_epoch: int) -> float:
    """Return the learning rate of a step: linear warm-up, then steps down or half a cosine to zero.

    Args:
        step: Optimiser step, from 0.
        config: Learning-rate schedule, in epochs.
        steps_per_epoch: Number of steps in an epoch, at least 1.
    """
    warmup = config.warmup_epochs * steps_per_epoch
    start = config.warmup_start
    ramp = min(start + (1 - start) * step / warmup, 1.0) if warmup > 0 else 1.0
    if config.schedule == "cosine":
        falling = max(config.epochs * steps_per_epoch - warmup, 1)
        fall = (1 + math.cos(math.pi * max(step - warmup, 0) / falling)) / 2
    else:
        fall = config.decay ** sum(step >= m * steps_per_epoch for m in config.milestones)
    return float(config.lr * ramp * fall)


def reid_ramp(step: int, config: TrainConfig, steps_per_epoch: int) -> float:
    """Return the share of the re-ID weight: linear from 0 to 1 over ``reid_warmup_epochs``.

    In the first epoch most people meet an empty table row. They can only be pushed away from
    everybody else, which teaches nothing, outweighs detection and wears pretrained weights off.
    """
    rise = config.reid_warmup_epochs * steps_per_epoch
    return min(step / rise, 1.0) if rise > 0 else 1.0


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
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
        whole: Whether to treat all pieces as one.

    Returns:
        Lengths before clipping, by part (or under ``all``).
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
