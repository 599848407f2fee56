"""Every one-step system as a tiny network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fake.tiny import CONFIG, LOSS, N_PERSONS
from fdps.models import build_system
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
    """Write the weights of a system that nobody trained.

    The layers that tell regions apart begin with large weights, and norms of rows have statistics,
    so that scores, boxes and embeddings of regions differ.
    """
    config = replace(CONFIG, **change)
    torch.manual_seed(0)
    net, _ = build_system(config, LOSS, N_PERSONS)
    with torch.no_grad():
        for name, parameter in net.roi_heads.named_parameters():
            if name.split(".")[-2] in ("vertical", "horizontal", "person"):
                parameter.normal_(std=0.5)
        # A trunk that nobody trained makes nearly the same of everything.
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.fill_(0.05)
    save_weights(net, config, LOSS, N_PERSONS, path)
    return path
