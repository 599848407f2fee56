"""A network for tests: real in every part, tiny and untrained."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fdps.config import LossConfig, ModelConfig
from fdps.losses import Criterion
from fdps.models import PersonSearchNet, build_criterion, build_model

N_PERSONS = 3

CONFIG = ModelConfig(
    backbone="mobilenet_v2",
    backbone_weights="none",
    short_side=(64,),
    long_side=128,
    anchor_sizes=(16, 32),
    anchor_ratios=(1.0, 2.0),
    rpn_before_nms=(50, 50),
    rpn_after_nms=(16, 8),
    region_size=(8, 6),
    regions_per_image=8,
    embedding_dim=16,
    score_threshold=0.0,
    nms_iou=0.9,
)
LOSS = LossConfig(queue_size=4)


def tiny_network(**change: Any) -> PersonSearchNet:
    """Build the network in evaluation mode, with changes to :data:`CONFIG`."""
    return build_model(replace(CONFIG, **change)).eval()


def tiny_criterion(loss: LossConfig = LOSS) -> Criterion:
    """Build a re-ID loss with an empty memory for the embeddings of the tiny network."""
    return build_criterion(loss, N_PERSONS, CONFIG.embedding_dim)


def picture(height: int = 64, width: int = 80) -> Tensor:
    """Noise in [0, 1]."""
    return torch.rand(3, height, width)


def target(*people: tuple[float, float, float, float, int]) -> dict[str, Tensor]:
    """Annotations of one picture: ``x1 y1 x2 y2 person_id`` each."""
    rows = torch.tensor(people, dtype=torch.float32).reshape(-1, 5)
    return {"boxes": rows[:, :4], "person_ids": rows[:, 4].long()}
