"""``fdps models calibrate``: a labelled set tells how sure the answers of a model are."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.chosen_data import DATA_HELP, RECIPE_FILE, ROOT_HELP, SPLIT_HELP, DataChoice
from fdps.cli.progress import progress_bar, working
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.predictions import Predictions
    from fdps.search.results.calibration import Calibration
    from fdps.structures import SceneSet

FEW_PEOPLE = 50  # benchmarks/calibration_check.py: with 5 people counts were off fivefold


def calibrate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Run folder, weights, card, or a name.")
    ],
    data: Annotated[str | None, typer.Option(metavar="KIND", help=DATA_HELP)] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help=ROOT_HELP)] = None,
    split: Annotated[str | None, typer.Option(help=SPLIT_HELP)] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Predictions of this model. [default: predict now]"),
    ] = None,
    min_frame_gap: Annotated[
        int,
        typer.Option(
            min=0, metavar="FRAMES", help="Leave out frames within so many numbers of the query."
        ),
    ] = 0,
    archives: Annotated[
        list[str] | None,
        typer.Option(
            "--archive",
            metavar="NAME.fdps",
            help="Keep the calibration in this archive too; repeatable.",
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Learn from people who are known how many wrong candidates a similarity brings."""
    with working("Reading the data", hidden=quiet):
        from fdps.durable import write_file
        from fdps.embedders import calibration_file, find_model
        from fdps.search import Index
        from fdps.search.results.calibration import to_json

        place = find_model(model)
        is_run = (place.parent / RECIPE_FILE).is_file()
        scenes = DataChoice(data, root, split).scenes(place.parent if is_run else None)
    found = _predictions(model, scenes, predictions, quiet=quiet)
    with working("Comparing people", hidden=quiet):
        calibration = _fitted(found, scenes, min_frame_gap)
    file = calibration_file(place)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, to_json(calibration).encode())
    for archive in archives or ():
        with Index.open(archive) as index:
            index.calibrate(calibration)
    if json_output:
        print(json.dumps(_figures(calibration) | {"calibration": str(file)}))
    else:
        _show(calibration)
        print(f"Wrote   {', '.join(map(printable, [file, *(archives or ())]))}")


def _fitted(found: "Predictions", scenes: "SceneSet", min_frame_gap: int) -> "Calibration":
    from fdps.predictions import data_hash
    from fdps.search.results.calibration import calibrate as fit
    from fdps.search.results.comparisons import compare, find_sightings

    return fit(
        compare(find_sightings(found, scenes), min_frame_gap=min_frame_gap),
        model_hash=found.model_hash,
        data=scenes.name,
        data_hash=data_hash(scenes),
        min_frame_gap=min_frame_gap,
    )


def _predictions(
    model: str, scenes: "SceneSet", file: Path | None, *, quiet: bool
) -> "Predictions":
    from fdps.embedders.info import describe
    from fdps.errors import PredictionsError
    from fdps.predictions import load_predictions

    if file is None:
        with working(f"Loading {model}", hidden=quiet):
            from fdps.embedders import load
            from fdps.engine.predict import predict

            searcher = load(model)
        with progress_bar(f"Predict {scenes.name}", hidden=quiet) as progress:
            return predict(searcher, scenes, progress)
    found, model_hash = load_predictions(file), describe(model).model_hash
    if found.model_hash != model_hash:
        raise PredictionsError(
            f"{file} was made by model {found.model_hash or 'unknown'}, this one is {model_hash}"
        )
    return found


def mark(calibration: "Calibration", similarity: float, n_people: int) -> dict[str, Any]:
    """A threshold, and what is above it in an archive of so many people."""
    wrong = calibration.expected_wrong(similarity, n_people)
    return {
        "similarity": similarity,
        "expected_wrong": wrong.mean,
        "expected_wrong_95": [wrong.low, wrong.high],
        "true_matches_kept": calibration.kept_at(similarity),
    }


def _figures(calibration: "Calibration") -> dict[str, Any]:
    from fdps.search.results.calibration import ARCHIVE_SIZE

    return {
        "data": calibration.data,
        "model_hash": calibration.model_hash,
        "n_people": calibration.n_people,
        "n_queries": calibration.n_queries,
        "n_same": calibration.n_same,
        "n_different": calibration.n_different,
        "archive_size": ARCHIVE_SIZE,
        "strong": mark(calibration, calibration.strong, ARCHIVE_SIZE),
        "worth_a_look": mark(calibration, calibration.worth_a_look, ARCHIVE_SIZE),
    }


def _show(calibration: "Calibration") -> None:
    figures = _figures(calibration)
    print(
        f"Compared {calibration.n_queries} sightings of {calibration.n_people} people: "
        f"{calibration.n_same} with the same person, {calibration.n_different} with others"
    )
    if calibration.n_people < FEW_PEOPLE:
        print(f"Careful: {calibration.n_people} people are few; figures may be off fivefold")
    for name in ("strong", "worth_a_look"):
        row = figures[name]
        low, high = row["expected_wrong_95"]
        print(
            f"{name.replace('_', ' '):<12} from {row['similarity']:.3f}: keeps "
            f"{row['true_matches_kept']:.0%} of true matches, {row['expected_wrong']:.2g} "
            f"({low:.2g} to {high:.2g}) wrong in {figures['archive_size']:,} people"
        )
