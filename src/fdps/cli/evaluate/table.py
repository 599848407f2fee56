"""The table that ``fdps evaluate`` prints."""

from typing import TYPE_CHECKING

from fdps.names import printable

if TYPE_CHECKING:
    from fdps.evaluation import EvaluationOptions, EvaluationReport

_SHOWN = (
    ("detection", "recall"),
    ("detection", "ap"),
    ("search", "mAP"),
    ("search", "top1"),
    ("search", "top5"),
    ("search", "top10"),
)


def show(report: "EvaluationReport", strict: "EvaluationReport | None" = None) -> None:
    """Print the figures to stdout, with the numbers of scenes, people and queries.

    Args:
        report: What is shown.
        strict: The same by the strict rules, for a row below.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(report.data)))
    table.add_column("rules")
    for group, name in _SHOWN:
        table.add_column(f"{group}\n{name}", justify="right")
    for shown in (report, strict):
        if shown is not None:
            figures = shown.json()
            values = [figures[group][name] for group, name in _SHOWN]
            table.add_row(
                shown.protocol, *("–" if value is None else f"{value:.3f}" for value in values)
            )
    detection, search, options = report.detection, report.search, report.options
    console = Console()
    console.print(table)
    console.print(
        f"{report.n_scenes} scenes, {detection.n_people} people, "
        f"{detection.n_detections} detections of score {options.score_threshold:g} and more"
    )
    if not detection.n_detections:
        console.print("nobody was found: no detection of that score is in the predictions")
    if not len(search) and not search.n_dropped:
        console.print("no queries: only the detections are measured")
    else:
        console.print(f"{len(search)} queries, {report.gallery_size} scenes each")
    if cost := report.json().get("pairs"):
        console.print(
            f"{cost['n_pairs']} pairs of {cost['seconds_per_pair']:.3f} s each; without a query, "
            f"which the detection is about, {cost['seconds_per_picture']:.3f} s per picture"
        )
    if options.min_frame_gap:
        console.print(
            f"frames within {options.min_frame_gap} of a query ignored, "
            f"{search.n_dropped} queries dropped"
        )
    elif search.n_dropped:
        console.print(f"{search.n_dropped} queries dropped: no scene of their gallery shows them")
    if options.rerank != "none" or options.query_expansion:
        console.print(
            f"{_second_look(options)}: {search.rerank_seconds:.1f} s of work beside the search of "
            f"{search.seconds:.1f} s"
        )


def _second_look(options: "EvaluationOptions") -> str:
    """Name what was done after the first search."""
    steps = []
    if options.query_expansion:
        steps.append(f"queries averaged with {options.query_expansion} hits")
    if options.rerank != "none":
        steps.append(f"re-ranked by {options.rerank}")
    return ", ".join(steps)
