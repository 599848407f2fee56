"""Recipes: frozen dataclasses, one sentence per field, read from TOML and ``--set a.b=c``.

A recipe fixes everything that makes a training run what it is. The defaults are the reading of the
paper in its own setting (ResNet-50, 900×1500, batch 5); where the paper leaves something open, the
sentence of the field says so.

Public are the names in ``__all__``; the modules behind them are internal and may change.
"""

from fdps.config.fields import (
    MACHINE_FIELDS,
    RANGES,
    DataConfig,
    LossConfig,
    ModelConfig,
    Recipe,
    Source,
    TrainConfig,
)
from fdps.config.recipe_file import from_dict, load_recipe, to_toml, with_base, with_root

__all__ = [
    "MACHINE_FIELDS",
    "RANGES",
    "DataConfig",
    "LossConfig",
    "ModelConfig",
    "Recipe",
    "Source",
    "TrainConfig",
    "from_dict",
    "load_recipe",
    "to_toml",
    "with_base",
    "with_root",
]
