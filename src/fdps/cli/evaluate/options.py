"""The options that say how predictions are scored, and what their text means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fdps.errors import UsageError

if TYPE_CHECKING:
    from fdps.evaluation import EvaluationOptions, RerankOptions


@dataclass(frozen=True)
class Scoring:
    """The options of ``fdps evaluate`` and ``fdps compare`` about the score."""

    protocol: Annotated[str, typer.Option(metavar="reference|strict", help="Rules to follow.")] = (
        "reference"
    )
    gallery: Annotated[
        str,
        typer.Option(
            metavar="all|full|N",
            help="Scenes searched per query: its list in the data set, else all; that list and "
            "then all others; the list of a size, else so many drawn.",
        ),
    ] = "all"
    subset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A list of queries of the data set: occlusion, mini, ..."
        ),
    ] = None
    cameras: Annotated[
        str,
        typer.Option(
            metavar="all|cross|same", help="Search all cameras, all but the query's, or only that."
        ),
    ] = "all"
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of galleries, intervals and tests that are drawn.")
    ] = 0
    min_frame_gap: Annotated[
        int,
        typer.Option(
            metavar="N", help="Ignore frames of the camera within N numbers of the query."
        ),
    ] = 0
    min_seconds_gap: Annotated[
        float, typer.Option(metavar="S", help="The same as --min-frame-gap, in seconds.")
    ] = 0.0
    weight_by_score: Annotated[
        bool, typer.Option("--weight-by-score", help="Multiply similarity by detector score.")
    ] = False
    score_threshold: Annotated[
        float, typer.Option(help="Count no detections of a lower score.")
    ] = 0.5
    query_expansion: Annotated[
        int,
        typer.Option(metavar="K", help="Average a query with its K best hits and search again."),
    ] = 0
    rerank: Annotated[
        str,
        typer.Option(
            metavar="none|cbgm|cbgm-mean|k-reciprocal",
            help="New order of the best hits: by the people around them, or by their neighbours.",
        ),
    ] = "none"
    rerank_set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Change a size of the re-ranking; repeatable."),
    ] = None

    def checked(self) -> "EvaluationOptions":
        """Read the texts, and refuse what makes no sense.

        Raises:
            UsageError: An option is unknown or out of range; the message names it.
        """
        from fdps.evaluation import EvaluationOptions

        options = EvaluationOptions(
            protocol=self.protocol,
            gallery=gallery_size(self.gallery),
            seed=self.seed,
            min_frame_gap=self.min_frame_gap,
            weight_by_score=self.weight_by_score,
            score_threshold=self.score_threshold,
            cameras=self.cameras,
            min_seconds_gap=self.min_seconds_gap,
            subset=self.subset,
            query_expansion=self.query_expansion,
            rerank=self.rerank,
            rerank_options=rerank_options(self.rerank_set or []),
        )
        options.check()
        return options


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


def rerank_options(changes: Sequence[str]) -> "RerankOptions":
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
