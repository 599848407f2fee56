"""``fdps compare``: which of several runs is better, and whether chance explains it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fdps.cli.chosen_data import DATA_HELP, ROOT_HELP, SPLIT_HELP
from fdps.cli.evaluate.compared_runs import contenders, load_runs, scenes_of
from fdps.cli.evaluate.comparison_table import show
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
    Subset,
    WeightByScore,
    gallery_size,
    rerank_options,
)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Run folders or predictions files; the first is the base."
        ),
    ],
    data: Annotated[str | None, typer.Option(metavar="KIND", help=DATA_HELP)] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help=ROOT_HELP)] = None,
    split: Annotated[str | None, typer.Option(help=SPLIT_HELP)] = None,
    protocol: Protocol = "reference",
    gallery: Gallery = "all",
    subset: Subset = None,
    cameras: Cameras = "all",
    seed: Annotated[
        int, typer.Option(min=0, help="Of galleries that are drawn, intervals and tests.")
    ] = 0,
    min_frame_gap: FrameGap = 0,
    min_seconds_gap: SecondsGap = 0.0,
    weight_by_score: WeightByScore = False,
    score_threshold: ScoreThreshold = 0.5,
    query_expansion: QueryExpansion = 0,
    rerank: Rerank = "none",
    rerank_set: RerankSet = None,
    by_person: Annotated[
        bool, typer.Option("--by-person", help="Queries of one person stand or fall together.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
) -> None:
    """Compare runs on the same queries: figures, 95 % intervals, and which differences are real."""
    import json

    import numpy as np

    from fdps.evaluation.comparison import compare as compare_systems

    found = load_runs(runs)
    scenes = scenes_of(runs, data, root, split)
    options: dict[str, Any] = {
        "protocol": protocol,
        "gallery": gallery_size(gallery),
        "seed": seed,
        "min_frame_gap": min_frame_gap,
        "weight_by_score": weight_by_score,
        "score_threshold": score_threshold,
        "subset": subset,
        "cameras": cameras,
        "min_seconds_gap": min_seconds_gap,
        "query_expansion": query_expansion,
        "rerank": rerank,
        "rerank_options": rerank_options(rerank_set or []),
    }
    systems = contenders(found, scenes, options)
    people = None
    if by_person:
        scored = systems[0].reports[0].search.queries
        people = np.array([scenes.queries[row].person_id for row in scored], dtype=np.int64)
    comparison = compare_systems(systems, units=people, seed=seed)
    if json_output:
        print(json.dumps(comparison.json()))
    else:
        show(comparison, unit="people" if by_person else "queries")
