"""Open the store that users name: a folder, or ``postgresql://``."""

import shutil
from pathlib import Path

from fdps.errors import UsageError
from fdps.search.postgres.address import SCHEMES, PostgresAddress, check_client, parse_address
from fdps.search.sql.store import SqlStore
from fdps.search.sqlite.schema import rename_folder
from fdps.search.sqlite.store import SqliteStore


def open_store(path_or_uri: str | Path) -> SqlStore:
    """Open an archive.

    Raises:
        MissingDataError: There is no archive.
        ArchiveError: The archive is damaged, of a newer format, or cannot be reached.
        UsageError: The address is of an unknown kind, or its package is not installed.
    """
    place = _place(path_or_uri)
    if isinstance(place, Path):
        return SqliteStore(place)
    check_client()
    from fdps.search.postgres.store import PostgresStore

    return PostgresStore(place)


def create_store(
    path_or_uri: str | Path, *, model_hash: str, dim: int, model: str = ""
) -> SqlStore:
    """Begin an archive.

    Raises:
        ArchiveError: There is an archive already, or it cannot be written or reached.
        UsageError: The address is of an unknown kind, its package is not installed, or the folder
            holds other things.
    """
    place = _place(path_or_uri)
    if isinstance(place, Path):
        return SqliteStore.create(place, model_hash=model_hash, dim=dim, model=model)
    check_client()
    from fdps.search.postgres.store import PostgresStore

    return PostgresStore.create(place, model_hash=model_hash, dim=dim, model=model)


def unfinished(path_or_uri: str | Path) -> str | Path:
    """Return the place where an archive is made that will be at another place when it is whole.

    Raises:
        UsageError: The address is of an unknown kind.
    """
    place = _place(path_or_uri)
    if isinstance(place, Path):
        return place.with_name(f"{place.name}.part")
    return str(place.named(f"{place.archive}_part"))


def give_name(aside: str | Path, path_or_uri: str | Path) -> None:
    """Let an archive from :func:`unfinished` be at the place that it was made for.

    Raises:
        ArchiveError: Something is at that place, or it cannot be reached.
    """
    place, there = _place(aside), _place(path_or_uri)
    if isinstance(place, Path) and isinstance(there, Path):
        rename_folder(place, there)
    elif isinstance(place, PostgresAddress) and isinstance(there, PostgresAddress):
        from fdps.search.postgres.schema import rename_schema

        rename_schema(place, there)


def discard(path_or_uri: str | Path) -> None:
    """Delete an archive with everything in it.

    Raises:
        ArchiveError: It cannot be reached.
    """
    place = _place(path_or_uri)
    if isinstance(place, Path):
        shutil.rmtree(place)
        return
    from fdps.search.postgres.schema import drop_schema

    drop_schema(place)


def _place(path_or_uri: str | Path) -> Path | PostgresAddress:
    text = str(path_or_uri)
    scheme, separator, _ = text.partition("://")
    if scheme in SCHEMES:
        return parse_address(text)
    if text.startswith(tuple(f"{name}:" for name in SCHEMES)):  # not named: it may hold a password
        raise UsageError(
            "an address of an archive has two slashes, postgresql://HOST/DATABASE",
            hint="give it as text: pathlib.Path takes one of the slashes away",
        )
    if not separator:
        return Path(path_or_uri)
    raise UsageError(
        f"archives at {scheme}:// are not supported, got {path_or_uri}",
        hint="give a folder, such as event.fdps, or postgresql://HOST/DATABASE",
    )
