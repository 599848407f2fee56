"""Open the store that users name: a folder, or ``milvus://``."""

from pathlib import Path

from fdps.errors import UsageError
from fdps.search.milvus.address import SCHEME, MilvusAddress, parse_address
from fdps.search.sqlite.store import SqliteStore
from fdps.search.store import Store

ON_A_SERVER = "only archives in a folder have; see the guide on large archives"


def open_store(path_or_uri: str | Path) -> Store:
    """Open an archive.

    Raises:
        MissingDataError: There is no archive.
        ArchiveError: The archive is damaged, of a newer format, or cannot be reached.
        UsageError: The address is of an unknown kind, or its package is not installed.
    """
    place = _place(path_or_uri)
    if isinstance(place, Path):
        return SqliteStore(place)
    from fdps.search.milvus.store import MilvusStore

    return MilvusStore(place)


def create_store(path_or_uri: str | Path, *, model_hash: str, dim: int, model: str = "") -> Store:
    """Begin an archive.

    Raises:
        ArchiveError: There is an archive already, or it cannot be written or reached.
        UsageError: The address is of an unknown kind, its package is not installed, or the folder
            holds other things.
    """
    place = _place(path_or_uri)
    if isinstance(place, Path):
        return SqliteStore.create(place, model_hash=model_hash, dim=dim, model=model)
    from fdps.search.milvus.store import MilvusStore

    return MilvusStore.create(place, model_hash=model_hash, dim=dim, model=model)


def open_folder(path_or_uri: str | Path, what: str) -> SqliteStore:
    """Open an archive for an operation that only a folder can do.

    Args:
        path_or_uri: The archive.
        what: Name of the operation for the message, such as ``audit``.

    Raises:
        UsageError: The archive is on a server.
        MissingDataError: There is no archive.
        ArchiveError: The archive is damaged or of a newer format.
    """
    return SqliteStore(folder_of(path_or_uri, what))


def folder_of(path_or_uri: str | Path, what: str) -> Path:
    """Return the folder of an archive.

    Raises:
        UsageError: The archive is on a server.
    """
    place = _place(path_or_uri)
    if isinstance(place, Path):
        return place
    raise UsageError(f"an archive on a server has no {what} of its own", hint=ON_A_SERVER)


def _place(path_or_uri: str | Path) -> Path | MilvusAddress:
    scheme, separator, _ = str(path_or_uri).partition("://")
    if not separator:
        return Path(path_or_uri)
    if scheme == SCHEME:
        return parse_address(str(path_or_uri))
    raise UsageError(
        f"archives at {scheme}:// are not supported, got {path_or_uri}",
        hint="give a folder, such as event.fdps, or milvus://HOST:PORT/COLLECTION",
    )
