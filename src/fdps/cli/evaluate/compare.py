"""``fdps compare``: which of several runs is better, and whether chance explains it."""

from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.chosen_data import DataChoice
from fdps.cli.evaluate.compared_runs import contenders, load_runs, scenes_of
from fdps.cli.evaluate.comparison_table import show
from fdps.cli.evaluate.options import Scoring
from fdps.cli.option_groups import grouped
from fdps.cli.progress import working


@grouped
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Run folders or predictions files; the first is the base."
        ),
    ],
    choice: DataChoice,
    scoring: Scoring,
    by_person: Annotated[
        bool, typer.Option("--by-person", help="Queries of one person stand or fall together.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
) -> None:
    """Compare runs on the same queries: figures, 95 % intervals, and which differences are real."""
    import json

    options = scoring.checked()
    with working(f"Scoring {len(runs)} runs", hidden=json_output):
        import numpy as np

        from fdps.evaluation.comparison import compare_systems

        found = load_runs(runs)
        scenes = scenes_of(runs, choice)
        systems = contenders(found, scenes, options)
        people = None
        if by_person:
            scored = systems[0].reports[0].search.queries
            people = np.array([scenes.queries[row].person_id for row in scored], dtype=np.int64)
        comparison = compare_systems(systems, units=people, seed=options.seed)
    if json_output:
        print(json.dumps(comparison.json()))
    else:
        show(comparison, unit="people" if by_person else "queries")
