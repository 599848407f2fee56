"""Networks: tensors in, tensors out. Start with ``person_search.py``, then ``systems/system.py``.

Public are the names in ``__all__``, :func:`fdps.models.decomposition.decompose` and, for a system
of your own, :mod:`fdps.models.systems`; the other modules are internal and may change.
"""

from fdps.config import LossConfig, ModelConfig
from fdps.losses import Criterion, Distillation, HierarchicalMemory, HOIMLoss
from fdps.models.criteria import build_criterion
from fdps.models.person_search import PersonSearchNet
from fdps.models.systems import System, register, system_of

__all__ = [
    "PersonSearchNet",
    "System",
    "build_criterion",
    "build_model",
    "build_system",
    "register",
]


def build_model(config: ModelConfig, memory: HierarchicalMemory | None = None) -> PersonSearchNet:
    """Build the network of a recipe, in channels-last memory.

    Args:
        config: The network.
        memory: Of the criterion, which the network shares where ``person_score`` is ``memory``.

    Raises:
        ConfigError: An option is not known to the system, or outside its range.
        MissingDataError: The backbone weights do not exist.
        ModelError: They cannot be fetched or do not fit.
        ValueError: A memory is missing.
    """
    return system_of(config).network(memory)


def build_system(
    config: ModelConfig, loss: LossConfig, n_persons: int, teacher: Distillation | None = None
) -> tuple[PersonSearchNet, Criterion]:
    """Build a network and the re-ID loss that it is trained with, which may share a memory.

    Args:
        config: The network.
        loss: The loss.
        n_persons: Training identities, L; rows of the look-up table.
        teacher: What is learnt from a teacher beside the identities.

    Raises:
        ConfigError: An option is not known to the system, or outside its range.
        MissingDataError: The backbone weights do not exist.
        ModelError: They cannot be fetched or do not fit.
    """
    system = system_of(config)
    criterion = system.criterion(loss, n_persons)
    criterion.teacher = teacher
    memory = criterion.memory if isinstance(criterion, HOIMLoss) else None
    return system.network(memory), criterion
