"""The options of ``fdps index``: what becomes of files on their way into an archive."""

from typing import Annotated, Literal

import typer

Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="Pictures, videos, folders, patterns, @lists."),
]
Out = Annotated[
    str, typer.Option("--out", "-o", metavar="NAME.fdps", help="Archive, new or to continue.")
]
Camera = Annotated[
    str | None, typer.Option(metavar="NAME", help="Camera that took these pictures.")
]
CameraFrom = Annotated[
    str, typer.Option(metavar="REGEX", help="Camera by the path: '(?P<camera>gate|hall)'.")
]
TimeFrom = Annotated[
    str, typer.Option(metavar="SOURCES", help="Times: exif, container, name:%Y%m%d_%H%M%S.")
]
Every = Annotated[
    str, typer.Option(metavar="STEP", help="Frames of videos: 0.5s, 500ms, 10f, keyframes.")
]
Only = Annotated[  # the default, for those who want to spell it out; --all is the other
    Literal["missing"], typer.Option(help="Look at what is not in the archive.")
]
All = Annotated[bool, typer.Option("--all", help="Look at everything again, and replace it.")]
Workers = Annotated[int, typer.Option(metavar="N", min=1, help="Processes that decode.")]
Batch = Annotated[
    int, typer.Option(metavar="N", min=1, help="Frames that the network looks at together.")
]
Ray = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Use a Ray cluster: local, auto, ray://HOST:PORT.")
]
Keep = Annotated[
    str | None, typer.Option(metavar="TIME", help="Keep scenes so long: 12h, 30d, 2w, forever.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 4 if a file was skipped.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object when done.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
