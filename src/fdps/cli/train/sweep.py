"""``fdps train --sweep``: one run per combination of values, and a table of them all."""

import itertools
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from fdps.cli.train.training import is_first_process, train_run
from fdps.errors import ConfigError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.config import Recipe

TABLE_FILE = "sweep.json"
_FIGURES = ("recall", "ap", "mAP", "top1")


class Row(NamedTuple):
    """The figures of one run of a sweep."""

    name: str
    run: Path
    figures: dict[str, float]


def combinations(sweeps: Sequence[str]) -> dict[str, list[str]]:
    """Overrides of every combination, by a name that is fit for a folder.

    Args:
        sweeps: ``section.field=a,b,…`` each; none is one combination that changes nothing.

    Raises:
        ConfigError: Another form, a value twice, or a field twice.

    Example:
        >>> combinations(["loss.sigma=0.3,0.5"])
        {'loss.sigma=0.3': ['loss.sigma=0.3'], 'loss.sigma=0.5': ['loss.sigma=0.5']}
    """
    fields = [sweep.partition("=")[0] for sweep in sweeps]
    if len(set(fields)) < len(fields):
        raise ConfigError(f"--sweep names a field twice: {', '.join(fields)}")
    axes = [_axis(sweep).items() for sweep in sweeps]
    return {
        ",".join(name for name, _ in chosen): [override for _, override in chosen]
        for chosen in itertools.product(*axes)
    }


def sweep_runs(
    recipes: Mapping[str, "Recipe"], folder: Path, *, quiet: bool, json_output: bool
) -> None:
    """Train every recipe in a folder of its own, score it, and tabulate.

    Runs that are finished are not trained again, so that an interrupted sweep goes on.

    Args:
        recipes: By name.
        folder: Folder of the whole sweep.
        quiet: Show no progress.
        json_output: Print one JSON object in place of the table.

    Raises:
        ConfigError: There is nothing to score the runs on.
    """
    if not all(recipe.data.validation or recipe.data.test for recipe in recipes.values()):
        raise ConfigError(
            "a sweep needs data to compare its runs on",
            hint="name a split: validation = { kind = …, root = …, split = … } in [data]",
        )
    is_first = is_first_process()
    rows: list[Row] = []
    for number, (name, recipe) in enumerate(recipes.items(), start=1):
        run = folder / name
        if is_first and not quiet:
            print(f"Run     {number}/{len(recipes)}  {printable(name)}", file=sys.stderr)
        try:
            train_run(recipe, run, quiet=quiet)
        except KeyboardInterrupt:
            if is_first:
                print("Sweep   the same command goes on with all its runs", file=sys.stderr)
            raise
        if is_first:
            rows.append(Row(name, run, _scored(recipe, run)))
            _write(rows, folder)
    if is_first and json_output:
        print(json.dumps({"sweep": _records(rows)}))
    elif is_first:
        _show(rows, folder)


def _axis(sweep: str) -> dict[str, str]:
    """Overrides of one field, by what their runs are called."""
    field, equals, values = sweep.partition("=")
    # Lists have commas of their own, so the values are read as one TOML list where they can be.
    try:
        parsed = tomllib.loads(f"v = [{values}]")["v"]
        each = [json.dumps(value, ensure_ascii=False, allow_nan=False) for value in parsed]
    except (TypeError, ValueError):  # bare words, dates, infinity
        each = [word.strip() for word in values.split(",")]
    if not (field and equals and values.strip()) or "" in each:
        raise ConfigError(
            f"--sweep {sweep}: expected section.field=value,value,…",
            hint='for example --sweep "loss.sigma=0.3,0.5,0.7"',
        )
    named = {f"{field}={_in_a_name(value)}": f"{field}={value}" for value in each}
    if len(named) < len(each):
        raise ConfigError(f"--sweep {sweep}: a value stands there twice")
    return named


def _in_a_name(value: str) -> str:
    """A value as a part of a folder's name that no shell takes for something else."""
    plain = value.replace(", ", ",").translate(dict.fromkeys(map(ord, '"[]')))
    return quote(plain, safe=",+")


def _scored(recipe: "Recipe", run: Path) -> dict[str, float]:
    """Score a run on its validation split, or on the test split where it has none."""
    from fdps.cli.chosen_data import cache_of
    from fdps.data import load_scenes
    from fdps.engine.validation import search_figures
    from fdps.searcher import load

    source = recipe.data.validation or recipe.data.test
    assert source is not None
    scenes = load_scenes(source.kind, Path(source.root), source.split, cache=cache_of(run))
    return search_figures(load(run), scenes)


def _records(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [{"set": row.name, "run": str(row.run), **row.figures} for row in rows]


def _write(rows: Sequence[Row], folder: Path) -> None:
    from fdps.durable import write_file

    write_file(folder / TABLE_FILE, json.dumps(_records(rows), indent=1).encode() + b"\n")


def _show(rows: Sequence[Row], folder: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(folder)))
    table.add_column("set")
    for figure in _FIGURES:
        table.add_column(figure, justify="right")
    best = max(row.figures.get("mAP", -1.0) for row in rows)
    for row in rows:
        cells = [f"{row.figures[k]:.3f}" if k in row.figures else "–" for k in _FIGURES]
        mark = " (best mAP)" if row.figures.get("mAP") == best else ""
        table.add_row(escape(printable(row.name)) + mark, *cells)
    Console().print(table)
    print(f"Table   {printable(folder / TABLE_FILE)}")
