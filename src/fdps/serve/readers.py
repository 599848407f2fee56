"""Threads that each hold an archive open.

A store serves one thread, so every reader is a thread with a store of its own; all of them see
what another process writes as soon as it is committed. The number of readers, and of what waits
for them, is bounded. The matrix of embeddings is not theirs: see :mod:`fdps.serve.searching`.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from fdps.search.index import Index
from fdps.serve.opened import Opened
from fdps.serve.problems import busy

T = TypeVar("T")
N_READERS = 32
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
        threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
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
