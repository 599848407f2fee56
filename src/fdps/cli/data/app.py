"""``fdps data``: draw, check, convert, divide and look at data sets."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.data import write as data_write
from fdps.cli.data.check import check
from fdps.cli.data.collage import collage
from fdps.cli.data.drawing import Drawing
from fdps.cli.data.label import label
from fdps.cli.data.show import stats, view
from fdps.cli.data.sizes import parse_size
from fdps.cli.option_groups import grouped
from fdps.errors import UsageError
from fdps.names import printable, typed

if TYPE_CHECKING:
    from fdps.data.synthetic import SyntheticConfig

RECIPE = Path("configs/synthetic.toml")

app = typer.Typer(name="data", no_args_is_help=True, add_completion=False)


@app.callback()
def data() -> None:
    """Draw, paste, label, check, convert, divide and look at data sets."""


app.command()(collage)
app.command()(label)
app.command()(check)
app.command()(data_write.convert)
app.command()(data_write.split)
app.command()(stats)
app.command()(view)


@app.command()
@grouped
def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    preset: Annotated[
        str,
        typer.Option(
            help="Settings that the other options change: demo, synthetic-small or synthetic-1k."
        ),
    ] = "demo",
    scenes: Annotated[
        int | None, typer.Option(help="Training pictures. [default: 300; 1k: 8000]")
    ] = None,
    test_scenes: Annotated[
        int | None, typer.Option(help="Test pictures. [default: 120; 1k: 2000]")
    ] = None,
    persons: Annotated[
        int | None,
        typer.Option(help="Identities in the training pictures. [default: 120; 1k: 1000]"),
    ] = None,
    test_persons: Annotated[
        int | None, typer.Option(help="Identities in the test pictures. [default: 40; 1k: 300]")
    ] = None,
    cameras: Annotated[
        int | None, typer.Option(help="Places, each with its own camera. [default: 6]")
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Size of a picture in pixels.")
    ] = "480x320",
    *,
    drawing: Drawing,
) -> None:
    """Draw scenes with known people: a training and a test split."""
    width, height = parse_size(size)
    chosen = {
        "n_train_persons": persons,
        "n_test_persons": test_persons,
        "n_train_scenes": scenes,
        "n_test_scenes": test_scenes,
        "n_cameras": cameras,
    }
    given: dict[str, Any] = {name: n for name, n in chosen.items() if n is not None}
    config = replace(_preset(preset), width=width, height=height, seed=drawing.seed, **given)
    _draw(config, out, drawing)
    summary = _summary(out)
    if drawing.json_output:
        print(json.dumps({"root": str(out)} | summary))
        return
    for split, counts in summary.items():
        named = ", ".join(f"{count} {what}" for what, count in counts.items())
        print(f"{split.capitalize():<7} {named}")
    print(f"Wrote   {printable(out)}\nNext    {_next_step(out)}")


def _next_step(out: Path) -> str:
    """A command for these scenes; outside a checkout of fdps there is no recipe to train by."""
    if RECIPE.is_file():
        return f"fdps train {RECIPE} --root {typed(out)}"
    return f"fdps index {typed(out / 'images')} -o scenes.fdps --model drawn-people"


def _preset(name: str) -> "SyntheticConfig":
    from fdps.data.synthetic import PRESETS

    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}", hint=f"known: {', '.join(PRESETS)}")
    return PRESETS[name]


def _draw(config: "SyntheticConfig", out: Path, drawing: Drawing) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from fdps.data.synthetic import draw_dataset

    columns = ("Drawing", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), disable=drawing.quiet) as bar:
        task = bar.add_task("draw", total=config.n_train_scenes + config.n_test_scenes)
        draw_dataset(
            config,
            out,
            overwrite=drawing.force,
            workers=drawing.workers,
            progress=lambda done, _: bar.update(task, completed=done),
        )


def _summary(root: Path) -> dict[str, dict[str, int]]:
    """Read back what was written, and count it."""
    from fdps.data.readers.folder import read

    summary = {}
    for split in ("train", "test"):
        scenes = read(root, split)
        summary[split] = {
            "scenes": len(scenes),
            "people": scenes.n_boxes,
            "identities": len(scenes.person_ids),
        }
        if scenes.queries:
            summary[split]["queries"] = len(scenes.queries)
    return summary
