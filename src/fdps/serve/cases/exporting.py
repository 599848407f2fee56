"""Export a case into a file without a name, and note it in the audit of its archive."""

import tempfile
from typing import IO

from fdps.search.audit import Audited, Note, named
from fdps.search.index import Index
from fdps.serve.cases.case import Case
from fdps.serve.cases.export import Bystanders, Format, export


def exported(
    index: Index,
    *,
    case: Case,
    format_: Format,
    bystanders: Bystanders,
    purpose: str,
    user: str,
) -> IO[bytes]:
    """Write a case, and note that; what cannot be noted is not exported.

    Args:
        index: The archive of the case.
        case: The case.
        format_: The format.
        bystanders: Whether other people are blurred or kept.
        purpose: Why it is exported.
        user: Name of the user.

    Returns:
        The file, at its beginning; it is gone as soon as it is closed, or the process ends.

    Raises:
        UsageError: The format cannot hold the candidates.
        ArchiveError: The archive is damaged, or read-only.
        ResourceError: The disk is full, or no decoder can be started.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever sends it closes it
    try:
        found = export(case, index.store, format_, file, bystanders=bystanders)
        details = {
            "case": case.line.id,
            "user": user,
            "format": format_,
            "bystanders": bystanders,
            "items": named([one.candidate.hit.item for one in found.confirmed + found.rejected]),
        }
        record(index, Note("export", purpose, details))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def record(index: Index, note: Note) -> None:
    """Note something in the audit, where the archive has one.

    Raises:
        ArchiveError: The archive is read-only.
        ResourceError: The disk is full.
    """
    if isinstance(index.store, Audited):
        index.store.record(note)
