"""``fdps index``: pictures and videos become an archive of people, or an archive grows."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.archive.retention import warn_of_overdue
from fdps.cli.archive_model import (
    DEVICE_HELP,
    MIN_SCORE_HELP,
    MODEL_HELP,
    load_model_of,
    remembered_as,
    warn_of_limits,
)
from fdps.cli.index import options as option
from fdps.cli.index.report import report
from fdps.cli.progress import progress_bar, working
from fdps.cli.reading import remember_calibration
from fdps.errors import MissingDataError, UsageError

if TYPE_CHECKING:
    from fdps.search import Index, RayCluster

INCOMPLETE = 4


def index(
    sources: option.Sources,
    out: option.Out,
    model: Annotated[Path | None, typer.Option(metavar="RUN|WEIGHTS|CARD", help=MODEL_HELP)] = None,
    camera: option.Camera = None,
    camera_from: option.CameraFrom = "",
    time_from: option.TimeFrom = "exif,container",
    every: option.Every = "0.5s",
    only: option.Only = "missing",
    again: option.All = False,
    workers: option.Workers = 1,
    batch: option.Batch = 1,
    ray: option.Ray = "",
    keep: option.Keep = None,
    min_score: Annotated[float | None, typer.Option(help=MIN_SCORE_HELP)] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "cpu",
    strict: option.Strict = False,
    json_output: option.Json = False,
    quiet: option.Quiet = False,
) -> None:
    """Find everybody in pictures and videos and keep them in an archive to search."""
    from fdps.search import IngestOptions, find_pictures
    from fdps.search.care.retention import parse_keep, set_retention
    from fdps.search.ray.session import check_address

    if ray:
        check_address(ray)
    rules: dict[str, Any] = {
        "camera": camera,
        "camera_from": camera_from,
        "time_from": time_from,
        "every": every,
        "again": again,
        "workers": workers,
        "batch": batch,
    }
    IngestOptions.parse(**rules)
    retention = parse_keep(keep)
    found = find_pictures(sources, videos=True)  # before anything is created or loaded
    with _archive(
        out, model, min_score=min_score, device=device, quiet=quiet or json_output
    ) as archive:
        if keep is not None:
            set_retention(archive.store, retention)
        try:
            with progress_bar(f"Index {out}", hidden=quiet) as progress:
                cluster = _cluster(archive, ray, model, min_score=min_score, device=device)
                summary = archive.add(found, **rules, progress=progress, cluster=cluster)
            remember_calibration(archive, model)
        except KeyboardInterrupt:
            print("Interrupted; the same command continues where it was", file=sys.stderr)
            raise
        report(out, archive, summary, json_output=json_output)
        warn_of_overdue(out, archive.store)
    if strict and summary.skipped:
        raise typer.Exit(INCOMPLETE)


def _archive(
    out: str, model: Path | None, *, min_score: float | None, device: str, quiet: bool
) -> "Index":
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
        with working(f"Loading {model}", hidden=quiet):
            searcher = load(model, min_score=min_score, device=device)
        warn_of_limits(searcher.model_hash)
        return Index.create(out, searcher, model=remembered_as(model))
    warn_of_limits(info.model_hash)
    searcher = load_model_of(out, info, model, min_score=min_score, device=device, quiet=quiet)
    return Index.open(out, searcher)


def _cluster(
    archive: "Index", address: str, model: Path | None, *, min_score: float | None, device: str
) -> "RayCluster | None":
    """The machines at an address; they load the model from the place where it is here."""
    from fdps.embedders import load
    from fdps.search import RayCluster

    if not address:
        return None
    place = remembered_as(model) if model else archive.info.model
    return RayCluster(address, partial(load, place, min_score=min_score, device=device), device)
