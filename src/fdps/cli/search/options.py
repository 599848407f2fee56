"""The options of ``fdps search``: where it looks, which hits it gives, and how it answers.

Whom it looks for is :class:`~fdps.cli.search.question.Question`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fdps.errors import UsageError

if TYPE_CHECKING:
    from fdps.search import Filters

Format = Literal["table", "json", "csv", "coco", "mot"]


@dataclass(frozen=True)
class Where:
    """The options that filter; they are called as the fields of :class:`fdps.search.Filters`."""

    cameras: Annotated[
        list[str] | None,
        typer.Option("--camera", metavar="NAME", help="Only this camera; repeatable."),
    ] = None
    scenes: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only scenes named so, as 'photos/hall/*'.")
    ] = ""
    min_height: Annotated[
        float, typer.Option(metavar="PIXELS", help="Only people at least so high.")
    ] = 0.0
    after: Annotated[str, typer.Option(metavar="TIME", help="Only at this time, or later.")] = ""
    before: Annotated[str, typer.Option(metavar="TIME", help="Only before this time.")] = ""
    time_of_day: Annotated[
        str, typer.Option(metavar="HH:MM-HH:MM", help="Only at these hours of any day.")
    ] = ""
    source: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only files whose path fits, as '*/gate.mp4'.")
    ] = ""

    def filters(self) -> "Filters":
        """Read them.

        Raises:
            UsageError: A time is malformed, or a number is none.
        """
        from fdps.search import Filters

        return Filters(**{**vars(self), "cameras": tuple(self.cameras or ())})


@dataclass(frozen=True)
class Ranking:
    """The options that say which hits are given, and in which order."""

    rerank: Annotated[
        str, typer.Option(metavar="NAME", help="Order otherwise: expansion, k-reciprocal.")
    ] = ""
    appearances: Annotated[
        bool,
        typer.Option(
            "--appearances", help="Join sightings in a row: a result is from-to in a video."
        ),
    ] = False
    top: Annotated[int, typer.Option(metavar="N", help="Results wanted.")] = 10
    min_similarity: Annotated[
        float | None, typer.Option(help="Leave out results below, in [-1, 1].")
    ] = None

    @property
    def least(self) -> float:
        """The least similarity of a hit; where none is wanted, less than any."""
        return -math.inf if self.min_similarity is None else self.min_similarity

    def check(self) -> None:
        """Refuse what makes no sense, before a model is loaded.

        Raises:
            UsageError: The least similarity is none, or appearances are to be re-ranked.
        """
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:  # nor is NaN
            raise UsageError(
                f"--min-similarity is from -1 to 1, got {self.min_similarity:g}",
                hint="leave it out to see the best hits, however similar they are",
            )
        if self.appearances and self.rerank:
            raise UsageError(
                "appearances are not re-ranked", hint="leave out one of the two options"
            )


@dataclass(frozen=True)
class Output:
    """The options that say how the answer is given."""

    format_: Annotated[Format, typer.Option("--format", help="How to print the results.")] = "table"
    json_output: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False
    save: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write all formats, and a contact sheet."),
    ] = None
    bystanders: Annotated[
        bool, typer.Option("--bystanders", help="Do not blur other people on the sheet.")
    ] = False

    @property
    def format(self) -> Format:
        """What is printed."""
        return "json" if self.json_output else self.format_
