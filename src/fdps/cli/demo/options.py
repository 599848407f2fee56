"""The options of ``fdps demo``: of drawn scenes, and of a user's own pictures."""

from dataclasses import dataclass, fields
from typing import Annotated

import typer

from fdps.cli.archive_model import ModelChoice
from fdps.errors import UsageError


@dataclass(frozen=True)
class Drawn:
    """The options of the demo that draws scenes."""

    # The bundled weights know the places of seed 0.
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes and of the training.")] = 1
    train: Annotated[
        bool,
        typer.Option("--train", help="Train a network from nothing first, instead of the bundled."),
    ] = False
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="With --train: passes over the scenes. [default: the recipe's]"),
    ] = None
    queries: Annotated[int, typer.Option(min=0, help="Ranked strips in the report.")] = 6
    quick: Annotated[
        bool, typer.Option("--quick", help="Few small scenes: every step, but poor figures.")
    ] = False


@dataclass(frozen=True)
class Own:
    """The options of the demo of somebody's own pictures, beside those of the model."""

    people: Annotated[
        int, typer.Option(min=1, metavar="N", help="Own pictures: people in the report.")
    ] = 6
    every: Annotated[
        str,
        typer.Option(
            metavar="STEP", help="Own videos: frames to look at: 0.5s, 500ms, 10f, keyframes."
        ),
    ] = "0.5s"
    bystanders: Annotated[
        bool,
        typer.Option("--bystanders", help="Own pictures: show others too, instead of a blur."),
    ] = False


def refuse_given(options: Drawn | Own | ModelChoice, why: str) -> None:
    """Refuse options that have no meaning in the demo that was asked for.

    Raises:
        UsageError: One of them differs from its default.
    """
    for field in fields(options):
        if getattr(options, field.name) != field.default:
            name = field.name.replace("_", "-")
            raise UsageError(f"--{name} {why}", hint="leave it out; fdps demo --help tells more")
