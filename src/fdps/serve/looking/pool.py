"""A few threads with a bounded number of waiting tasks."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fdps.serve.problems import busy

T = TypeVar("T")


class Pool:
    """Threads for work that takes long; what is beyond their capacity is refused at once.

    Args:
        n_threads: Threads.
        most: Most tasks at one time, waiting or at work.
        what: Name of the tasks, for messages.
    """

    def __init__(self, n_threads: int, most: int, what: str) -> None:
        self._executor = ThreadPoolExecutor(n_threads)
        self._most, self._what = most, what
        self.n_tasks = 0

    async def run(self, function: Callable[[], T]) -> T:
        """Call a function on one of the threads; to be called on the event loop.

        Raises:
            ProblemError: Too many tasks wait already.
        """
        if self.n_tasks >= self._most:
            raise busy(self._what)
        self.n_tasks += 1
        future = self._executor.submit(function)
        # Counted until it has ended, also where nobody waits for it any more.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._ended))
        return await asyncio.wrap_future(future)

    def _ended(self) -> None:
        self.n_tasks -= 1

    def close(self) -> None:
        """Let the tasks at work end, and forget those that wait."""
        self._executor.shutdown(cancel_futures=True)
