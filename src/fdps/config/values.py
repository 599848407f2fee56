"""Check plain values against the types of a configuration."""

import dataclasses
import difflib
import types
import typing
from typing import Any, Literal

from fdps.errors import ConfigError


def converted(hint: Any, value: Any, name: str) -> Any:
    """Check a value, and turn lists into tuples and whole numbers into floats where those belong.

    Args:
        hint: Type of the field: a number, text, a boolean, a choice (``Literal``), a dataclass,
            a tuple of such, a table (``dict``), or one of these or ``None``.
        value: The value as it was given.
        name: What messages call it, such as ``recipe key train.lr``.

    Raises:
        ConfigError: The value is of another type; the message names it, and the nearest choice.

    Example:
        >>> converted(tuple[float, ...], [1, 2.5], "milestones")
        (1.0, 2.5)
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        is_given = value is None or any(type(value) is hint for hint in args)
        return value if is_given else converted(args[0], value, name)
    if origin is Literal and isinstance(value, str) and value in args:
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = args[:1] * len(value) if args[1:] == (...,) else args
        if len(kinds) == len(value):
            return tuple(converted(k, v, name) for k, v in zip(kinds, value, strict=True))
    if origin is dict and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return dict(value)
    if isinstance(hint, type) and not (isinstance(value, bool) and hint is not bool):
        if hint is float and isinstance(value, int):
            return _as_float(value, name)
        if isinstance(value, hint):
            return value
    near = difflib.get_close_matches(str(value), map(str, args), n=1) if origin is Literal else []
    raise ConfigError(
        f"{name} must be {_told(hint)}, got {value!r}",
        hint=f"did you mean {near[0]!r}?" if near else "",
    )


def _as_float(value: int, name: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"{name} must be a number below 1e308, got one far above") from None


def _told(hint: Any) -> str:
    """Say what a field takes."""
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        args = typing.get_args(hint)
        return f"a list of {args[0].__name__}" + ("" if args[1:] == (...,) else f" ({len(args)})")
    if typing.get_origin(hint) is dict:
        return "a table"
    return "a section of its own" if dataclasses.is_dataclass(hint) else str(hint.__name__)
