"""The options of ``fdps index``: how files become scenes of an archive."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from fdps.search import IngestOptions

Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="Pictures, videos, folders, patterns, @lists."),
]
Out = Annotated[
    str, typer.Option("--out", "-o", metavar="NAME.fdps", help="Archive, new or to continue.")
]
Ray = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Use a Ray cluster: local, auto, ray://HOST:PORT.")
]
Keep = Annotated[
    str | None, typer.Option(metavar="TIME", help="Time to keep scenes: 12h, 30d, 2w, forever.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 4 if a file was skipped.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object when done.")]
Progress = Annotated[
    Literal["bar", "json"],
    typer.Option(help="How to tell on stderr how far it is: a bar, or one JSON object a line."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@dataclass(frozen=True)
class Rules:
    """The options about files; they have the names of the rules of ``IngestOptions.parse``."""

    camera: Annotated[
        str | None, typer.Option(metavar="NAME", help="Camera that took these pictures.")
    ] = None
    camera_from: Annotated[
        str,
        typer.Option(metavar="REGEX", help="Find the camera in the path: '(?P<camera>gate|hall)'."),
    ] = ""
    time_from: Annotated[
        str,
        typer.Option(
            metavar="SOURCES", help="Sources of times: exif, container, name:%Y%m%d_%H%M%S."
        ),
    ] = "exif,container"
    every: Annotated[
        str,
        typer.Option(
            metavar="STEP", help="Frames of videos to look at: 0.5s, 500ms, 10f, keyframes."
        ),
    ] = "0.5s"
    again: Annotated[
        bool, typer.Option("--all", help="Look at known files again, and replace their scenes.")
    ] = False
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of processes that decode.")
    ] = 1
    batch: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Number of frames that the network takes together."),
    ] = 1

    def parsed(self) -> "IngestOptions":
        """Read the rules.

        Raises:
            UsageError: A rule is malformed.
        """
        from fdps.search import IngestOptions

        return IngestOptions.parse(**vars(self))
