"""The mark by which ``fdps demo`` knows an archive of its own, which it may erase, from others."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fdps.errors import MissingDataError, UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.search import Index

MARK = "fdps demo"
_MADE_BY = "made_by"


class Known(NamedTuple):
    """What is known about the archive of an earlier run."""

    model: str
    """The place of its model."""
    model_hash: str
    mark: str
    """Begins with :data:`MARK`; empty in an archive without people."""


def put_mark(archive: "Index", mark: str = MARK) -> None:
    """Mark an archive in a folder as one of the demo."""
    archive.store.write_note(_MADE_BY, mark)


def earlier(place: Path) -> Known | None:
    """Read what is known about the archive of an earlier run, if there is one.

    Raises:
        UsageError: It was not made by the demo, which might erase it one day.
    """
    from fdps.search import Index

    try:
        archive = Index.open(place)
    except MissingDataError:
        return None
    with archive:
        made_by = archive.store.note(_MADE_BY) or ""
        if archive.n_scenes and not made_by.startswith(MARK):
            raise UsageError(
                f"{printable(place)} is an archive that fdps demo did not make",
                hint="choose another folder: --out DIR; or search it: fdps search",
            )
        return Known(archive.info.model, archive.info.model_hash, made_by)
