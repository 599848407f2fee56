"""Recipes as TOML: read with ``--set`` overrides, write back, refuse what is unknown."""

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fdps.config.fields import DataConfig, Recipe, Source
from fdps.config.two_step import TwoStepConfig
from fdps.config.values import converted
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
        raise MissingDataError(
            f"no recipe at {path}",
            hint="those of fdps are in configs/ of its source, not in the installed package",
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
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
        kwargs[key] = _converted(hints[key], value, where + key, what)
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = item.default is item.default_factory is dataclasses.MISSING
        if required and item.name not in kwargs:
            raise ConfigError(f"{what} key {where}{item.name} is missing")
    return cls(**kwargs)


def _converted(hint: Any, value: Any, where: str, what: str) -> Any:
    """Build the sections of a recipe, one or a list; anything else is a plain value."""
    sections = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
    if sections and isinstance(value, Mapping):
        section = _section(sections, value, where, what)
        _check_kind_of_keys(section, sections, value, where, what)
        return from_dict(typing.cast(type[Any], section), value, where + ".", what=what)
    if sections and isinstance(value, list):
        value = tuple(_converted(sections[0], each, where, what) for each in value)
    return converted(hint, value, f"{what} key {where}")


def _section(sections: list[Any], value: Mapping[str, Any], where: str, what: str) -> Any:
    """Choose among several kinds of a section by its key ``kind``; by default it is the first."""
    if len(sections) == 1:
        return sections[0]
    kinds = {
        kind: section
        for section in sections
        for kind in typing.get_args(typing.get_type_hints(section)["kind"])
    }
    any_kind = typing.cast(Any, typing.Literal)[tuple(kinds)]
    kind = value.get("kind", next(iter(kinds)))
    return kinds[converted(any_kind, kind, f"{what} key {where}.kind")]


def _check_kind_of_keys(
    section: Any, sections: list[Any], value: Mapping[str, Any], where: str, what: str
) -> None:
    """Refuse a key that another kind of the section has: it is not misspelt.

    Raises:
        ConfigError: There is such a key.
    """
    known = typing.get_type_hints(section)
    for key in value:
        if key in known:
            continue
        for other in sections:
            hints = typing.get_type_hints(other)
            if key in hints:
                own, its = (typing.get_args(h["kind"])[0] for h in (known, hints))
                kind = value.get("kind", own)
                raise ConfigError(
                    f"{what} key {where}.{key} is not for {where}.kind = {kind!r}",
                    hint=f"it belongs to {where}.kind = {its!r}",
                )


def with_root(recipe: Recipe, root: str) -> Recipe:
    """Point a recipe to another folder of its data set.

    Args:
        recipe: What to change.
        root: The new folder; of a recipe that reads several, ``OLD=NEW`` for one of them.

    Raises:
        ConfigError: The recipe joins several data sets, and ``root`` does not say which of their
            folders it replaces.
    """
    roots = {source.root for source in _sources(recipe)}
    old, equals, new = root.partition("=")
    if equals and old in roots:
        return _moved(recipe, lambda path: new if path == old else path)
    if len(roots) > 1:
        raise ConfigError(
            f"--root {root}: the recipe reads {len(roots)} folders ({', '.join(sorted(roots))})",
            hint=f"name the one that has moved, and repeat it for others: --root {min(roots)}=DIR",
        )
    return _moved(recipe, lambda path: root)


def with_base(recipe: Recipe, folder: Path) -> Recipe:
    """Let relative places of data and of a detector start elsewhere, where they exist there."""

    def placed(path: str) -> str:
        is_there = folder != Path.cwd() and (folder / path).exists()
        return str(folder / path) if is_there else path

    moved, model = _moved(recipe, placed), recipe.model
    if not isinstance(model, TwoStepConfig):
        return moved
    return dataclasses.replace(
        moved, model=dataclasses.replace(model, detector=placed(model.detector))
    )


def _sources(recipe: Recipe) -> list[Source]:
    data = recipe.data
    return [source for source in (*data.train, data.test, data.validation) if source]


def _moved(recipe: Recipe, place: Callable[[str], str]) -> Recipe:
    """Put every folder of data somewhere else."""

    def moved(source: Source | None) -> Source | None:
        return source and dataclasses.replace(source, root=place(source.root))

    data = DataConfig(
        train=tuple(dataclasses.replace(s, root=place(s.root)) for s in recipe.data.train),
        test=moved(recipe.data.test),
        validation=moved(recipe.data.validation),
    )
    return dataclasses.replace(recipe, data=data)


def to_toml(recipe: Recipe) -> str:
    """Write a recipe so that :func:`load_recipe` reads the same recipe back."""
    import tomli_w  # a machine that only reads recipes need not have it

    return tomli_w.dumps(_without_none(dataclasses.asdict(recipe)))


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what TOML has no word for, and what reads back as the default."""
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


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
