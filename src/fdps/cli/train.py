"""``fdps train``: a recipe becomes a run folder with weights."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.chosen_data import cache_of


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a TOML file; see configs/.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Run folder. [default: runs/train/NAME]"),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(help="Folder of the data set, instead of the one in the recipe."),
    ] = None,
    backbone_weights: Annotated[
        str | None,
        typer.Option(help="FILE (safetensors), imagenet or none, instead of the recipe's."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a field; repeatable."),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a network, or continue a run that was interrupted."""
    import json

    from fdps.config import load_recipe, with_root
    from fdps.data import load_scenes
    from fdps.data.identities import concatenate
    from fdps.engine.train import train as train_network
    from fdps.errors import ConfigError

    overrides = list(settings or [])
    if backbone_weights is not None:
        overrides.append(f"model.backbone_weights={json.dumps(backbone_weights)}")
    chosen = load_recipe(recipe, overrides)
    if root is not None:
        chosen = with_root(chosen, root)
    if not chosen.data.train:
        raise ConfigError(f"{recipe} names no training data", hint="add a [[data.train]] section")
    run = out or Path("runs") / "train" / chosen.name
    cache = cache_of(run)
    sets = [load_scenes(s.kind, Path(s.root), s.split, cache=cache) for s in chosen.data.train]
    scenes = concatenate(sets, "+".join(part.name for part in sets))
    if not quiet:
        n_persons, n_boxes = len(scenes.person_ids), scenes.n_boxes
        print(f"Data    {len(scenes)} scenes, {n_boxes} people, {n_persons} ids", file=sys.stderr)
    try:
        weights = train_network(chosen, scenes, run, stream=None if quiet else sys.stderr)
    except KeyboardInterrupt:
        print(f"Stopped {run}\nNext    the same command continues", file=sys.stderr)
        raise
    if json_output:
        print(json.dumps({"run": str(run), "weights": str(weights)}))
    else:
        print(f"Weights {weights}\nNext    fdps predict {run}")
