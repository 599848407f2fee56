"""``fdps search``: who in an archive looks like this person?"""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.archive.retention import warn_of_overdue
from fdps.cli.archive_model import (
    DEVICE_HELP,
    MIN_SCORE_HELP,
    MODEL_HELP,
    load_model_of,
    warn_of_limits,
)
from fdps.cli.reading import calibration_of
from fdps.cli.search import options as option
from fdps.cli.search.answer import Answer, Format
from fdps.cli.search.question import Question
from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fdps.search import Index

NOTHING_FOUND = 10


def search(
    archive: Annotated[str, typer.Argument(metavar="NAME.fdps", help="Archive to search.")],
    query: option.Query = None,
    box: option.Box = None,
    point: option.Point = None,
    person: option.Person = None,
    item: option.Item = None,
    unlike: option.Unlike = None,
    unlike_item: option.UnlikeItem = None,
    rerank: option.Rerank = "",
    appearances: option.Appearances = False,
    top: option.Top = 10,
    min_similarity: option.MinSimilarity = None,
    cameras: option.Cameras = None,
    scenes: option.Scenes = "",
    min_height: option.MinHeight = 0.0,
    after: option.After = "",
    before: option.Before = "",
    time_of_day: option.TimeOfDay = "",
    source: option.From = "",
    format_: Annotated[Format, typer.Option("--format", help="How to print the results.")] = (
        "table"
    ),
    json_output: option.Json = False,
    save: option.Save = None,
    bystanders: option.Bystanders = False,
    purpose: option.Purpose = "",
    fail_if_none: option.FailIfNone = False,
    model: Annotated[Path | None, typer.Option(metavar="RUN|WEIGHTS|CARD", help=MODEL_HELP)] = None,
    min_score: Annotated[float | None, typer.Option(help=MIN_SCORE_HELP)] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "cpu",
) -> None:
    """Search an archive for a person, seen in pictures or in the archive itself."""
    from fdps.search import Index
    from fdps.search.results.candidates import candidates
    from fdps.search.results.claims import why_no_levels, why_no_verdict
    from fdps.search.store import Filters

    question = Question(
        query or (), item or (), unlike or (), unlike_item or (), box, point, person
    )
    question.choices()  # before a model is loaded
    if min_similarity is not None and not -1 <= min_similarity <= 1:
        raise UsageError(
            f"--min-similarity is from -1 to 1, got {min_similarity:g}",
            hint="leave it out to see the best hits, however similar they are",
        )
    if appearances and rerank:
        raise UsageError("appearances are not re-ranked", hint="leave out one of the two options")
    with Index.open(archive, purpose=purpose) as index:
        searcher = None
        if question.needs_model:
            quiet = json_output or format_ != "table"
            searcher = load_model_of(
                archive, index.info, model, min_score=min_score, device=device, quiet=quiet
            )
        asked = question.ask(index, searcher)
        index.asked = [one.name for one in asked]
        like = [one.person for one in asked if not one.is_unlike]
        unlike_people = [one.person for one in asked if one.is_unlike]
        least = -math.inf if min_similarity is None else min_similarity
        who: dict[str, Any] = {
            "cameras": tuple(cameras or ()),
            "scenes": scenes,
            "min_height": min_height,
            "after": after,
            "before": before,
            "time_of_day": time_of_day,
            "source": source,
        }
        narrow = who | {"unlike": unlike_people, "min_similarity": least}
        in_a_row = index.search_appearances(like, top, **narrow) if appearances else None
        if in_a_row is None:
            hits = index.search(like, top, rerank=rerank, **narrow)
        else:
            hits = [appearance.best for appearance in in_a_row]
        _warn(archive, index, cameras or ())
        place = str(model or index.info.model)
        calibration, why = calibration_of(index, place)
        no_levels = why_no_levels(len(like), len(unlike_people), rerank)
        no_verdict = why_no_verdict(Filters(**who), least, is_in_a_row=appearances)
        if no_levels:
            calibration = None
        found = candidates(index, hits, calibration)
        answer = Answer(
            archive,
            index,
            asked,
            found,
            calibration,
            place,
            why,
            in_a_row,
            no_levels=no_levels,
            no_verdict=no_verdict,
        )
        if save:  # before anything is printed: a closed pipe must not cost the files
            written = ", ".join(path.name for path in answer.save(save, bystanders=bystanders))
            print(f"Saved   {save}: {written}", file=sys.stderr)
        if json_output or format_ != "table":
            print(answer.text("json" if json_output else format_), end="")
        else:
            answer.show()
    if fail_if_none and not hits:
        raise typer.Exit(NOTHING_FOUND)


def _warn(archive: str, index: "Index", cameras: "Sequence[str]") -> None:
    """Say what the archive asks care for, and what the search could not mean."""
    warn_of_limits(index.info.model_hash)
    for camera in index.unknown_cameras(cameras):
        print(
            f"Warning the archive has nobody of a camera called {printable(camera)}; "
            "fdps archive info lists the cameras",
            file=sys.stderr,
        )
    if index.unrecorded:
        print(f"Audit   this search is not noted: {index.unrecorded}", file=sys.stderr)
    warn_of_overdue(archive, index.store)
