"""The options that ``fdps data synth`` and ``fdps data collage`` share: how a data set is made."""

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class Drawing:
    """How a data set is made."""

    workers: Annotated[
        int, typer.Option(min=1, help="Processes at work; the files do not depend on it.")
    ] = 1
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that holds something else.")
    ] = False
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False
