"""``fdps models regions``: learn at how few regions a network may look."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.chosen_data import DATA_HELP, RECIPE_FILE, ROOT_HELP, SPLIT_HELP, DataChoice
from fdps.cli.progress import progress_bar, working
from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.engine.regions import Trial


def regions(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Run folder, weights, or a name of the list.")
    ],
    data: Annotated[str | None, typer.Option(metavar="KIND", help=DATA_HELP)] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help=ROOT_HELP)] = None,
    split: Annotated[str | None, typer.Option(help=SPLIT_HELP)] = None,
    loss: Annotated[
        float, typer.Option(min=0, max=1, help="Largest loss of mAP, as a fraction.")
    ] = 0.001,
    forget: Annotated[
        bool, typer.Option("--forget", help="Look at all regions again, and measure nothing.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Learn at how few regions a network may look, and keep it beside the weights.

    Measured on a split in which people are searched for; to be fair, neither trained nor tested on.
    """
    from fdps.embedders import find_model, is_card
    from fdps.embedders.places import regions_file

    place = find_model(model)
    if is_card(place):
        raise UsageError(
            f"{model} is a two-step model, which has no regions to leave out",
            hint="name a network of fdps",
        )
    if forget:
        regions_file(place).unlink(missing_ok=True)
        print(json.dumps({"regions": None}) if json_output else "Regions all are looked at again")
        return
    with working(f"Loading {model}", hidden=quiet or json_output):
        from fdps.embedders.regions import write_regions
        from fdps.engine.regions import learn_regions
        from fdps.searcher import load

        is_run = (place.parent / RECIPE_FILE).is_file()
        scenes = DataChoice(data, root, split).scenes(place.parent if is_run else None)
        searcher = load(place)
    with progress_bar(f"Search {scenes.name}", hidden=quiet) as progress:
        trials = learn_regions(searcher, scenes, largest_loss=loss, progress=progress)
    plain, *others = trials
    chosen = trials[-1]
    tried = [plain, *(trial for trial in others if trial is not plain)]
    file = write_regions(place, chosen.limits, searcher.model_hash)
    if json_output:
        figures = {"chosen": _figures(chosen), "trials": [_figures(trial) for trial in tried]}
        print(json.dumps({"regions": str(file), **figures}))
        return
    print("min score  max IoU  regions  recall     AP    mAP  top-1")
    for trial in tried:
        _show(trial)
    if chosen is plain:
        print(f"Regions all stay: whatever leaves some out loses more than {loss:g} of mAP")
    else:
        print(f"Regions {chosen.n_regions:.1f} instead of {plain.n_regions:.1f} in a picture")
    print(f"Wrote   {printable(file)}")


def _show(trial: "Trial") -> None:
    limits, figures = trial.limits, trial.figures
    named = (figures.get(name, float("nan")) for name in ("recall", "ap", "mAP", "top1"))
    row = "  ".join(f"{value:5.3f}" for value in named)
    print(f"{limits.min_score:9.2f}  {limits.max_iou:7.2f}  {trial.n_regions:7.1f}   {row}")


def _figures(trial: "Trial") -> dict[str, Any]:
    return {
        "min_score": trial.limits.min_score,
        "max_iou": trial.limits.max_iou,
        "n_regions": trial.n_regions,
        **trial.figures,
    }
