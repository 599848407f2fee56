"""The folders that may be indexed: clients name them by identifiers, never by paths."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fdps.errors import MissingDataError
from fdps.names import printable, stored
from fdps.search.ingest.folders import ARCHIVE_SUFFIX

MOST_FOLDERS, MOST_LEVELS = 2000, 8
"""Most folders that are listed below one root, and most levels of them."""

_ID_DIGITS = 16


class UnknownFolderError(MissingDataError):
    """No folder that may be indexed has this identifier."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder below a root.

    Args:
        id: Its identifier.
        name: Its path below the root, for people; empty for the root itself.
        path: Where it is on this machine; no client learns of it.
    """

    id: str
    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that the operator lets clients index.

    Args:
        id: Its identifier.
        name: The name that the operator gave it.
        is_there: Whether it can be read at present; a disk may be away.
        folders: The folders below it, sorted by name; the root itself is not among them.
    """

    id: str
    name: str
    is_there: bool
    folders: tuple[Folder, ...]


class Roots:
    """The roots of a server.

    Args:
        roots: Folders by the names that the operator gave them.
    """

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self._roots = {name: path.resolve() for name, path in roots.items()}

    def listed(self) -> list[Root]:
        """List the roots with the folders below them.

        Hidden folders, archives and links are passed over, as they are when pictures are indexed.
        """
        return [
            Root(_id(name, ""), name, path.is_dir(), tuple(_below(name, path)))
            for name, path in self._roots.items()
        ]

    def folder(self, root_id: str, folder_id: str = "") -> Folder:
        """Find a folder by its identifiers.

        Args:
            root_id: Identifier of the root.
            folder_id: Identifier of a folder below it; empty for the root itself.

        Returns:
            The folder; its name is that of the root, followed by its path below.

        Raises:
            UnknownFolderError: There is none, or it is away.
        """
        for name, path in self._roots.items():
            if _id(name, "") != root_id:
                continue
            if not folder_id and path.is_dir():
                return Folder(root_id, printable(name), path)
            for folder in _below(name, path):
                # A folder may have become a link to another place since it was listed.
                if folder.id == folder_id and folder.path.resolve() == folder.path:
                    return Folder(folder.id, f"{printable(name)}/{folder.name}", folder.path)
        raise UnknownFolderError(
            "no folder that may be indexed has this identifier",
            hint="list them again; whoever runs the server names them with --root NAME=FOLDER",
        )

    def shown(self, path: Path) -> str | None:
        """Return a file's path as clients may see it; ``None`` for a file below no root."""
        for name, root in self._roots.items():
            if path.is_relative_to(root):
                return printable(Path(name, path.relative_to(root)))
        return None

    def hide(self, text: str) -> str:
        """Write the names of the roots in place of their paths."""
        for name, root in sorted(self._roots.items(), key=lambda pair: -len(str(pair[1]))):
            if root != Path(root.anchor):
                text = text.replace(str(root), name)
        return text


def _id(root: str, name: str) -> str:
    return hashlib.sha256(f"{root}\0{name}".encode()).hexdigest()[:_ID_DIGITS]


def _below(root_name: str, root: Path) -> Iterator[Folder]:
    """Yield the folders below a root, level by level, as many as are listed."""
    level, n_listed = [root], 0
    for _ in range(MOST_LEVELS):
        below = sorted(child for folder in level for child in _children(folder))
        for path in below:
            if n_listed == MOST_FOLDERS:
                return
            n_listed += 1
            name = stored(path.relative_to(root))
            yield Folder(_id(root_name, name), name, path)
        level = below


def _children(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_passed_over = entry.name.startswith(".") or entry.name.endswith(ARCHIVE_SUFFIX)
                if not is_passed_over and entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)
    except OSError:  # what cannot be entered is not offered
        return
