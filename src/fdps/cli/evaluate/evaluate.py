"""``fdps evaluate``: predictions and annotations become figures."""

from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.chosen_data import DATA_HELP, ROOT_HELP, SPLIT_HELP, chosen_scenes
from fdps.cli.evaluate.files import interval_figures, show_intervals, write_files
from fdps.cli.evaluate.options import (
    Cameras,
    FrameGap,
    Gallery,
    Protocol,
    QueryExpansion,
    Rerank,
    RerankSet,
    ScoreThreshold,
    SecondsGap,
    Seed,
    Subset,
    WeightByScore,
    gallery_size,
    rerank_options,
)
from fdps.cli.evaluate.table import show
from fdps.cli.train.predict import PREDICTIONS_FILE
from fdps.errors import MissingDataError, UsageError


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Run folder with predictions.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Predictions file, of any system.")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="KIND", help=DATA_HELP)] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help=ROOT_HELP)] = None,
    split: Annotated[str | None, typer.Option(help=SPLIT_HELP)] = None,
    protocol: Protocol = "reference",
    gallery: Gallery = "all",
    subset: Subset = None,
    cameras: Cameras = "all",
    seed: Seed = 0,
    min_frame_gap: FrameGap = 0,
    min_seconds_gap: SecondsGap = 0.0,
    weight_by_score: WeightByScore = False,
    score_threshold: ScoreThreshold = 0.5,
    query_expansion: QueryExpansion = 0,
    rerank: Rerank = "none",
    rerank_set: RerankSet = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write a JSON report too.")
    ] = None,
    # Chance, and files about single queries: see cli/evaluate/files.py
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report in one HTML file too.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one row per query too.")
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(metavar="N", min=0, help="Draws for 95 % intervals; 0: no intervals.")
    ] = 0,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
) -> None:
    """Measure predictions: detection recall and AP, search mAP and top-k."""
    import json
    from dataclasses import replace

    from fdps.analysis.scored import Evaluation
    from fdps.evaluation import EvaluationOptions, evaluate_with
    from fdps.predictions import load_predictions

    options = EvaluationOptions(
        protocol=protocol,
        gallery=gallery_size(gallery),
        seed=seed,
        min_frame_gap=min_frame_gap,
        weight_by_score=weight_by_score,
        score_threshold=score_threshold,
        cameras=cameras,
        min_seconds_gap=min_seconds_gap,
        subset=subset,
        query_expansion=query_expansion,
        rerank=rerank,
        rerank_options=rerank_options(rerank_set or []),
    )
    options.check()
    found = load_predictions(_predictions_file(run, predictions))
    scenes = chosen_scenes(run, data, root, split)
    report = evaluate_with(options, found, scenes)
    extras = interval_figures(report, bootstrap)
    write_files(
        Evaluation(report, found, scenes), out=out, html=html, csv=csv, run=run, draws=bootstrap
    )
    if json_output:
        print(json.dumps(report.json() | extras))
        return
    if protocol == "strict":
        show(report)
    else:
        show(report, evaluate_with(replace(options, protocol="strict"), found, scenes))
    show_intervals(extras)


def _predictions_file(run: Path | None, predictions: Path | None) -> Path:
    if predictions is not None:
        return predictions
    if run is None:
        raise UsageError("nothing to evaluate", hint="give a run folder or --predictions FILE")
    if not (run / PREDICTIONS_FILE).is_file():
        raise MissingDataError(
            f"{run} has no {PREDICTIONS_FILE}", hint=f"make it with: fdps predict {run}"
        )
    return run / PREDICTIONS_FILE
