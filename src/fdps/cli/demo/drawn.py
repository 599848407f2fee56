"""``fdps demo`` without pictures: draw scenes, search in them, and show how well that went."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fdps.cli.demo import stages as demo_stages
from fdps.cli.demo.options import Drawn
from fdps.cli.demo.said import print_table, stage
from fdps.errors import UsageError
from fdps.names import printable, typed

if TYPE_CHECKING:
    from fdps.analysis.report import System
    from fdps.structures import SceneSet

OUT = Path("demo")


def demo_of_drawn(out: Path, options: Drawn, *, json_output: bool, quiet: bool) -> None:
    """Draw scenes, find and search people in them, and write the report.

    Args:
        out: Folder for everything.
        options: What is drawn, and whether a network is trained.
        json_output: Whether to print one object instead of a table.
        quiet: Show no progress.

    Raises:
        UsageError: Options do not go together, or the folder of the scenes holds something that
            fdps did not draw, or its archive was made by something else.
    """
    from fdps.bundled import DRAWN

    if options.epochs is not None and not options.train:
        raise UsageError("--epochs changes a training", hint="add --train")
    demo_stages.check_archive(out)
    config, recipe = demo_stages.plan(
        out, seed=options.seed, epochs=options.epochs, quick=options.quick
    )
    run, seconds = out / demo_stages.RUN, dict[str, float]()
    with stage("Draw", seconds, quiet):
        train_scenes, test_scenes = demo_stages.draw(config, out, quiet=quiet)
    if options.train:
        with stage("Train", seconds, quiet):
            demo_stages.train(recipe, train_scenes, run, quiet=quiet)
    else:
        run = demo_stages.take_bundled(out)
    with stage("Predict", seconds, quiet):
        predictions = demo_stages.predict(run, test_scenes, quiet=quiet)
    with stage("Evaluate", seconds, quiet):
        systems = demo_stages.score(predictions, test_scenes)
    with stage("Index", seconds, quiet):
        demo_stages.index(out, run, quiet=quiet)
    trained = f"trained here, {recipe.train.epochs} epochs"
    notes = {
        "Command": " ".join(["fdps demo", *sys.argv[2:]]),
        "Seed": str(options.seed),
        "Weights": trained if options.train else DRAWN,
        "Seconds": ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()),
    }
    with stage("Report", seconds, quiet):
        scenes = (train_scenes, test_scenes)
        report = out / demo_stages.REPORT
        demo_stages.report(report, systems, scenes, run, notes=notes, n_strips=options.queries)
    _show(out, run, systems, seconds, test_scenes, json_output=json_output)


def example_query(scenes: "SceneSet") -> str:
    """Options of ``fdps search`` for the first query of a scene set that has one."""
    query = scenes.queries[0]
    picture = next(scene.path for scene in scenes.scenes if scene.name == query.scene)
    return f"--query {picture} --box {','.join(f'{side:g}' for side in query.box.tolist())}"


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
    from fdps.analysis.report import results_table

    print_table(results_table(systems))
    print(f"Report  {printable(report)}   ({sum(seconds.values()):.0f} s in all)")
    archive = out / demo_stages.ARCHIVE
    print(f"Archive {printable(archive)}")
    print(f"Next    fdps search {typed(archive)} {example_query(test_scenes)}")
    print(f"        fdps evaluate {typed(run)}")
