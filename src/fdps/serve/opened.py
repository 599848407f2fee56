"""An archive that stays open while others write to it, or put another one in its place."""

from pathlib import Path

from fdps.search.index import Index
from fdps.search.sqlite.schema import DATABASE


class Opened:
    """An archive that is opened again when another has taken its place; for one thread.

    Args:
        place: Folder or address of the archive.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._database = None if "://" in place else Path(place) / DATABASE
        self._index: Index | None = None
        self._file: tuple[int, int] | None = None

    def index(self) -> Index:
        """Return the archive as it is at this moment.

        Raises:
            MissingDataError: It has gone.
            ArchiveError: It is damaged.
        """
        file = self._identity()
        if self._index is None or file != self._file:
            self.close()
            self._index, self._file = Index.open(self._place), file
        return self._index

    def close(self) -> None:
        """Let go of it."""
        index, self._index = self._index, None
        if index is not None:
            index.close()

    def _identity(self) -> tuple[int, int] | None:
        """Tell one file from another at the same place; ``None`` on a server, or without a file."""
        if self._database is None:
            return None
        try:
            found = self._database.stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino)
