"""``fdps search``: who in an archive looks like this person?"""

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from fdps.cli.answer import Answer, Format
from fdps.cli.archive_model import DEVICE_HELP, MIN_SCORE_HELP, MODEL_HELP, load_model_of
from fdps.cli.question import Question
from fdps.cli.reading import calibration_of

NOTHING_FOUND = 10


def search(
    archive: Annotated[str, typer.Argument(metavar="NAME.fdps", help="Archive to search.")],
    query: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PICTURE[@WHO]",
            help="Picture of the person; repeatable. WHO is a number, x,y or x1,y1,x2,y2.",
        ),
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="The person, in pixels.")
    ] = None,
    point: Annotated[str | None, typer.Option(metavar="X,Y", help="A pixel on the person.")] = None,
    person: Annotated[
        int | None, typer.Option(metavar="N", help="Person N of those found, best first.")
    ] = None,
    item: Annotated[
        list[int] | None,
        typer.Option(metavar="ITEM", help="Somebody of the archive who is the person; repeatable."),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(metavar="PICTURE[@WHO]", help="Picture of somebody else; repeatable."),
    ] = None,
    unlike_item: Annotated[
        list[int] | None,
        typer.Option(metavar="ITEM", help="Somebody of the archive who is not; repeatable."),
    ] = None,
    rerank: Annotated[
        str, typer.Option(metavar="NAME", help="Order otherwise: expansion, k-reciprocal.")
    ] = "",
    top: Annotated[int, typer.Option(metavar="N", help="Results wanted.")] = 10,
    min_similarity: Annotated[
        float | None, typer.Option(help="Leave out results below, in [-1, 1].")
    ] = None,
    cameras: Annotated[
        list[str] | None,
        typer.Option("--camera", metavar="NAME", help="Only this camera; repeatable."),
    ] = None,
    scenes: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only scenes named so, as 'photos/hall/*'.")
    ] = "",
    min_height: Annotated[
        float, typer.Option(metavar="PIXELS", help="Only people at least so high.")
    ] = 0.0,
    after: Annotated[str, typer.Option(metavar="TIME", help="Only at this time, or later.")] = "",
    before: Annotated[str, typer.Option(metavar="TIME", help="Only before this time.")] = "",
    time_of_day: Annotated[
        str, typer.Option(metavar="HH:MM-HH:MM", help="Only at these hours of any day.")
    ] = "",
    source: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only files whose path fits, as '*/gate.mp4'.")
    ] = "",
    format_: Annotated[Format, typer.Option("--format", help="How to print the results.")] = (
        "table"
    ),
    json_output: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write all formats, and a contact sheet."),
    ] = None,
    bystanders: Annotated[
        bool, typer.Option("--bystanders", help="Do not blur other people on the sheet.")
    ] = False,
    fail_if_none: Annotated[
        bool, typer.Option("--fail-if-none", help="Exit with 10 if there is no result.")
    ] = False,
    model: Annotated[Path | None, typer.Option(metavar="RUN|WEIGHTS|CARD", help=MODEL_HELP)] = None,
    min_score: Annotated[float | None, typer.Option(help=MIN_SCORE_HELP)] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "cpu",
) -> None:
    """Search an archive for a person, seen in pictures or in the archive itself."""
    from fdps.search import Index
    from fdps.search.candidates import candidates

    question = Question(
        query or (), item or (), unlike or (), unlike_item or (), box, point, person
    )
    question.choices()  # before a model is loaded
    with Index.open(archive) as index:
        searcher = None
        if question.needs_model:
            searcher = load_model_of(archive, index.info, model, min_score=min_score, device=device)
        asked = question.ask(index, searcher)
        hits = index.search(
            [one.person for one in asked if not one.is_unlike],
            top,
            unlike=[one.person for one in asked if one.is_unlike],
            rerank=rerank,
            min_similarity=-math.inf if min_similarity is None else min_similarity,
            cameras=cameras or (),
            scenes=scenes,
            min_height=min_height,
            after=after,
            before=before,
            time_of_day=time_of_day,
            source=source,
        )
        place = str(model or index.info.model)
        calibration, why = calibration_of(index, place)
        found = candidates(index, hits, calibration)
        answer = Answer(archive, index, asked, found, calibration, place, why)
        if json_output or format_ != "table":
            print(answer.text("json" if json_output else format_), end="")
        else:
            answer.show()
        if save:
            written = answer.save(save, bystanders=bystanders)
            names = ", ".join(path.name for path in written)
            print(f"Saved   {save}: {names}", file=sys.stderr)
    if fail_if_none and not hits:
        raise typer.Exit(NOTHING_FOUND)
