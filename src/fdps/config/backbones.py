"""The backbones that a recipe may name."""

import re
from difflib import get_close_matches

from fdps.errors import ConfigError

BACKBONES = ("resnet50", "resnet18", "mobilenet_v2")
"""Backbones of torchvision that ``model.backbone`` may name."""

TIMM_BACKBONE = re.compile(r"timm:[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
"""Those of timm, with or without the tag of their weights; never a place to fetch code from."""


def check_backbone(name: str) -> None:
    """Refuse a backbone that is neither of torchvision nor of timm.

    Raises:
        ConfigError: It is not known; the nearest is named.
    """
    if name in BACKBONES or TIMM_BACKBONE.fullmatch(name):
        return
    near = get_close_matches(name, BACKBONES, n=1)
    raise ConfigError(
        f"recipe key model.backbone must be one of {', '.join(BACKBONES)} or timm:NAME, "
        f"got {name!r}",
        hint=f"did you mean {near[0]!r}?" if near else "",
    )
