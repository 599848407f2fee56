"""``fdps models convert``: make weights of fdps from a checkpoint of public code."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.progress import working
from fdps.errors import UsageError

NAMED = 10  # tensors of the longest list that is printed


def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Checkpoint of NAE, NAE+, HOIM, SeqNet or OIMNet++ (.pth)."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Weights file. [default: FILE.safetensors]"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an older file.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
) -> None:
    """Convert a checkpoint of public person-search code into weights that every verb takes.

    The checkpoint is opened in a process of its own, and only tensors are read. Public checkpoints
    are trained on data for research, so the weights are marked as research-only.
    """
    place = out or checkpoint.with_suffix(".safetensors")
    if place.exists() and not force:
        raise UsageError(f"{place} is there already", hint="choose --out, or replace it by --force")
    with working("Reading the checkpoint", hidden=json_output):
        from fdps.models.convert import convert_checkpoint

        conversion = convert_checkpoint(checkpoint, place)
    if json_output:
        told = {
            "weights": str(place),
            "system": conversion.system,
            "source": conversion.source,
            "sha256": conversion.sha256,
            "n_persons": conversion.n_persons,
            "tensors": conversion.fates,
        }
        print(json.dumps(told))
        return
    n_taken = len(conversion.fates) - len(conversion.dropped)
    print(f"System  {conversion.system}, trained on {conversion.n_persons} people")
    print(f"Taken   {n_taken} of {len(conversion.fates)} tensors")
    for name, fate in [*conversion.dropped.items()][:NAMED]:
        print(f"Left    {name}: {fate.removeprefix('dropped: ')}")
    if len(conversion.dropped) > NAMED:
        print(f"Left    {len(conversion.dropped) - NAMED} more, which --json lists")
    print(f"Weights {place} (research-only)")
    print(f"Next    fdps evaluate --help, or fdps index FOLDER --model {place}")
