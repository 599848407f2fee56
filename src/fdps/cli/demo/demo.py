"""``fdps demo``: draw scenes, search in them, and show how well that went."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.demo import stages as demo_stages
from fdps.errors import UsageError
from fdps.names import printable, typed

if TYPE_CHECKING:
    from fdps.analysis.report import System
    from fdps.structures import SceneSet


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for everything.")
    ] = Path("demo"),
    # The bundled weights know the places of seed 0.
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes and of the training.")] = 1,
    train: Annotated[
        bool,
        typer.Option("--train", help="Train a network from nothing first, instead of the bundled."),
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="With --train: passes over the scenes. [default: the recipe's]"),
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
    """Draw scenes, find and search people in them; the report is ready within 2 minutes."""
    if epochs is not None and not train:
        raise UsageError("--epochs changes a training", hint="add --train")
    config, recipe = demo_stages.plan(out, seed=seed, epochs=epochs, quick=quick)
    run, seconds = out / demo_stages.RUN, dict[str, float]()
    with _stage("Draw", seconds, quiet):
        train_scenes, test_scenes = demo_stages.draw(config, out, quiet=quiet)
    if train:
        with _stage("Train", seconds, quiet):
            demo_stages.train(recipe, train_scenes, run, quiet=quiet)
    else:
        run = demo_stages.take_bundled(out)
    with _stage("Predict", seconds, quiet):
        predictions = demo_stages.predict(run, test_scenes, quiet=quiet)
    with _stage("Evaluate", seconds, quiet):
        systems = demo_stages.score(predictions, test_scenes)
    with _stage("Index", seconds, quiet):
        demo_stages.index(out, run, quiet=quiet)
    notes = {
        "Command": " ".join(["fdps demo", *sys.argv[2:]]),
        "Seed": str(seed),
        "Weights": f"trained here, {recipe.train.epochs} epochs" if train else demo_stages.BUNDLED,
        "Seconds": ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()),
    }
    with _stage("Report", seconds, quiet):
        scenes = (train_scenes, test_scenes)
        report = out / demo_stages.REPORT
        demo_stages.report(report, systems, scenes, run, notes=notes, n_strips=queries)
    _show(out, run, systems, seconds, test_scenes, json_output=json_output)


def example_query(scenes: "SceneSet") -> str:
    """Options of ``fdps search`` for the first query of a scene set that has one."""
    query = scenes.queries[0]
    picture = next(scene.path for scene in scenes.scenes if scene.name == query.scene)
    return f"--query {picture} --box {','.join(f'{side:g}' for side in query.box.tolist())}"


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
    out: Path,
    run: Path,
    systems: "list[System]",
    seconds: dict[str, float],
    test_scenes: "SceneSet",
    *,
    json_output: bool,
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
    print(f"Report  {printable(report)}   ({sum(seconds.values()):.0f} s in all)")
    archive = out / demo_stages.ARCHIVE
    print(f"Archive {printable(archive)}")
    print(f"Next    fdps search {typed(archive)} {example_query(test_scenes)}")
    print(f"        fdps evaluate {typed(run)}")
