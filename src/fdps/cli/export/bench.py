"""``fdps bench``: models beside each other, in every runtime, and beside the code of others."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.option_groups import grouped
from fdps.cli.progress import progress_bar, working
from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.bench.plan import Plan
    from fdps.bench.report import Report

Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...",
        help="Models, by path or name. [default: street-people]",
        show_default=False,
    ),
]
Pictures = Annotated[
    list[str] | None,
    typer.Option(metavar="SOURCE", help="Pictures, folders, @lists. [default: drawn scenes]"),
]
Runtimes = Annotated[
    list[str] | None,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="pytorch, onnx or openvino; may be given again. [default: all]",
    ),
]
Most = Annotated[int, typer.Option(min=1, help="Most pictures to look at, spread over all.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often to look at each.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Processor threads of each. [default: all cores]")
]
Limit = Annotated[
    float, typer.Option("--time-limit", min=1, help="Most seconds that one answer may take.")
]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the stages into an SVG.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@dataclass(frozen=True)
class Against:
    """Another system, whose code the user has."""

    against: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also run the public code of SeqNet, NAE or HOIM."),
    ] = None
    against_system: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="SeqNet, NAE, NAE+ or HOIM. [default: by its files]"),
    ] = None
    against_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings of that code.")
    ] = None
    against_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its checkpoint. [default: random weights]")
    ] = None


@grouped
def bench(
    other: Against,
    models: Models = None,
    pictures: Pictures = None,
    runtime: Runtimes = None,
    most: Most = 20,
    rounds: Rounds = 1,
    threads: Threads = None,
    time_limit: Limit = 300,
    plot: Plot = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure speed, latency, memory and operations of models, in every runtime.

    All look at each picture in turns, so that a busy machine slows all alike: ratios count.
    Each has a process of its own. --against runs code of others: only code that you trust.
    """
    hidden = quiet or json_output
    if plot is not None and plot.suffix.lower() != ".svg":
        raise UsageError(f"a plot is an SVG, got {plot}", hint="name it FILE.svg")
    if other.against is None and other != Against():
        raise UsageError(
            "--against-system, --against-config and --against-weights say more about --against",
            hint="name the folder of that code by --against",
        )
    with working("Loading", hidden=hidden):
        from fdps.bench.race import race
        from fdps.devices import n_threads

    with _pictures(pictures, most) as files:
        chosen = _plan(models or [], runtime or [], other, hidden=hidden)
        with progress_bar("Looking in turns", hidden=hidden) as progress:
            report = race(
                chosen.entrants,
                files,
                rounds=rounds,
                threads=threads or n_threads(),
                limit_s=time_limit,
                tell=progress,
            )
    if plot is not None:
        _draw(report, plot)
    if json_output:
        print(json.dumps({**report.to_json(), "left_out": chosen.left_out}))
        return
    print("\n".join(report.lines()))
    for name, why in chosen.left_out.items():
        print(f"Left    {printable(name)}: {printable(why)}")
    if plot is not None:
        print(f"Wrote   {printable(plot)}")


def _plan(models: list[str], runtimes: list[str], other: Against, *, hidden: bool) -> "Plan":
    """Find everybody who takes part; what has to be exported is exported."""
    from fdps.bench.layouts import find_public
    from fdps.bench.plan import plan
    from fdps.bundled import DEFAULT

    public = other.against and find_public(
        other.against,
        system=other.against_system,
        config=other.against_config,
        checkpoint=other.against_weights,
    )
    with working("Getting models ready, which exports them the first time", hidden=hidden):
        chosen = plan(models or [DEFAULT], runtimes)
    if public:
        chosen.entrants[f"{public.folder.name}, public code of {public.system}"] = public
    return chosen


@contextmanager
def _pictures(sources: list[str] | None, most: int) -> "Iterator[list[Path]]":
    """Find the pictures; drawn ones are written as files, so that they are decoded, too."""
    from fdps.export.pictures import drawn_pictures, picture_paths

    if sources:
        yield picture_paths(sources, most=most)
        return
    from PIL import Image

    with tempfile.TemporaryDirectory(prefix="fdps-bench-") as folder:
        files = []
        for number, picture in enumerate(drawn_pictures()[0][:most]):
            files.append(Path(folder) / f"{number}.jpg")
            Image.fromarray(picture).save(files[-1], quality=90)
        yield files


def _draw(report: "Report", path: Path) -> None:
    from fdps.analysis.rendering import svg_file
    from fdps.bench.plot import plot_stages
    from fdps.durable import write_file

    write_file(path, svg_file(plot_stages(report)))
