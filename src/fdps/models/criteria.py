"""The one place where the loss that a recipe names becomes a criterion."""

from typing import Any

from fdps.config import LossConfig
from fdps.errors import ConfigError
from fdps.losses import (
    BalancedOIMLoss,
    Criterion,
    HierarchicalMemory,
    HOIMLoss,
    LocalizedOIMLoss,
    OIMLoss,
)


def build_criterion(
    loss: LossConfig, n_persons: int, dim: int, *, is_hierarchical: bool = False
) -> Criterion:
    """Build the re-ID loss of a recipe with an empty memory.

    Args:
        loss: The loss.
        n_persons: Training identities, L; rows of the look-up table.
        dim: Length of an embedding.
        is_hierarchical: Build it with a memory of background (HOIM), which scores boxes.

    Raises:
        ConfigError: That memory has no such loss.
    """
    balance: dict[str, Any] = {
        "alpha": loss.alpha,
        "sigma": loss.sigma,
        "beta": loss.beta,
        "use_dispersion": loss.use_dispersion,
        "use_negatives": loss.use_negatives,
    }
    if is_hierarchical:
        if loss.name == "loim":
            raise ConfigError(
                "recipe key loss.name is 'loim', which the memory of model.person_score = 'memory' "
                "does not know",
                hint="take loss.name = 'oim' or 'boim', or another model.person_score",
            )
        memory = HierarchicalMemory(
            n_persons,
            loss.queue_size,
            loss.background_size,
            dim,
            momentum=loss.momentum,
            temperature=loss.temperature,
        )
        return HOIMLoss(memory, **balance) if loss.name == "boim" else HOIMLoss(memory)
    common: dict[str, Any] = {"temperature": loss.temperature, "momentum": loss.momentum}
    if loss.name == "oim":
        return OIMLoss(n_persons, loss.queue_size, dim, **common)
    if loss.name == "loim":
        common = {"temperature": loss.temperature, "least_kept": loss.least_kept}
        return LocalizedOIMLoss(n_persons, loss.queue_size, dim, **common)
    return BalancedOIMLoss(n_persons, loss.queue_size, dim, **common, **balance)
