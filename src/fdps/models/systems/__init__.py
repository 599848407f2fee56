"""The systems of the literature, one file each, which reads like the method section of its paper.

Read :mod:`fdps.models.systems.system` first: it is the skeleton that all of them share.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import TypeVar, cast

from fdps.config import ModelConfig
from fdps.config.systems import SYSTEMS, find_system
from fdps.models.systems.system import System

__all__ = ["System", "register", "system_of"]

S = TypeVar("S", bound=type[System])


def register(name: str) -> Callable[[S], S]:
    """Make a system known under a name, for recipes that are read afterwards.

    Args:
        name: What ``model.system`` of a recipe says.

    Raises:
        ValueError: Another system has that name.

    Example:
        >>> @register("docstring_example")
        ... class Example(System):
        ...     pass
    """

    def remember(cls: S) -> S:
        known = find_system(name)
        # A script that runs as __main__ is imported once more by the processes that it starts.
        if known is not None and getattr(known, "__qualname__", None) != cls.__qualname__:
            raise ValueError(f"there is a system named {name!r} already: {known}")
        SYSTEMS[name] = cls
        return cls

    return remember


def system_of(config: ModelConfig) -> System:
    """Return the system that a recipe names.

    Raises:
        ConfigError: An option is not known to the system, or outside its range.
    """
    found = find_system(config.system)
    if isinstance(found, EntryPoint):
        found = found.load()
    elif isinstance(found, str):
        module, _, name = found.partition(":")
        found = getattr(import_module(module), name)
    return cast(type[System], found)(config)
