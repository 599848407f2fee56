"""The cases of all archives that are served."""

import threading
from pathlib import Path

from fdps.errors import UsageError
from fdps.search.index import Index
from fdps.serve.archives import Archives, ServedArchive
from fdps.serve.cases.case import Case, CaseLine
from fdps.serve.cases.forgetting import archive_key, erase_expired, erase_forgotten
from fdps.serve.cases.store import CASES_FILE, CaseStore, UnknownCaseError


class CaseBook:
    """Finds the file of cases of each archive, and opens it when it is first needed.

    Args:
        archives: The archives that are served.
        file: One file for the cases of all of them; ``None`` for a file in the folder of each.
    """

    def __init__(self, archives: Archives, file: Path | None = None) -> None:
        self._archives, self._file = archives, file
        self._stores: dict[Path, CaseStore] = {}
        self._keys: dict[str, str] = {}
        self._forgotten: dict[str, int] = {}
        self._lock = threading.Lock()

    async def enter(self, archive: ServedArchive) -> CaseStore:
        """Return the file of cases of an archive, without what the archive has erased.

        Raises:
            UsageError: The archive has no folder, and no file was named.
            ArchiveError: The file is damaged, or cannot be written.
        """
        return await archive.read(lambda index: self._enter(archive, index))

    def place(self, archive: ServedArchive) -> Path:
        """Return where the cases of an archive are kept.

        Raises:
            UsageError: The archive has no folder, and no file was named.
        """
        if self._file is not None:
            return self._file
        if "://" in archive.place:
            raise UsageError(
                "an archive on a server has no folder for cases",
                hint="name a file for them: fdps serve --cases FILE",
            )
        return Path(archive.place) / CASES_FILE

    def key(self, archive: ServedArchive) -> str:
        """Return what names an archive in its file; :meth:`enter` has been called before."""
        return self._keys[archive.key]

    async def lines(self) -> list[tuple[ServedArchive, CaseLine]]:
        """List the cases of all archives, the one changed last first."""
        found = []
        for archive in self._archives:
            if self._file is None and "://" in archive.place:
                continue
            store = await self.enter(archive)
            key = self.key(archive)
            lines = await archive.read(lambda _, store=store, key=key: store.lines([key]))  # type: ignore[misc]
            found += [(archive, line) for line in lines]
        return sorted(found, key=lambda pair: pair[1].changed, reverse=True)

    async def find(self, case_id: str) -> tuple[ServedArchive, CaseStore, Case]:
        """Find a case, whichever archive it searches.

        Raises:
            UnknownCaseError: There is none of this identifier.
        """
        for archive in self._archives:
            if self._file is None and "://" in archive.place:
                continue
            store = await self.enter(archive)
            try:
                case = await archive.read(lambda _, store=store: store.case(case_id))  # type: ignore[misc]
            except UnknownCaseError:
                continue
            if case.line.archive == self.key(archive):
                return archive, store, case
        raise UnknownCaseError("there is no such case", hint="it may have been deleted")

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()

    def open(self, archive: ServedArchive) -> CaseStore:
        """Return the file of cases of an archive.

        Raises:
            UsageError: The archive has no folder, and no file was named.
            ArchiveError: The file is damaged, or cannot be written.
        """
        path = self.place(archive)
        with self._lock:
            if path not in self._stores:
                self._stores[path] = CaseStore(path)
            return self._stores[path]

    def _enter(self, archive: ServedArchive, index: Index) -> CaseStore:
        store = self.open(archive)
        self._keys[archive.key] = archive_key(index.store)
        after = self._forgotten.get(archive.key, 0)
        self._forgotten[archive.key] = erase_forgotten(index.store, store, after=after)
        erase_expired(index.store, store)
        return store
