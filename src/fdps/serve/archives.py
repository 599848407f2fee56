"""The archives that are served, each read by threads that hold it open.

A store serves one thread, so every reader is a thread with a store of its own; all of them see
what another process writes as soon as it is committed. The number of readers, and of what waits
for them, is bounded. The matrix of embeddings is not theirs: see :mod:`fdps.serve.searching`.
"""

import asyncio
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from fdps.errors import FdpsError, UsageError
from fdps.search.index import Index
from fdps.search.sqlite.schema import DATABASE
from fdps.search.store import IndexInfo
from fdps.serve.problems import busy, not_found
from fdps.structures import Embedder

T = TypeVar("T")
LoadModel = Callable[[IndexInfo], Embedder]
N_READERS = 16
_MOST_WAITING = 256


class Readers:
    """Threads that each hold an archive open.

    Args:
        place: Folder or address of the archive.
        n_readers: Most threads; they are started as they are needed.
    """

    def __init__(self, place: str, n_readers: int = N_READERS) -> None:
        self._place, self._n_readers = place, n_readers
        self._jobs: queue.Queue[tuple[Future[Any], Callable[[Index], Any]] | None] = queue.Queue(
            _MOST_WAITING
        )
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def submit(self, function: Callable[[Index], T]) -> "Future[T]":
        """Call a function with the open archive, on one of the threads.

        Raises:
            ProblemError: Too many wait already.
        """
        future: Future[T] = Future()
        try:
            self._jobs.put_nowait((future, function))
        except queue.Full as error:
            raise busy("requests to this archive") from error
        with self._lock:
            if len(self._threads) < self._n_readers:
                thread = threading.Thread(target=self._work, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def close(self) -> None:
        """End the threads; what waits is answered before."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        opened = Opened(self._place)
        try:
            while (job := self._jobs.get()) is not None:
                future, function = job
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(function(opened.index()))
                except BaseException as error:
                    future.set_exception(error)
        finally:
            opened.close()


class Opened:
    """An archive that is opened again when another has taken its place; for one thread.

    Args:
        place: Folder or address of the archive.
    """

    def __init__(self, place: str) -> None:
        self._place = place
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
        if "://" in self._place:
            return None
        try:
            found = (Path(self._place) / DATABASE).stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino)


class ServedArchive:
    """One archive that is served.

    Args:
        key: Its id.
        place: Folder or address of the archive, as the operator named it.
        load: Loads the model of an archive, given its stamp.

    Attributes:
        key: Its id.
        name: Its name for people.
        place: As given.
        load_model: As given.
    """

    def __init__(self, key: str, place: str, load: LoadModel) -> None:
        self.key, self.place = key, place
        self.name = Path(place).name
        self.load_model = load
        self._readers = Readers(place)

    async def read(self, function: Callable[[Index], T]) -> T:
        """Call a function with the open archive, on a thread of its own.

        It must not search by ``Index.search``, which would read all embeddings into the memory of
        that thread.

        Raises:
            ProblemError: Too many wait already.
            FdpsError: What the function raises, without the path of the archive.
        """
        try:
            return await asyncio.wrap_future(self._readers.submit(function))
        except FdpsError as error:
            raise self._without_path(error) from error

    def _without_path(self, error: FdpsError) -> FdpsError:
        """Name the archive as clients know it."""
        path = str(Path(self.place)) if "://" not in self.place else self.place
        error.args = (str(error).replace(path, self.name), *error.args[1:])
        error.hint = error.hint.replace(path, self.name)
        return error

    def close(self) -> None:
        """Let go of the archive."""
        self._readers.close()


class Archives:
    """The archives that are served, by id.

    Args:
        places: Folders or addresses, at least one.
        load: Loads the model of an archive, given its stamp.

    Raises:
        UsageError: No archive is named, or one twice.
        MissingDataError: There is no such archive.
        ArchiveError: An archive is damaged or of a newer format.
    """

    def __init__(self, places: Sequence[str | Path], load: LoadModel) -> None:
        if not places:
            raise UsageError("no archive to serve", hint="fdps serve NAME.fdps, or --demo")
        self._archives: dict[str, ServedArchive] = {}
        for place in map(str, places):
            if any(place == archive.place for archive in self._archives.values()):
                raise UsageError(f"{place} is named twice")
            Index.open(place).close()  # whatever is wrong with it is said before the start
            key = _free_key(place, self._archives)
            self._archives[key] = ServedArchive(key, place, load)

    def __iter__(self) -> Iterator[ServedArchive]:
        return iter(self._archives.values())

    def __len__(self) -> int:
        return len(self._archives)

    def get(self, key: str | None) -> ServedArchive:
        """Return the archive of an id; without an id, the only one.

        Raises:
            ProblemError: There is no such archive, or several are served and none is named.
        """
        if key is None and len(self._archives) == 1:
            return next(iter(self._archives.values()))
        if key is None:
            names = ", ".join(self._archives)
            raise UsageError("several archives are served", hint=f"name one by archive=: {names}")
        if key not in self._archives:
            raise not_found("archive")
        return self._archives[key]

    def close(self) -> None:
        """Let go of all archives."""
        for archive in self._archives.values():
            archive.close()


def _free_key(place: str, taken: dict[str, ServedArchive]) -> str:
    """Write the name of an archive in letters that need no escape in an address."""
    stem = Path(place).name.removesuffix(".fdps").lower()
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "archive"
    key, number = name, 2
    while key in taken:
        key, number = f"{name}-{number}", number + 1
    return key
