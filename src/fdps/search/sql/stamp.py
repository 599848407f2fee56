"""The stamp of an archive: rows of the table ``meta`` that say what it holds, and who made it."""

from collections.abc import Mapping
from datetime import UTC, datetime

from fdps import __version__
from fdps.errors import ArchiveError
from fdps.search.store import IndexInfo


def new_stamp(*, model_hash: str, dim: int, model: str) -> dict[str, str]:
    """Return the rows of a new archive; its format is noted by each kind of database.

    Args:
        model_hash: Hash of the model whose embeddings it will hold.
        dim: Length of an embedding, at least 1.
        model: The place where that model can be loaded from.
    """
    return {
        "model_hash": model_hash,
        "dim": str(dim),
        "model": model,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "created_by": __version__,
        "removals": "0",
    }


def read_stamp(meta: Mapping[str, str], where: str, format_version: int) -> IndexInfo:
    """Read the stamp from its rows.

    Args:
        meta: Key and value of each row.
        where: The archive, for the message.
        format_version: Version of the format.

    Raises:
        ArchiveError: A part of the stamp is missing.
    """
    try:
        return IndexInfo(
            format_version=format_version,
            model_hash=meta["model_hash"],
            dim=int(meta["dim"]),
            model=meta["model"],
            created=meta["created"],
            created_by=meta["created_by"],
        )
    except (KeyError, ValueError) as error:
        raise ArchiveError(f"{where} is damaged: its stamp lacks {error}") from error
