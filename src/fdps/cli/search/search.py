"""The command ``fdps search``: who in an archive looks like this person?"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.archive.retention import warn_of_overdue
from fdps.cli.archive_model import ModelChoice, warn_of_limits
from fdps.cli.option_groups import grouped
from fdps.cli.reading import Reading
from fdps.cli.search.answer import Answer
from fdps.cli.search.options import Output, Ranking, Where
from fdps.cli.search.question import Question
from fdps.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fdps.search import Index

NOTHING_FOUND = 10


@grouped
def search(
    archive: Annotated[str, typer.Argument(metavar="NAME.fdps", help="Archive to search.")],
    question: Question,
    ranking: Ranking,
    where: Where,
    output: Output,
    model: ModelChoice,
    purpose: Annotated[
        str, typer.Option(metavar="TEXT", help="Purpose of the search; noted in the audit.")
    ] = "",
    fail_if_none: Annotated[
        bool, typer.Option("--fail-if-none", help="Exit with 10 if there is no result.")
    ] = False,
) -> None:
    """Search an archive for a person, seen in pictures or in the archive itself."""
    from fdps.search import Index
    from fdps.search.results.candidates import candidates

    question.choices()  # checked before a model is loaded
    ranking.check()
    filters = where.filters()
    with Index.open(archive, purpose=purpose) as index:
        searcher = None
        if question.needs_model:
            searcher = model.load_for(archive, index.info, quiet=output.format != "table")
        asked = question.ask(index, searcher)
        index.asked = [one.name for one in asked]
        like = [one.person for one in asked if not one.is_unlike]
        unlike = [one.person for one in asked if one.is_unlike]
        found_in_a_row = None
        if ranking.appearances:
            found_in_a_row = index.search_appearances(
                like, ranking.top, unlike=unlike, min_similarity=ranking.least, filters=filters
            )
            hits = [appearance.best for appearance in found_in_a_row]
        else:
            hits = index.search(
                like,
                ranking.top,
                unlike=unlike,
                rerank=ranking.rerank,
                min_similarity=ranking.least,
                filters=filters,
            )
        _warn(archive, index, filters.cameras)
        reading = Reading.of(
            index,
            model.place(index.info),
            hits,
            like=like,
            n_unlike=len(unlike),
            ranking=ranking,
            filters=filters,
        )
        found = candidates(index, hits, reading.levels)
        answer = Answer(archive, index, asked, found, reading, found_in_a_row)
        if output.save:  # saved before anything is printed: a closed pipe must not cost the files
            saved = answer.save(output.save, bystanders=output.bystanders)
            names = ", ".join(path.name for path in saved)
            print(f"Saved   {output.save}: {names}", file=sys.stderr)
        if output.format == "table":
            answer.show()
        else:
            print(answer.text(output.format), end="")
    if fail_if_none and not hits:
        raise typer.Exit(NOTHING_FOUND)


def _warn(archive: str, index: "Index", cameras: "Sequence[str]") -> None:
    """Warn about what the archive asks care for, and about what the search could not mean."""
    from fdps.search.care.info import nearest_camera

    warn_of_limits(index.info.model_hash)
    for camera in index.unknown_cameras(cameras):
        nearest = nearest_camera(index.store, camera)
        meant = f"did you mean {printable(nearest)}? " if nearest else ""
        print(
            f"Warning the archive has nobody of a camera called {printable(camera)}; "
            f"{meant}fdps archive info lists the cameras",
            file=sys.stderr,
        )
    if index.unrecorded:
        print(f"Audit   this search is not noted: {index.unrecorded}", file=sys.stderr)
    warn_of_overdue(archive, index.store)
