"""The options that say how predictions are scored, and what their text means."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fdps.errors import UsageError

if TYPE_CHECKING:
    from fdps.evaluation import RerankOptions

Protocol = Annotated[str, typer.Option(metavar="reference|strict", help="Rules to follow.")]
Gallery = Annotated[
    str,
    typer.Option(
        metavar="all|full|N",
        help="Scenes searched per query: its list in the data set, else all; that list and then "
        "all others; the list of a size, else so many drawn.",
    ),
]
Subset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A list of queries of the data set: occlusion, mini, ..."),
]
Cameras = Annotated[
    str,
    typer.Option(
        metavar="all|cross|same", help="Search all cameras, all but the query's, or only that."
    ),
]
Seed = Annotated[int, typer.Option(help="Of galleries that are drawn.")]
FrameGap = Annotated[
    int, typer.Option(metavar="N", help="Ignore frames so near to the query, same camera.")
]
SecondsGap = Annotated[float, typer.Option(metavar="S", help="As --min-frame-gap, in seconds.")]
WeightByScore = Annotated[
    bool, typer.Option("--weight-by-score", help="Multiply similarity by detector score.")
]
ScoreThreshold = Annotated[float, typer.Option(help="Detections below do not count.")]
QueryExpansion = Annotated[
    int, typer.Option(metavar="K", help="Average a query with its K best hits and search again.")
]
Rerank = Annotated[
    str,
    typer.Option(
        metavar="none|cbgm|cbgm-mean|k-reciprocal",
        help="New order of the best hits: by the people around them, or by their neighbours.",
    ),
]
RerankSet = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Change a size of the re-ranking; repeatable."),
]


def gallery_size(text: str) -> int | Literal["all", "full"]:
    """Read ``--gallery``.

    Raises:
        UsageError: It is no number and none of the words.
    """
    if text == "all":
        return "all"
    if text == "full":
        return "full"
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"--gallery must be 'all', 'full' or a number of scenes, got {text!r}"
        ) from None


def rerank_options(changes: list[str]) -> "RerankOptions":
    """Sizes of the re-ranking, changed by ``NAME=VALUE``.

    Raises:
        UsageError: A name is unknown, or a value is not a number.
    """
    from dataclasses import fields, replace

    from fdps.evaluation import RerankOptions

    options = RerankOptions()
    known = {field.name: type(getattr(options, field.name)) for field in fields(options)}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            raise UsageError(
                f"--rerank-set knows no {name!r}", hint=f"write NAME=VALUE: {', '.join(known)}"
            )
        try:
            options = replace(options, **{name: known[name](text)})
        except ValueError:
            kind = "a whole number" if known[name] is int else "a number"
            raise UsageError(f"--rerank-set {name} must be {kind}, got {text!r}") from None
    return options
