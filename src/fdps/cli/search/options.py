"""The options of ``fdps search``: whom it looks for, where, and how it answers."""

from pathlib import Path
from typing import Annotated

import typer

Query = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PICTURE[@WHO]",
        help="Picture of the person; repeatable. WHO is a number, x,y or x1,y1,x2,y2.",
    ),
]
Box = Annotated[str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="The person, in pixels.")]
Point = Annotated[str | None, typer.Option(metavar="X,Y", help="A pixel on the person.")]
Person = Annotated[
    int | None, typer.Option(metavar="N", help="Person N of those found, best first.")
]
Item = Annotated[
    list[int] | None,
    typer.Option(metavar="ITEM", help="Somebody of the archive who is the person; repeatable."),
]
Unlike = Annotated[
    list[str] | None,
    typer.Option(metavar="PICTURE[@WHO]", help="Picture of somebody else; repeatable."),
]
UnlikeItem = Annotated[
    list[int] | None,
    typer.Option(metavar="ITEM", help="Somebody of the archive who is not; repeatable."),
]
Rerank = Annotated[
    str, typer.Option(metavar="NAME", help="Order otherwise: expansion, k-reciprocal.")
]
Appearances = Annotated[
    bool,
    typer.Option("--appearances", help="Join sightings in a row: a result is from-to in a video."),
]
Top = Annotated[int, typer.Option(metavar="N", help="Results wanted.")]
MinSimilarity = Annotated[float | None, typer.Option(help="Leave out results below, in [-1, 1].")]
Cameras = Annotated[
    list[str] | None,
    typer.Option("--camera", metavar="NAME", help="Only this camera; repeatable."),
]
Scenes = Annotated[
    str, typer.Option(metavar="PATTERN", help="Only scenes named so, as 'photos/hall/*'.")
]
MinHeight = Annotated[float, typer.Option(metavar="PIXELS", help="Only people at least so high.")]
After = Annotated[str, typer.Option(metavar="TIME", help="Only at this time, or later.")]
Before = Annotated[str, typer.Option(metavar="TIME", help="Only before this time.")]
TimeOfDay = Annotated[
    str, typer.Option(metavar="HH:MM-HH:MM", help="Only at these hours of any day.")
]
From = Annotated[
    str, typer.Option(metavar="PATTERN", help="Only files whose path fits, as '*/gate.mp4'.")
]
Save = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Also write all formats, and a contact sheet."),
]
Bystanders = Annotated[
    bool, typer.Option("--bystanders", help="Do not blur other people on the sheet.")
]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Purpose = Annotated[
    str, typer.Option(metavar="TEXT", help="What for; noted in the audit of the archive.")
]
FailIfNone = Annotated[
    bool, typer.Option("--fail-if-none", help="Exit with 10 if there is no result.")
]
