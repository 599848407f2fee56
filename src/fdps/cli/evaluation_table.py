"""The table that ``fdps evaluate`` prints."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdps.evaluation import EvaluationReport

_SHOWN = (
    ("detection", "recall"),
    ("detection", "ap"),
    ("search", "mAP"),
    ("search", "top1"),
    ("search", "top5"),
    ("search", "top10"),
)


def show(report: "EvaluationReport") -> None:
    """Print the figures to stdout, with the numbers of scenes, people and queries."""
    from rich.console import Console
    from rich.table import Table

    figures = report.json()
    table = Table(title=f"{report.data}, {report.protocol} rules")
    for group, name in _SHOWN:
        table.add_column(f"{group}\n{name}", justify="right")
    values = [figures[group][name] for group, name in _SHOWN]
    table.add_row(*("–" if value is None else f"{value:.3f}" for value in values))
    detection, search, options = report.detection, report.search, report.options
    console = Console()
    console.print(table)
    console.print(
        f"{report.n_scenes} scenes, {detection.n_people} people, "
        f"{detection.n_detections} detections of score {options.score_threshold:g} and more"
    )
    console.print(f"{len(search)} queries, {report.gallery_size} scenes each")
    if options.min_frame_gap:
        console.print(
            f"frames within {options.min_frame_gap} of a query ignored, "
            f"{search.n_dropped} queries dropped"
        )
