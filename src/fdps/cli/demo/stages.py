"""The stages of ``fdps demo``, each a few calls of the library."""

import json
import os
import shutil
import sys
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from fdps.cli.chosen_data import PREDICTIONS_FILE
from fdps.cli.demo.mark import earlier, put_mark
from fdps.cli.progress import progress_bar

if TYPE_CHECKING:
    from fdps.analysis.report import System
    from fdps.config import Recipe
    from fdps.data.synthetic import SyntheticConfig
    from fdps.predictions import Predictions
    from fdps.structures import SceneSet

SCENES, RUN, ARCHIVE, REPORT = "scenes", "run", "people.fdps", "report.html"
"""The parts of a demo folder; ``RUN`` was trained there, and bundled weights lie beside it."""

SYSTEM, BASELINE = "FDPS + BOIM", "colour histogram"
_QUICK_TRAINING = ("model.short_side=[128]", "train.epochs=2", "train.workers=0")


def plan(
    out: Path, *, seed: int, epochs: int | None, quick: bool
) -> "tuple[SyntheticConfig, Recipe]":
    """Decide what is drawn and how it is learnt; equal arguments give equal plans."""
    from fdps.config import load_recipe, with_root
    from fdps.data.synthetic import SyntheticConfig

    settings = [f"train.seed={seed}", *(_QUICK_TRAINING if quick else ())]
    if epochs is not None:
        settings.append(f"train.epochs={epochs}")
    with as_file(files("fdps.cli") / "demo.toml") as file:
        recipe = load_recipe(file, settings)
    config = SyntheticConfig(seed=seed)
    if quick:
        config = replace(
            config,
            n_train_persons=8,
            n_test_persons=4,
            n_train_scenes=12,
            n_test_scenes=10,
            n_cameras=2,
            width=192,
            height=128,
        )
    return config, with_root(recipe, str(out / SCENES))


def check_archive(out: Path) -> None:
    """Refuse a folder in which the archive would replace one that no demo made.

    Raises:
        UsageError: There is such an archive.
    """
    earlier(out / ARCHIVE)


def draw(config: "SyntheticConfig", out: Path, *, quiet: bool) -> "tuple[SceneSet, SceneSet]":
    """Draw the scenes, unless they are there already; return both splits.

    With new scenes, a network that was trained on others is removed.

    Raises:
        UsageError: The folder of the scenes holds something that fdps did not draw.
    """
    from fdps.data import load_scenes
    from fdps.data.synthetic import draw_dataset, is_drawn

    root = out / SCENES
    if not is_drawn(config, root):
        with progress_bar("Draw", hidden=quiet) as progress:
            draw_dataset(config, root, progress=progress, workers=min(os.cpu_count() or 1, 4))
        shutil.rmtree(out / RUN, ignore_errors=True)
    return load_scenes("folder", root, "train"), load_scenes("folder", root, "test")


def take_bundled(out: Path) -> Path:
    """Make a run folder of the weights that come with fdps, and return it."""
    from fdps.bundled import DRAWN
    from fdps.config import DataConfig, Recipe, Source, to_toml
    from fdps.engine.run_folder import RECIPE_FILE
    from fdps.models.weights import describe_weights
    from fdps.searcher import WEIGHTS_FILE, weights_file

    run, weights = out / DRAWN, weights_file(DRAWN)
    described = describe_weights(weights)
    test = Source("folder", str(out / SCENES), "test")
    recipe = Recipe(DRAWN, DataConfig(test=test), described.model, described.loss)
    run.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, run / WEIGHTS_FILE)
    (run / RECIPE_FILE).write_text(to_toml(recipe), encoding="utf-8")
    return run


def index(out: Path, run: Path, *, quiet: bool) -> None:
    """Keep everybody in the test pictures in an archive that ``fdps search`` can search.

    That of an earlier run is made anew.

    Raises:
        UsageError: An archive that no demo made is in its place.
    """
    from fdps.search import Index, find_pictures
    from fdps.searcher import load

    check_archive(out)
    shutil.rmtree(out / ARCHIVE, ignore_errors=True)
    pictures = find_pictures([str(out / SCENES / "images" / "test")])
    searcher = load(run)
    with (
        Index.create(out / ARCHIVE, searcher, model=str(run.absolute())) as archive,
        progress_bar("Index", hidden=quiet) as progress,
    ):
        put_mark(archive)
        archive.add(pictures, progress=progress)


def train(recipe: "Recipe", scenes: "SceneSet", run: Path, *, quiet: bool) -> None:
    """Train, continue where an interrupted demo left off, or find that nothing is left to do."""
    from fdps.config import to_toml
    from fdps.data.identities import contiguous
    from fdps.engine.run_folder import RECIPE_FILE
    from fdps.engine.train import train as train_network

    kept = run / RECIPE_FILE
    if kept.is_file() and kept.read_text(encoding="utf-8") != to_toml(recipe):
        shutil.rmtree(run)  # of a demo with other options
    train_network(recipe, contiguous(scenes), run, stream=None if quiet else sys.stderr)


def predict(run: Path, scenes: "SceneSet", *, quiet: bool) -> "Predictions":
    """Find everybody in the test scenes, and keep the predictions file in the run folder."""
    from fdps.engine.predict import predict as predict_scenes
    from fdps.predictions import save_predictions
    from fdps.searcher import load

    with progress_bar("Predict", hidden=quiet) as progress:
        predictions = predict_scenes(load(run), scenes, progress)
    save_predictions(predictions, run / PREDICTIONS_FILE)
    return predictions


def score(predictions: "Predictions", scenes: "SceneSet") -> "list[System]":
    """Score the network and, beside it, a comparison of colours in the annotated boxes."""
    from fdps.analysis.colour_histogram import predict_by_colour
    from fdps.analysis.report import System
    from fdps.evaluation import evaluate

    by_colour = predict_by_colour(scenes)
    return [
        System(SYSTEM, evaluate(predictions, scenes), predictions),
        System(BASELINE, evaluate(by_colour, scenes), by_colour, is_given_boxes=True),
    ]


def report(
    file: Path,
    systems: "list[System]",
    scenes: "tuple[SceneSet, SceneSet]",
    run: Path,
    *,
    notes: dict[str, str],
    n_strips: int,
) -> None:
    """Write the HTML report."""
    from fdps.analysis.report import write_report
    from fdps.engine.run_log import FILE, environment

    train_scenes, test_scenes = scenes
    machine = environment()
    log: list[dict[str, int | float]] = []
    origin = "A small network that was trained beforehand, on other drawn scenes,"
    if (run / FILE).is_file():
        log = [json.loads(line) for line in (run / FILE).read_text(encoding="utf-8").splitlines()]
        origin = f"A small network that learnt from {len(train_scenes)} drawn scenes for a few "
        origin += "minutes, from random weights,"
    write_report(
        file,
        "fdps demo: person search in drawn scenes",
        systems,
        test_scenes,
        summary=f"{origin} searches {len(test_scenes)} scenes for {len(test_scenes.person_ids)} "
        "people it has never seen. Nobody in these pictures exists.",
        training=log,
        notes={
            **notes,
            "Baseline": f"The {BASELINE} finds nobody: it compares the colours of annotated boxes.",
            "Machine": ", ".join(
                [f"{machine['cores']} cores", str(machine["machine"]), str(machine["gpu"])]
            ).rstrip(", "),
            "Commit": str(machine["commit"] or "unknown"),
        },
        n_strips=n_strips,
    )
