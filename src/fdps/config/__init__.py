"""Recipes: frozen dataclasses, one sentence per field, read from TOML and ``--set a.b=c``.

A recipe fixes everything that makes a training run what it is. The defaults are the reading of the
paper in its own setting (ResNet-50, 900×1500, batch 5); where the paper leaves something open, the
sentence of the field says so.

Public are the names in ``__all__``; the modules behind them are internal and may change.
"""

from fdps.config.fields import (
    MACHINE_FIELDS,
    DataConfig,
    LossConfig,
    ModelConfig,
    Recipe,
    Source,
    TrainConfig,
)
from fdps.config.ranges import RANGES
from fdps.config.recipe_file import from_dict, load_recipe, to_toml, with_base, with_root
from fdps.config.two_step import CARD_PREFIX, TwoStepConfig

__all__ = [
    "CARD_PREFIX",
    "MACHINE_FIELDS",
    "RANGES",
    "DataConfig",
    "LossConfig",
    "ModelConfig",
    "Recipe",
    "Source",
    "TrainConfig",
    "TwoStepConfig",
    "from_dict",
    "load_recipe",
    "to_toml",
    "with_base",
    "with_root",
]
