"""``fdps resume``: a run that was interrupted goes on; its folder knows all that is needed."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.chosen_data import Roots
from fdps.cli.train.training import say_done, train_run
from fdps.errors import MissingDataError


def resume(
    run: Annotated[Path, typer.Argument(help="Run folder of fdps train.")],
    roots: Roots = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.FIELD=VALUE",
            help="Change how it is computed, such as train.device or train.workers; repeatable.",
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Continue a run where its newest checkpoint stands."""
    from fdps.config import load_recipe, with_base, with_root
    from fdps.engine.run_folder import ENVIRONMENT_FILE, RECIPE_FILE

    if not (run / RECIPE_FILE).is_file():
        raise MissingDataError(
            f"{run} is not the folder of a run: it has no {RECIPE_FILE}",
            hint="start one with: fdps train RECIPE",
        )
    recipe = load_recipe(run / RECIPE_FILE, settings or [])
    try:
        started = json.loads((run / ENVIRONMENT_FILE).read_text(encoding="utf-8"))["folder"]
        recipe = with_base(recipe, Path(started))
    except (OSError, KeyError, TypeError, ValueError):
        pass  # relative paths then start here
    for root in roots or []:
        recipe = with_root(recipe, root)
    weights = train_run(recipe, run, quiet=quiet)
    say_done(run, weights, json_output=json_output)
