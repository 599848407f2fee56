"""A small network that nobody trained: real in every part, and quick."""

from pathlib import Path

import torch

from fdps.config import LossConfig, ModelConfig
from fdps.models import build_model
from fdps.models.weights import save_weights


def write_network(
    path: Path, *, n_people: int, seed: int = 0, backbone: str = "mobilenet_v2"
) -> Path:
    """Write weights.

    Args:
        path: The file.
        n_people: The network finds so many in a picture that has texture.
        seed: Of the weights.
        backbone: As a recipe names it.

    Returns:
        ``path``.
    """
    config = ModelConfig(
        backbone=backbone,
        backbone_weights="none",
        short_side=(64,),
        long_side=128,
        rpn_after_nms=(16, 8),
        embedding_dim=16,
        score_threshold=0.0,
        nms_iou=0.9,
        max_detections=n_people,
    )
    loss = LossConfig(queue_size=8)
    torch.manual_seed(seed)
    save_weights(build_model(config), config, loss, 2, path)
    return path
