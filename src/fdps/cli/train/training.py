"""What ``fdps train``, ``fdps resume`` and a sweep have in common: a recipe becomes a run."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fdps.cli.chosen_data import RECIPE_FILE, cache_of
from fdps.cli.train.inspection import Inspection
from fdps.cli.train.run_watch import watched
from fdps.errors import ConfigError

if TYPE_CHECKING:
    from fdps.config import Recipe, Source
    from fdps.structures import SceneSet


def train_run(recipe: "Recipe", run: Path, *, quiet: bool) -> Path:
    """Train, or continue, and keep the page of the run up to date.

    Args:
        recipe: Complete.
        run: The run folder.
        quiet: Show no progress.

    Returns:
        The weights file.
    """
    from fdps.engine.train import train

    # It announces precision and processes; what matters of that, we say ourselves.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    scenes, validation = _training_scenes(recipe, run), _validation_scenes(recipe, run)
    if not quiet and is_first_process():
        n_persons, n_boxes = len(scenes.person_ids), scenes.n_boxes
        print(f"Data    {len(scenes)} scenes, {n_boxes} people, {n_persons} ids", file=sys.stderr)
        print(f"Page    {run / 'index.html'}", file=sys.stderr)
    try:
        with watched(run) as watch:
            weights = train(
                recipe,
                scenes,
                run,
                stream=None if quiet else sys.stderr,
                inspect=Inspection(recipe, run, scenes, validation),
                watchers=[watch],
            )
            watch.finish()
            return weights
    except KeyboardInterrupt:
        if is_first_process() and (run / RECIPE_FILE).is_file():  # else nothing has begun
            print(f"Stopped {run}\nNext    fdps resume {run}", file=sys.stderr)
        raise


def say_done(run: Path, weights: Path, *, json_output: bool) -> None:
    """Print what a run came to, and what to do with it."""
    if not is_first_process():
        return
    if json_output:
        print(json.dumps({"run": str(run), "weights": str(weights)}))
    else:
        print(f"Weights {weights}\nNext    fdps predict {run}")


def is_first_process() -> bool:
    """Whether this process speaks for all that ``torchrun`` or SLURM started."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def _training_scenes(recipe: "Recipe", run: Path) -> "SceneSet":
    from fdps.data.identities import concatenate

    if not recipe.data.train:
        raise ConfigError(
            f"recipe {recipe.name} names no training data", hint="add a [[data.train]] section"
        )
    sets = [_read(source, run) for source in recipe.data.train]
    return concatenate(sets, "+".join(part.name for part in sets))


def _validation_scenes(recipe: "Recipe", run: Path) -> "SceneSet | None":
    source = recipe.data.validation
    if not recipe.train.validate_every or source is None:
        return None
    scenes = _read(source, run)
    if not scenes.queries:
        raise ConfigError(
            f"{scenes.name} has no queries, so nothing can be validated on it",
            hint="name a split with queries as data.validation, or set train.validate_every=0",
        )
    return scenes


def _read(source: "Source", run: Path) -> "SceneSet":
    from fdps.data import load_scenes

    return load_scenes(source.kind, Path(source.root), source.split, cache=cache_of(run))
