"""The common part of ``fdps train``, ``fdps resume`` and a sweep: a recipe becomes a run."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fdps.cli.chosen_data import RECIPE_FILE, cache_of
from fdps.cli.progress import working
from fdps.cli.train.run_watch import watched
from fdps.cli.train.samples import SampleSheets
from fdps.errors import ConfigError
from fdps.names import printable, typed

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
    with working("Loading torch", hidden=quiet or not is_first_process()):
        from fdps.engine.train import train

    if recipe.train.start_from:
        _check_licence(recipe.train.start_from)
    # It announces precision and processes; what matters of that, we say ourselves.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with working("Reading the data", hidden=quiet or not is_first_process()):
        cache = cache_of(run)
        scenes, validation = training_scenes(recipe, cache), _validation_scenes(recipe, run)
    if not quiet and is_first_process():
        n_persons, n_boxes = len(scenes.person_ids), scenes.n_boxes
        print(f"Data    {len(scenes)} scenes, {n_boxes} people, {n_persons} ids", file=sys.stderr)
        print(f"Page    {printable(run / 'index.html')}", file=sys.stderr)
    try:
        with watched(run) as watch:
            weights = train(
                recipe,
                scenes,
                run,
                stream=None if quiet else sys.stderr,
                validate=validation,
                inspect=SampleSheets(run, validation or scenes),
                watchers=[watch],
            )
            watch.finish()
            return weights
    except KeyboardInterrupt:
        if is_first_process() and (run / RECIPE_FILE).is_file():  # else nothing has begun
            print(f"Stopped {printable(run)}\nNext    fdps resume {typed(run)}", file=sys.stderr)
        raise


def _check_licence(model: str) -> None:
    """Refuse to begin from weights of a licence that is not allowed."""
    from fdps.embedders import find_model
    from fdps.embedders.licences import check_licence, licence_of

    place = find_model(model)
    if place.exists():  # otherwise the training says that there is none
        check_licence(licence_of(place), model)


def say_done(run: Path, weights: Path, *, json_output: bool) -> None:
    """Print what a run came to, and what to do with it."""
    if not is_first_process():
        return
    if json_output:
        print(json.dumps({"run": str(run), "weights": str(weights)}))
    else:
        print(f"Weights {printable(weights)}\nNext    fdps predict {typed(run)}")


def is_first_process() -> bool:
    """Tell whether this process speaks for all that ``torchrun`` or SLURM started."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def training_scenes(recipe: "Recipe", cache: Path | None = None) -> "SceneSet":
    """Read and join the training sets of a recipe.

    Args:
        recipe: Its ``data.train``.
        cache: Folder that keeps what was parsed.

    Raises:
        ConfigError: The recipe names none.
        FdpsError: The same as :func:`fdps.data.load_scenes`.
    """
    from fdps.data.identities import concatenate

    if not recipe.data.train:
        raise ConfigError(
            f"recipe {recipe.name} names no training data", hint="add a [[data.train]] section"
        )
    sets = [_read(source, cache) for source in recipe.data.train]
    return concatenate(sets, "+".join(part.name for part in sets))


def _validation_scenes(recipe: "Recipe", run: Path) -> "SceneSet | None":
    source = recipe.data.validation
    if not recipe.train.validate_every or source is None:
        return None
    return _read(source, cache_of(run))


def _read(source: "Source", cache: Path | None) -> "SceneSet":
    from fdps.data import load_scenes

    return load_scenes(source.kind, Path(source.root), source.split, cache=cache)
