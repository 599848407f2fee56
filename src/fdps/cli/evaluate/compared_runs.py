"""The runs that ``fdps compare`` is given: predictions, data, and which differ in the seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fdps.cli.chosen_data import PREDICTIONS_FILE, RECIPE_FILE, DataChoice
from fdps.errors import MissingDataError, UsageError

if TYPE_CHECKING:
    from fdps.config import Recipe
    from fdps.evaluation import EvaluationOptions
    from fdps.evaluation.comparison import Contender
    from fdps.predictions import Predictions
    from fdps.structures import SceneSet


def scenes_of(runs: Sequence[Path], choice: DataChoice) -> "SceneSet":
    """Read the scenes that all runs are scored on.

    Args:
        runs: Run folders or predictions files.
        choice: Kind, folder and split; what it leaves out is what the recipes say.

    Raises:
        UsageError: Nothing tells the data, or the recipes name different data.
        FdpsError: The same as :meth:`fdps.cli.chosen_data.DataChoice.scenes`.
    """
    recipes = {run: _recipe(run) for run in runs}
    named = {run: recipe.data.test for run, recipe in recipes.items() if recipe is not None}
    first = next(iter(named), None)
    if choice.data is None and choice.root is None:
        for run, test in named.items():
            if first is not None and test != named[first]:
                raise UsageError(
                    f"{first} and {run} are tested on different data: {named[first]} and {test}",
                    hint="predict all of them on the same data and name it: --data KIND --root DIR",
                )
    return choice.scenes(first)


def load_runs(runs: Sequence[Path]) -> "dict[Path, Predictions]":
    """Read the predictions of every run, and refuse those of other annotations.

    Raises:
        UsageError: A run is given twice.
        MissingDataError: A run has no predictions.
        PredictionsError: A file is no predictions file, or was made on other data than the first.
    """
    from fdps.errors import PredictionsError
    from fdps.predictions import load_predictions

    found: dict[Path, Predictions] = {}
    for run in runs:
        if run in found:
            raise UsageError(f"{run} is given twice")
        file = run / PREDICTIONS_FILE if run.is_dir() else run
        if run.is_dir() and not file.is_file():
            raise MissingDataError(
                f"{run} has no {PREDICTIONS_FILE}", hint=f"make it with: fdps predict {run}"
            )
        found[run] = load_predictions(file)
        first = found[runs[0]].data_hash
        if first and found[run].data_hash and first != found[run].data_hash:
            raise PredictionsError(
                f"{runs[0]} and {run} were predicted on different data: their data hashes are "
                f"{first} and {found[run].data_hash}",
                hint="predict both on the same data: fdps predict RUN --data KIND --root DIR",
            )
    return found


def contenders(
    found: "dict[Path, Predictions]", scenes: "SceneSet", options: "EvaluationOptions"
) -> "list[Contender]":
    """Score every run, and join those whose recipes differ in the seed alone.

    Raises:
        FdpsError: The same as :func:`fdps.evaluation.evaluate_with`.
    """
    from fdps.evaluation import evaluate_with
    from fdps.evaluation.comparison import Contender

    groups = group_by_seed({run: _recipe(run) for run in found})
    return [
        Contender(_name(group), tuple(evaluate_with(options, found[run], scenes) for run in group))
        for group in groups
    ]


def group_by_seed(recipes: "dict[Path, Recipe | None]") -> list[list[Path]]:
    """Put runs together whose recipes are equal but for ``train.seed`` and the name.

    A run without a recipe stays alone, and so does a second run with the same seed: it is not
    another seed but, for example, another version of the program.
    """
    from dataclasses import replace

    groups: dict[tuple[object, int], list[Path]] = {}
    seeds: dict[tuple[object, int], set[int]] = {}
    for run, recipe in recipes.items():
        if recipe is None:
            groups[(run, 0)] = [run]
            continue
        alike = replace(recipe, name="any", train=replace(recipe.train, seed=0))
        copy = 0
        while recipe.train.seed in seeds.get((alike, copy), set()):
            copy += 1
        groups.setdefault((alike, copy), []).append(run)
        seeds.setdefault((alike, copy), set()).add(recipe.train.seed)
    return list(groups.values())


def _recipe(run: Path) -> "Recipe | None":
    from fdps.config import load_recipe

    file = run / RECIPE_FILE
    return load_recipe(file) if file.is_file() else None


def _name(group: Sequence[Path]) -> str:
    name = group[0].name if group[0].is_dir() else group[0].stem
    return name if len(group) == 1 else f"{name} ({len(group)} seeds)"
