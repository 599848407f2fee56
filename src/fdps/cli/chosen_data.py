"""Find the annotations for a verb: those of the command line, else of the run's recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.errors import UsageError

if TYPE_CHECKING:
    from fdps.structures import SceneSet

RECIPE_FILE = "recipe.toml"
PREDICTIONS_FILE = "predictions.safetensors"
PAIRS_FILE = "pairs.safetensors"
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
SPLIT_HELP = "Split to read. [default: that of the run, else test]"


@dataclass(frozen=True)
class DataChoice:
    """The options that say which annotations a verb works on."""

    data: Annotated[str | None, typer.Option(metavar="KIND", help=DATA_HELP)] = None
    root: Annotated[Path | None, typer.Option(metavar="DIR", help=ROOT_HELP)] = None
    split: Annotated[str | None, typer.Option(help=SPLIT_HELP)] = None

    def scenes(self, run: Path | None) -> "SceneSet":
        """Read the scenes; what the options leave out comes from the run's recipe.

        Args:
            run: A run folder, or a weights file, which has no recipe.

        Raises:
            UsageError: Neither the options nor a recipe tell kind and folder.
            FdpsError: Those of :func:`fdps.data.load_scenes` and :func:`fdps.config.load_recipe`.
        """
        from fdps.config import Source, load_recipe
        from fdps.data import load_scenes

        recipe = run / RECIPE_FILE if run is not None else None
        test = load_recipe(recipe).data.test if recipe is not None and recipe.is_file() else None
        if self.data is not None and (test is None or self.data != test.kind):
            test = Source(self.data, "", "test")  # another kind: nothing of the run's applies
        if test is None or not (self.root or test.root):
            raise UsageError(
                "which data? Neither the options nor a run folder tell kind and folder",
                hint="give --data KIND --root DIR, or a run folder whose recipe has [data.test]",
            )
        root, split = self.root or Path(test.root), self.split or test.split
        cache = cache_of(run) if run is not None and run.is_dir() else None
        return load_scenes(test.kind, root, split, cache=cache)

    def words(self) -> list[str]:
        """The options as they were given, to be given again."""
        return [
            word
            for name, value in vars(self).items()
            if value is not None
            for word in (f"--{name}", str(value))
        ]


def cache_of(run: Path) -> Path:
    """Folder beside a run that keeps parsed annotations; it may be deleted at any time."""
    from fdps.engine.run_folder import cache_folder

    return cache_folder(run)
