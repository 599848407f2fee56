"""Which annotations a verb works on: those of the command line, else those of the run's recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.errors import UsageError

if TYPE_CHECKING:
    from fdps.structures import SceneSet

RECIPE_FILE = "recipe.toml"
DATA_HELP = "Kind of data set: prw, cuhk_sysu, coco, folder, mot ... [default: the run's test data]"
ROOT_HELP = "Folder of the data set. [default: that of the run]"
Roots = Annotated[
    list[str] | None,
    typer.Option(
        "--root",
        metavar="DIR|OLD=NEW",
        help="Folder of the data set, instead of the recipe's; OLD=NEW, repeated, where it reads "
        "several.",
    ),
]
"""Folders of the data of a recipe, for :func:`fdps.config.with_root`."""
SPLIT_HELP = "Which part of it. [default: that of the run, else test]"


def chosen_scenes(
    run: Path | None, kind: str | None, root: Path | None, split: str | None
) -> "SceneSet":
    """Read the scenes that the options name; what they leave out comes from the run's recipe.

    Args:
        run: A run folder, or a weights file, which has no recipe.
        kind: Kind of data set.
        root: Folder of the data set.
        split: Which part of it.

    Raises:
        UsageError: Neither the options nor a recipe tell kind and folder.
        FdpsError: As :func:`fdps.data.load_scenes` and :func:`fdps.config.load_recipe` raise.
    """
    from fdps.config import Source, load_recipe
    from fdps.data import load_scenes

    recipe = run / RECIPE_FILE if run is not None else None
    test = load_recipe(recipe).data.test if recipe is not None and recipe.is_file() else None
    if kind is not None and (test is None or kind != test.kind):
        test = Source(kind, "", "test")  # another kind of data: nothing of the run's applies
    if test is None or not (root or test.root):
        raise UsageError(
            "which data? Neither the options nor a run folder tell kind and folder",
            hint="give --data KIND --root DIR, or a run folder whose recipe has [data.test]",
        )
    cache = cache_of(run) if run is not None and run.is_dir() else None
    return load_scenes(test.kind, root or Path(test.root), split or test.split, cache=cache)


def cache_of(run: Path) -> Path:
    """Folder beside a run that keeps parsed annotations; it may be deleted at any time."""
    return run.parent / "cache"
