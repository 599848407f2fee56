"""``fdps demo``: what fdps does, on drawn scenes or on somebody's own pictures and videos."""

from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.archive_model import ModelChoice
from fdps.cli.demo.drawn import OUT, demo_of_drawn
from fdps.cli.demo.options import Drawn, Own, refuse_given
from fdps.cli.demo.own import default_out, demo_of_own
from fdps.cli.option_groups import grouped


@grouped
def demo(
    drawn: Drawn,
    own: Own,
    model: ModelChoice,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Your own pictures, videos, folders. [default: drawn scenes]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for everything. [default: demo; of your own, demo-NAME]",
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Find and search people in drawn scenes, or in your own pictures; make a report of it."""
    if sources:
        refuse_given(drawn, "is for drawn scenes, and pictures of your own are given")
        where = out or default_out(sources)
        demo_of_own(sources, where, own, model, json_output=json_output, quiet=quiet)
        return
    refuse_given(own, "is for pictures of your own, and none are given")
    refuse_given(model, "is for pictures of your own, and none are given")
    demo_of_drawn(out or OUT, drawn, json_output=json_output, quiet=quiet)
