"""``fdps detect``: boxes and embeddings of everybody in pictures and videos, without an archive."""

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fdps.cli.archive_model import (
    DEVICE_HELP,
    MIN_SCORE_HELP,
    RUNTIME_HELP,
    Runtime,
    load_model,
    warn_of_limits,
)
from fdps.cli.progress import progress_bar
from fdps.errors import DataError, UsageError
from fdps.names import printable, stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fdps.search import Found, Skipped
    from fdps.search.results.people import PictureWithPeople


def detect(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="Pictures, videos, folders, patterns, @lists."),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|WEIGHTS|CARD",
            help="Run folder, weights, card, or name. [default: street-people]",
        ),
    ] = None,
    format_: Annotated[
        Literal["json", "csv", "coco", "mot"],
        typer.Option("--format", help="Format to write people in."),
    ] = "json",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="File to write. [default: print them]"),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npy", help="Write the embeddings too, one row per person."),
    ] = None,
    every: Annotated[
        str,
        typer.Option(
            metavar="STEP", help="Frames of videos to look at: 0.5s, 500ms, 10f, keyframes."
        ),
    ] = "0.5s",
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jpg", help="Draw one picture, its people numbered, best first."),
    ] = None,
    min_score: Annotated[float | None, typer.Option(help=MIN_SCORE_HELP)] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "cpu",
    runtime: Annotated[Runtime, typer.Option(help=RUNTIME_HELP)] = "pytorch",
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Find everybody in pictures and videos: boxes, scores and, if wanted, embeddings."""
    import numpy as np

    from fdps.bundled import DEFAULT
    from fdps.decoding.sampling import Sampling
    from fdps.search import find_pictures
    from fdps.search.results.people import as_json, check_one_sequence, embedding_rows, find_people

    Sampling.parse(every)
    found = find_pictures(sources, videos=True)
    if format_ == "mot":
        check_one_sequence(found)
    if picture is not None:
        _check_one_picture(found)
    place = model or DEFAULT
    searcher = load_model(
        place,
        min_score=min_score,
        device=device,
        runtime=runtime,
        quiet=quiet or json_output,
    )
    warn_of_limits(searcher.model_hash)
    with progress_bar("Detect", hidden=quiet) as progress:
        pictures, skipped = find_people(searcher, found, every=every, progress=progress)
    _name_skipped(skipped)
    if not pictures:
        raise DataError(f"none of {len(skipped)} files could be read")
    text = _text(pictures, format_)
    if out is not None:
        _write(out, text.encode())
    if picture is not None:
        _write(picture, _numbered(pictures[0]))
    if embeddings is not None:
        rows = io.BytesIO()
        np.save(rows, embedding_rows(pictures, searcher.dim))
        _write(embeddings, rows.getvalue())
    n_people = sum(len(picture.people) for picture in pictures)
    if json_output:
        figures = as_json(pictures) | {
            "n_people": n_people,
            "skipped": [{"file": stored(file.path), "reason": file.reason} for file in skipped],
            "model_hash": searcher.model_hash,
        }
        print(json.dumps(figures))
    elif out is None:
        print(text, end="")
    what = "pictures and frames" if any(file.is_video for file in found.frames) else "pictures"
    print(f"Found   {n_people} people in {len(pictures)} {what}", file=sys.stderr)
    if out is not None:
        print(f"Wrote   {printable(out)}", file=sys.stderr)


def _name_skipped(skipped: "Sequence[Skipped]") -> None:
    for file in skipped:
        print(f"Skipped {printable(file.path)}: {printable(file.reason)}", file=sys.stderr)


def _text(pictures: "list[PictureWithPeople]", format_: str) -> str:
    from fdps.search.results.people import as_coco, as_csv, as_json, as_mot

    if format_ == "csv":
        return as_csv(pictures)
    if format_ == "mot":
        return as_mot(pictures)
    return json.dumps(as_json(pictures) if format_ == "json" else as_coco(pictures)) + "\n"


def _check_one_picture(found: "Found") -> None:
    n_files = len(found.frames)
    if n_files > 1 or found.frames[0].is_video:
        raise UsageError(
            f"--picture draws one picture, got {'a video' if n_files == 1 else f'{n_files} files'}",
            hint="name the one picture whose people are to be numbered",
        )


def _numbered(picture: "PictureWithPeople") -> bytes:
    from fdps.analysis.numbered import numbered_picture
    from fdps.pictures import read_picture

    drawn = io.BytesIO()
    image = read_picture(picture.file.path)
    numbered_picture(image, picture.people).save(drawn, "JPEG", quality=90)
    return drawn.getvalue()


def _write(path: Path, data: bytes) -> None:
    from fdps.durable import write_file

    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)
