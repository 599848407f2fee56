"""A thread that answers all that waits at one time by one call."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar, runtime_checkable

from fdps.serve.problems import busy

Asked = TypeVar("Asked")
Told = TypeVar("Told")
_AT_ONCE = 64
_MOST_WAITING = 128
WAIT_S = 300.0
"""Most seconds to wait: the first search of a large archive reads all of it."""


@runtime_checkable
class Worker(Protocol[Asked, Told]):
    """Answers several at once; called and closed on the thread that made it."""

    def __call__(self, asked: list[Asked], /) -> list[Told | BaseException]:
        """Answer all of them in their order; an answer may be an error to raise."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Gathering(Generic[Asked, Told]):
    """A thread that answers all that waits at one time by one call.

    Args:
        make: Makes what answers, on the thread.
        what: Name of what waits, for messages.
    """

    def __init__(self, make: Callable[[], Worker[Asked, Told]], what: str) -> None:
        self._make, self._what = make, what
        self._waiting: queue.Queue[tuple[Future[Told], Asked] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def ask(self, asked: Asked) -> Told:
        """Wait for the answer.

        Raises:
            ProblemError: Too many wait already.
        """
        return self.submit(asked).result(WAIT_S)

    def submit(self, asked: Asked) -> "Future[Told]":
        """Ask without waiting for the answer.

        Raises:
            ProblemError: Too many wait already.
        """
        future: Future[Told] = Future()
        try:
            self._waiting.put_nowait((future, asked))
        except queue.Full as error:
            raise busy(self._what) from error
        return future

    def close(self) -> None:
        """End the thread; what waits is answered before. Closing twice is allowed."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        worker, goes_on = self._make(), True
        try:
            while goes_on:
                gathered, goes_on = self._gathered()
                if gathered:
                    _answer(worker, gathered)
        finally:
            worker.close()

    def _gathered(self) -> tuple[list[tuple[Future[Told], Asked]], bool]:
        """Wait for one, and take whatever else is there; false at the end."""
        gathered: list[tuple[Future[Told], Asked]] = []
        try:
            while len(gathered) < _AT_ONCE:
                one = self._waiting.get(block=not gathered)
                if one is None:
                    return gathered, False
                gathered.append(one)
        except queue.Empty:
            pass
        return gathered, True


def _answer(worker: Worker[Asked, Told], gathered: list[tuple[Future[Told], Asked]]) -> None:
    try:
        answers = worker([asked for _, asked in gathered])
    except BaseException as error:
        answers = [error] * len(gathered)
    for (future, _), told in zip(gathered, answers, strict=True):
        if isinstance(told, BaseException):
            future.set_exception(told)
        else:
            future.set_result(told)
