"""Recipes as TOML: read with ``--set`` overrides, write back, refuse what is unknown."""

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from fdps.config.fields import DataConfig, Recipe, Source
from fdps.errors import ConfigError, MissingDataError

T = TypeVar("T")


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from TOML and apply ``section.field=value`` overrides.

    Raises:
        MissingDataError: No such file.
        ConfigError: Not TOML, an override of another form, an unknown or missing key (the nearest
            known one is named), a value of the wrong type or out of range.
    """
    if not path.is_file():
        raise MissingDataError(f"no recipe at {path}", hint="recipes are in configs/")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    values.setdefault("name", path.stem)
    for override in overrides:
        _apply(values, override)
    return from_dict(Recipe, values)


def from_dict(
    cls: type[T], values: Mapping[str, Any], where: str = "", *, what: str = "recipe"
) -> T:
    """Build a config dataclass from plain values, checking every key and type.

    Args:
        cls: The dataclass.
        values: By the names of its fields.
        where: What precedes the names in messages, such as ``train.``.
        what: What kind of file holds the values, for messages.

    Raises:
        ConfigError: An unknown or missing key, a value of the wrong type or out of range; the
            message names the key and the value.
    """
    hints = typing.get_type_hints(cls)
    kwargs = {}
    for key, value in values.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"did you mean {where}{near[0]}?" if near else f"known: {', '.join(hints)}"
            raise ConfigError(f"unknown {what} key {where}{key}", hint=hint)
        kwargs[key] = _convert(hints[key], value, where + key, what)
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = item.default is item.default_factory is dataclasses.MISSING
        if required and item.name not in kwargs:
            raise ConfigError(f"{what} key {where}{item.name} is missing")
    return cls(**kwargs)


def with_root(recipe: Recipe, root: str) -> Recipe:
    """Point a recipe to another folder of its data set.

    Raises:
        ConfigError: The recipe joins several data sets, so one folder cannot serve all.
    """
    train, test, validation = recipe.data.train, recipe.data.test, recipe.data.validation
    roots = {source.root for source in (*train, test, validation) if source}
    if len(roots) > 1:
        raise ConfigError(
            f"--root {root}: the recipe reads {len(roots)} folders ({', '.join(sorted(roots))})",
            hint="change the roots in the recipe itself",
        )
    moved = DataConfig(
        train=tuple(dataclasses.replace(source, root=root) for source in train),
        test=test and dataclasses.replace(test, root=root),
        validation=validation and dataclasses.replace(validation, root=root),
    )
    return dataclasses.replace(recipe, data=moved)


def with_base(recipe: Recipe, folder: Path) -> Recipe:
    """Let relative folders of data start in another folder, where they exist there."""

    def placed(path: str) -> str:
        is_there = folder != Path.cwd() and (folder / path).exists()
        return str(folder / path) if is_there else path

    def moved(source: Source | None) -> Source | None:
        return source and dataclasses.replace(source, root=placed(source.root))

    data = DataConfig(
        train=tuple(dataclasses.replace(s, root=placed(s.root)) for s in recipe.data.train),
        test=moved(recipe.data.test),
        validation=moved(recipe.data.validation),
    )
    return dataclasses.replace(recipe, data=data)


def to_toml(recipe: Recipe) -> str:
    """Write a recipe so that :func:`load_recipe` reads the same recipe back."""
    lines: list[str] = []
    _write_table(dataclasses.asdict(recipe), "", lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected section.field=value")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    table, *path = values, *key.split(".")
    for name in path[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: {name} is not a section")
    table[path[-1]] = value


def _convert(hint: Any, value: Any, where: str, what: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_dict(typing.cast(type[Any], hint), value, where + ".", what=what)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _convert(args[0], value, where, what)
    if origin is Literal and value in args:
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = args[:1] * len(value) if args[1:] == (...,) else args
        if len(kinds) == len(value):
            return tuple(_convert(k, v, where, what) for k, v in zip(kinds, value, strict=True))
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    near = difflib.get_close_matches(str(value), map(str, args), n=1) if origin is Literal else []
    raise ConfigError(
        f"{what} key {where} must be {_name(hint)}, got {value!r}",
        hint=f"did you mean {near[0]!r}?" if near else "",
    )


def _name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        args = typing.get_args(hint)
        return f"a list of {args[0].__name__}" + ("" if args[1:] == (...,) else f" ({len(args)})")
    return str(hint.__name__)


def _write_table(values: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    tables: list[tuple[str, Mapping[str, Any]]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            tables.append((f"[{prefix}{key}]", value))
        elif isinstance(value, tuple) and value and isinstance(value[0], Mapping):
            tables.extend((f"[[{prefix}{key}]]", row) for row in value)
        elif value is not None:
            # JSON strings, numbers, booleans and lists are TOML too, but for the character DEL.
            text = json.dumps(value, ensure_ascii=False)
            lines.append(f"{key} = {text}".replace("\x7f", "\\u007f"))
    for header, table in tables:
        lines += ["", header]
        _write_table(table, header.strip("[]") + ".", lines)
