"""The options of ``fdps search``: where it looks, which hits it gives, and how it answers.

The person to look for is :class:`~fdps.cli.search.question.Question`.
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
    """The options that filter, with the names of the fields of :class:`fdps.search.Filters`."""

    cameras: Annotated[
        list[str] | None,
        typer.Option("--camera", metavar="NAME", help="Camera to search; repeatable."),
    ] = None
    scenes: Annotated[
        str,
        typer.Option(metavar="PATTERN", help="Scenes to search, such as 'photos/hall/*'."),
    ] = ""
    min_height: Annotated[
        float, typer.Option(metavar="PIXELS", help="Least height of a person's box.")
    ] = 0.0
    after: Annotated[
        str, typer.Option(metavar="TIME", help="Only people seen at this time or later.")
    ] = ""
    before: Annotated[
        str, typer.Option(metavar="TIME", help="Only people seen before this time.")
    ] = ""
    time_of_day: Annotated[
        str, typer.Option(metavar="HH:MM-HH:MM", help="Only people seen at these hours of any day.")
    ] = ""
    source: Annotated[
        str,
        typer.Option(metavar="PATTERN", help="Files to search, such as '*/gate.mp4'."),
    ] = ""

    def filters(self) -> "Filters":
        """Read the filters.

        Raises:
            UsageError: A time is malformed, or a number is not one.
        """
        from fdps.search import Filters

        return Filters(**{**vars(self), "cameras": tuple(self.cameras or ())})


@dataclass(frozen=True)
class Ranking:
    """The options that say which hits are given, and in which order."""

    rerank: Annotated[
        str, typer.Option(metavar="NAME", help="Order the results by expansion or k-reciprocal.")
    ] = ""
    appearances: Annotated[
        bool,
        typer.Option(
            "--appearances", help="Join sightings in a row: a result is from-to in a video."
        ),
    ] = False
    top: Annotated[int, typer.Option(metavar="N", help="Number of results wanted.")] = 10
    min_similarity: Annotated[
        float | None, typer.Option(help="Least similarity of a result, in [-1, 1].")
    ] = None

    @property
    def least(self) -> float:
        """The least similarity of a hit; minus infinity if none is asked for."""
        return -math.inf if self.min_similarity is None else self.min_similarity

    def check(self) -> None:
        """Refuse options that make no sense, before a model is loaded.

        Raises:
            UsageError: The least similarity is out of range, or appearances are to be re-ranked.
        """
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:  # refuses NaN
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
        """The format that is printed."""
        return "json" if self.json_output else self.format_
