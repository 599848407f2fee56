"""``fdps index``: pictures become an archive of people, or an archive grows."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.cli.archive_model import (
    DEVICE_HELP,
    MIN_SCORE_HELP,
    MODEL_HELP,
    load_model_of,
    remembered_as,
)
from fdps.cli.predict import progress_bar
from fdps.cli.reading import remember_calibration
from fdps.errors import DataError, MissingDataError, UsageError

if TYPE_CHECKING:
    from fdps.search import Index, IngestSummary

INCOMPLETE = 4
_SHOWN = 5  # skipped files; the others are in skipped.csv


def index(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="Pictures, folders or patterns.")
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="NAME.fdps", help="Archive, new or to continue.")
    ],
    model: Annotated[Path | None, typer.Option(metavar="RUN|WEIGHTS|CARD", help=MODEL_HELP)] = None,
    camera: Annotated[
        str | None, typer.Option(metavar="NAME", help="Camera that took these pictures.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help=MIN_SCORE_HELP)] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "cpu",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 4 if a file was skipped.")] = (
        False
    ),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when done.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Find everybody in pictures and keep them in an archive to search."""
    from fdps.search import find_pictures

    found = find_pictures(sources)  # before anything is created or loaded
    with _archive(out, model, min_score=min_score, device=device) as archive:
        try:
            with progress_bar(f"Index {out}", hidden=quiet) as progress:
                summary = archive.add(found, camera=camera, progress=progress)
            remember_calibration(archive, model)
        except KeyboardInterrupt:
            print("Interrupted; the same command continues where it was", file=sys.stderr)
            raise
        _report(out, archive, summary, json_output=json_output)
    if strict and summary.skipped:
        raise typer.Exit(INCOMPLETE)


def _archive(out: str, model: Path | None, *, min_score: float | None, device: str) -> "Index":
    from fdps.embedders import load
    from fdps.search import Index

    try:
        with Index.open(out) as existing:
            info = existing.info
    except MissingDataError:
        if model is None:
            raise UsageError(
                f"{out} is a new archive and needs a model",
                hint="give it: --model RUN, or --model drawn-people for drawn scenes",
            ) from None
        searcher = load(model, min_score=min_score, device=device)
        return Index.create(out, searcher, model=remembered_as(model))
    searcher = load_model_of(out, info, model, min_score=min_score, device=device)
    return Index.open(out, searcher)


def _report(out: str, archive: "Index", summary: "IngestSummary", *, json_output: bool) -> None:
    if summary.n_added + summary.n_known == 0:
        raise DataError(
            f"none of {summary.n_files} files could be indexed",
            hint="\n".join(f"{file.path}: {file.reason}" for file in summary.skipped[:_SHOWN]),
        )
    if json_output:
        figures = {
            "archive": out,
            "n_files": summary.n_files,
            "n_added": summary.n_added,
            "n_replaced": summary.n_replaced,
            "n_known": summary.n_known,
            "n_people_added": summary.n_people,
            "skipped": [{"file": str(f.path), "reason": f.reason} for f in summary.skipped],
            "n_scenes": archive.n_scenes,
            "n_people": len(archive),
        }
        print(json.dumps(figures))
        return
    replaced = f", {summary.n_replaced} of them changed files" if summary.n_replaced else ""
    print(f"Added   {summary.n_added} pictures with {summary.n_people} people{replaced}")
    if summary.n_known:
        print(f"Known   {summary.n_known} pictures were in the archive already")
    for file in summary.skipped[:_SHOWN]:
        print(f"Skipped {file.path}: {file.reason}")
    if len(summary.skipped) > _SHOWN:
        print(f"Skipped {len(summary.skipped)} files in all; {out}/skipped.csv names each")
    print(f"Archive {out}: {len(archive)} people in {archive.n_scenes} pictures")
    print(f"Next    fdps search {out} --query PICTURE")
