"""A queue of files and a few decoders that work ahead of whoever takes the pictures."""

import queue
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from fdps.decoding.limits import Limits
from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.process import DecodingWorker

FRAMES_AHEAD = 2  # of each file; so much memory of the parent is bound
CLOCK_S = 0.1


class Job:
    """A file that is, or will be, decoded; iterate to get frames, then one ending."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self._events: queue.Queue[DecodedFrame | Ending | BaseException] = queue.Queue(FRAMES_AHEAD)
        self._is_cancelled = threading.Event()

    def __iter__(self) -> Iterator[DecodedFrame | Ending]:
        """Wait for the next event, until the ending.

        Raises:
            ResourceError: No decoder can be started.
        """
        while True:
            event = self._events.get()
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Ending):
                return

    def cancel(self) -> None:
        """Nobody will take what is still to come."""
        self._is_cancelled.set()

    def put(self, event: DecodedFrame | Ending | BaseException) -> bool:
        """Hand over, waiting for room; false if nobody wants it any more."""
        while not self._is_cancelled.is_set():
            try:
                self._events.put(event, timeout=CLOCK_S)
            except queue.Full:
                continue
            return True
        return False


class Decoders:
    """Decoders that share a queue.

    They are started when there is work for them, and ended by :meth:`close`.

    Args:
        n_workers: Processes.
        limits: Limits for every file.
        command: Another program that decodes; for tests.
    """

    def __init__(
        self, n_workers: int = 1, limits: Limits | None = None, *, command: Sequence[str] = ()
    ) -> None:
        limits = limits or Limits()
        self.workers = [DecodingWorker(limits, command) for _ in range(n_workers)]
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._unfinished: set[Job] = set()
        self._is_closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def submit(self, request: dict[str, Any]) -> Job:
        """Decode a file as soon as a decoder is free; the request is described in ``messages``."""
        if not self._threads:
            self._start()
        job = Job(request)
        self._unfinished.add(job)
        self._jobs.put(job)
        return job

    def close(self) -> None:
        """End everything at once; what was not taken yet is lost."""
        self._is_closed.set()
        for job in list(self._unfinished):
            job.cancel()
        for _ in self.workers:
            self._jobs.put(None)
        for worker in self.workers:
            if worker.pid is not None:
                worker.interrupt()
        for thread in self._threads:
            thread.join()
        for worker in self.workers:
            worker.kill()

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), daemon=True)
            for worker in self.workers
        ]
        self._threads.append(threading.Thread(target=self._watch, daemon=True))
        for thread in self._threads:
            thread.start()

    def _work(self, worker: DecodingWorker) -> None:
        while (job := self._jobs.get()) is not None and not self._is_closed.is_set():
            try:
                for event in worker.decode(job.request):
                    if not job.put(event):
                        worker.kill()  # it may be in the middle of a video
                        break
            except BaseException as error:
                job.put(error)
            self._unfinished.discard(job)

    def _watch(self) -> None:
        while not self._is_closed.wait(CLOCK_S):
            for worker in self.workers:
                worker.kill_if_late()
