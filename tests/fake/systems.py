"""Every one-step system as a tiny network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from fake.tiny import CONFIG, LOSS, N_PERSONS
from fdps.models import build_system
from fdps.models.scores import SoftmaxScore
from fdps.models.weights import save_weights

SYSTEMS: dict[str, dict[str, Any]] = {
    "oim": {"system": "oim"},
    "oim_base": {"system": "oim_base"},
    "flatten": {"system": "flatten"},
    "parameter_base": {"system": "parameter_base"},
    "fdps": {"system": "fdps"},
    "nae": {"system": "oim_base", "person_score": "norm", "reid_features": "res4+res5"},
    "hoim": {"system": "oim_base", "person_score": "memory"},
    "oimnet_pp": {"system": "oim_base", "embedding_norm": "prototype"},
    "seqnet": {"stages": "two", "person_score": "norm", "reid_features": "res4+res5"},
    "binet": {"system": "binet"},
    "nae_plus": {"system": "nae_plus"},
    "apnet": {"system": "apnet"},
    "apnet, two stages": {"system": "apnet", "stages": "two"},
    "embedded anew": {"system": "fdps", "embedded_box": "detection"},
}
"""What of :data:`fake.tiny.CONFIG` each of them changes."""


def write_system(path: Path, **change: Any) -> Path:
    """Write the weights of a system that nobody trained, and that tells regions apart.

    As it is built, a network makes nearly the same of all regions, and rounding alone would say who
    is found: norms take the statistics of noise here, and layers that score begin with larger
    weights.
    """
    config = replace(CONFIG, **change)
    torch.manual_seed(0)
    net, _ = build_system(config, LOSS, N_PERSONS)
    norms = [norm for norm in net.modules() if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    net.train()
    boxes = torch.rand(4, 24, 2) * 80
    regions = [*torch.cat([boxes, boxes + torch.rand(4, 24, 2) * 40 + 8], dim=2)]
    with torch.no_grad():
        net.rpn.head.cls_logits.weight.normal_(std=0.5)  # type: ignore[operator, union-attr]
        features = net.features(ImageList(torch.randn(4, 3, 128, 128), [(128, 128)] * 4))
        net.roi_heads.embed(features, regions)
        heads = net.roi_heads.heads
        if isinstance(heads.person, SoftmaxScore):
            heads.person.weight.normal_(std=0.1)
    for norm in norms:
        norm.momentum = 0.1
    save_weights(net.eval(), config, LOSS, N_PERSONS, path)
    return path
