"""``fdps demo``: draw scenes, train on them, search in them, and show how well that went."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli import demo_stages

if TYPE_CHECKING:
    from fdps.analysis.report import System


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for everything.")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes and of the training.")] = 0,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the scenes. [default: the recipe's]")
    ] = None,
    queries: Annotated[int, typer.Option(min=0, help="Ranked strips in the report.")] = 6,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few small scenes: every step, but poor figures.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Draw scenes, train on them, evaluate and search; the report is ready within 5 minutes."""
    config, recipe = demo_stages.plan(out, seed=seed, epochs=epochs, quick=quick)
    run, seconds = out / demo_stages.RUN, dict[str, float]()
    with _stage("Draw", seconds, quiet):
        train_scenes, test_scenes = demo_stages.draw(config, out, quiet=quiet)
    with _stage("Train", seconds, quiet):
        demo_stages.train(recipe, train_scenes, run, quiet=quiet)
    with _stage("Predict", seconds, quiet):
        predictions = demo_stages.predict(run, test_scenes, quiet=quiet)
    with _stage("Evaluate", seconds, quiet):
        systems = demo_stages.score(predictions, test_scenes)
    notes = {
        "Command": " ".join(["fdps demo", *sys.argv[2:]]),
        "Seed": str(seed),
        "Epochs": str(recipe.train.epochs),
        "Seconds": ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()),
    }
    with _stage("Report", seconds, quiet):
        scenes = (train_scenes, test_scenes)
        report = out / demo_stages.REPORT
        demo_stages.report(report, systems, scenes, run, notes=notes, n_strips=queries)
    _show(out, systems, seconds, json_output=json_output)


@contextmanager
def _stage(name: str, seconds: dict[str, float], quiet: bool) -> Iterator[None]:
    """Time a stage, and say on stderr when it begins and ends."""
    if not quiet:
        print(f"{name} …", file=sys.stderr, flush=True)
    start = time.perf_counter()
    yield
    seconds[name.lower()] = round(time.perf_counter() - start, 1)
    if not quiet:
        print(f"{name} took {seconds[name.lower()]} s", file=sys.stderr, flush=True)


def _show(
    out: Path, systems: "list[System]", seconds: dict[str, float], *, json_output: bool
) -> None:
    report = out / demo_stages.REPORT
    if json_output:
        import json

        figures = {system.name: system.evaluation.json() for system in systems}
        print(json.dumps({"report": str(report), "systems": figures, "seconds": seconds}))
        return
    from rich.console import Console
    from rich.table import Table

    from fdps.analysis.report import results_table

    figures_table = results_table(systems)
    table = Table(title=figures_table.caption, caption=figures_table.note)
    for i, column in enumerate(figures_table.columns):
        table.add_column(column, justify="right" if i else "left")
    for row in figures_table.rows:
        table.add_row(*row)
    Console().print(table)
    print(f"Report  {report}   ({sum(seconds.values()):.0f} s in all)")
    run, pictures = out / demo_stages.RUN, out / demo_stages.SCENES / "images"
    print(f"Next    fdps evaluate {run}")
    print(f"        fdps index {pictures} -o {out / 'people.fdps'} --model {run}")
