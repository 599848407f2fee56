"""``fdps train``: a recipe becomes a run folder with weights, or several do."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.chosen_data import Roots
from fdps.cli.train.sweep import combinations, sweep_runs
from fdps.cli.train.training import say_done, train_run


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a TOML file; see configs/.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Run folder. [default: runs/train/NAME]"),
    ] = None,
    roots: Roots = None,
    backbone_weights: Annotated[
        str | None,
        typer.Option(
            help="FILE (safetensors), a trained network, imagenet or none, instead of the recipe's."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a field; repeatable."),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECTION.FIELD=A,B,…",
            help="One run for each value, with a table at the end; repeat it for combinations.",
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a network, or continue a run that was interrupted."""
    from fdps.config import load_recipe, with_root

    overrides = list(settings or [])
    if backbone_weights is not None:
        overrides.append(f"model.backbone_weights={json.dumps(backbone_weights)}")
    chosen = {
        name: load_recipe(recipe, [*overrides, *changed])
        for name, changed in combinations(sweep or []).items()
    }
    for root in roots or []:
        chosen = {name: with_root(each, root) for name, each in chosen.items()}
    run = out or Path("runs") / "train" / next(iter(chosen.values())).name
    if sweep:
        sweep_runs(chosen, run, quiet=quiet, json_output=json_output)
        return
    weights = train_run(chosen[""], run, quiet=quiet)
    say_done(run, weights, json_output=json_output)
