"""Re-ID networks on crops, which search behind a detector: the second of two steps.

``network`` is the network, ``plain`` puts it together, and every other file is a system of the
literature that reads like the method section of its paper.
"""

from importlib import import_module
from typing import cast

from fdps.config import LossConfig, TwoStepConfig
from fdps.config.systems import TWO_STEP_SYSTEMS
from fdps.losses import Criterion
from fdps.models.reid.network import ReidNet
from fdps.models.reid.plain import PlainReid

__all__ = ["ReidNet", "build_reid", "reid_system"]


def reid_system(config: TwoStepConfig) -> PlainReid:
    """Return the two-step system that a recipe names.

    Raises:
        ConfigError: An option is not known to the system, or outside its range.
    """
    module, _, name = TWO_STEP_SYSTEMS[config.system].partition(":")
    return cast(type[PlainReid], getattr(import_module(module), name))(config)


def build_reid(
    config: TwoStepConfig, loss: LossConfig, n_persons: int, *, n_features: int = 0
) -> tuple[ReidNet, Criterion]:
    """Build a network on crops and the re-ID loss that it is trained with.

    Args:
        config: The network.
        loss: The losses.
        n_persons: Training identities, L.
        n_features: Numbers that a network outside says of each crop, where the recipe keeps those.

    Raises:
        ConfigError: An option is not known to the system, or outside its range.
        MissingDataError: The backbone weights do not exist.
        ModelError: They cannot be fetched or do not fit.
    """
    system = reid_system(config)
    return system.network(loss, n_persons, n_features=n_features), system.criterion(loss, n_persons)
