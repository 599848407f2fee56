"""The command ``fdps index``: make an archive of people from pictures and videos, or extend one."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fdps.cli.archive.retention import warn_of_overdue
from fdps.cli.archive_model import ModelChoice, remembered_as, warn_of_limits
from fdps.cli.index import options as option
from fdps.cli.index.report import report
from fdps.cli.option_groups import grouped
from fdps.cli.progress import progress_bar, progress_lines
from fdps.cli.reading import remember_calibration
from fdps.errors import MissingDataError

if TYPE_CHECKING:
    from fdps.search import Index, RayCluster

INCOMPLETE = 4


@grouped
def index(
    sources: option.Sources,
    out: option.Out,
    model: ModelChoice,
    rules: option.Rules,
    ray: option.Ray = "",
    keep: option.Keep = None,
    strict: option.Strict = False,
    json_output: option.Json = False,
    progress: option.Progress = "bar",
    quiet: option.Quiet = False,
) -> None:
    """Find everybody in pictures and videos and keep them in an archive to search."""
    from fdps.search import find_pictures
    from fdps.search.care.retention import parse_keep, set_retention
    from fdps.search.ray.session import check_address

    # Whatever can be refused is refused before anything is created or loaded.
    if ray:
        check_address(ray)
    options = rules.parsed()
    retention = parse_keep(keep)
    found = find_pictures(sources, videos=True)
    with _archive(out, model, quiet=quiet or json_output) as archive:
        if keep is not None:
            set_retention(archive.store, retention)
        try:
            shown = progress_bar(f"Index {out}", hidden=quiet)
            if progress == "json":
                shown = progress_lines(lambda: len(archive))
            with shown as tell:
                cluster = _cluster(archive, ray, model)
                summary = archive.add(found, options=options, progress=tell, cluster=cluster)
            remember_calibration(archive, model.model)
        except KeyboardInterrupt:
            print("Interrupted; the same command continues where it was", file=sys.stderr)
            raise
        report(out, archive, summary, json_output=json_output)
        warn_of_overdue(out, archive.store)
    if strict and summary.skipped:
        raise typer.Exit(INCOMPLETE)


def _archive(out: str, choice: ModelChoice, *, quiet: bool) -> "Index":
    """Open the archive with its model once, and begin it where there is none."""
    from fdps.bundled import DEFAULT
    from fdps.search import Index

    try:
        archive = Index.open(out)
    except MissingDataError:
        model = choice.model or Path(DEFAULT)
        searcher = choice.load(model, quiet=quiet)
        warn_of_limits(searcher.model_hash)
        return Index.create(out, searcher, model=remembered_as(model))
    try:
        warn_of_limits(archive.info.model_hash)
        archive.use(choice.load_for(out, archive.info, quiet=quiet))
    except BaseException:
        archive.close()
        raise
    return archive


def _cluster(archive: "Index", address: str, choice: ModelChoice) -> "RayCluster | None":
    """Return the machines at an address; they load the model from the place where it is here."""
    from fdps.embedders import load
    from fdps.search import RayCluster

    if not address:
        return None
    place = remembered_as(choice.model) if choice.model else archive.info.model
    load_model = partial(load, place, min_score=choice.min_score, device=choice.device)
    return RayCluster(address, load_model, choice.device)
