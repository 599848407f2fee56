"""The other end of an entrant's process: it starts it, asks, waits no longer than is allowed."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fdps.bench.child import FEWER, Failed, Verb, serve
from fdps.bench.entrants import Entrant
from fdps.errors import ResourceError
from fdps.export.stages import Look

_NOTHING = Path()


class Runner:
    """An entrant in a process of its own.

    Args:
        name: Its name in messages.
        entrant: Who it is.
        threads: Number of processor threads.
        limit_s: Most seconds that one answer may take; the process is ended after that.
    """

    def __init__(self, name: str, entrant: Entrant, *, threads: int, limit_s: float) -> None:
        self.name, self.limit_s = name, limit_s
        context = get_context("spawn")
        self._link, other = context.Pipe()
        self._process = context.Process(
            target=serve, args=(other, entrant, threads), name=f"fdps bench {name}", daemon=True
        )
        self._process.start()
        other.close()

    def wait_until_open(self) -> None:
        """Wait until the entrant is loaded; the errors are those of :meth:`look`, too."""
        self._answer("to load")

    def look(self, picture: Path) -> Look:
        """Let it look at a picture, and return the seconds of every stage.

        Raises:
            FdpsError: What it failed by.
            ResourceError: It took too long, or the process was ended by the system.
        """
        found: Look = self._ask("look", picture)
        return found

    def count(self, picture: Path) -> Look:
        """Let it look at a picture, and return the operations of every stage."""
        found: Look = self._ask("count", picture)
        return found

    def peak_gib(self) -> float:
        """Return the most memory that its process has held, in GiB."""
        found: float = self._ask("memory", _NOTHING)
        return found

    def close(self) -> None:
        """End the process, whatever it does."""
        self._link.close()
        self._process.kill()
        self._process.join()

    def _ask(self, verb: Verb, picture: Path) -> Any:
        try:
            self._link.send((verb, picture))
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer("to look at a picture" if picture is not _NOTHING else "to answer")

    def _answer(self, what: str) -> Any:
        if not self._link.poll(self.limit_s):
            raise ResourceError(
                f"{self.name} needs more than {self.limit_s:g} s {what}, and was ended",
                hint="--time-limit allows more",
            )
        try:
            answer = self._link.recv()
        except (EOFError, ConnectionResetError):
            raise self._ended() from None
        if isinstance(answer, Failed):
            raise answer.error
        return answer

    def _ended(self) -> ResourceError:
        self._process.join()
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return ResourceError(
                f"{self.name} was killed by the system, which does so when the memory runs out",
                hint=FEWER,
            )
        return ResourceError(f"the process of {self.name} ended with {code} and no answer")


@contextmanager
def running(
    entrants: dict[str, Entrant], *, threads: int, limit_s: float
) -> Iterator[dict[str, Runner]]:
    """Load entrants, one after another, and end their processes when the context closes.

    Args:
        entrants: By name.
        threads: Number of processor threads of each.
        limit_s: Most seconds that one answer may take.

    Raises:
        FdpsError: What one of them failed by.
        ResourceError: One took too long, or was ended by the system.
    """
    runners: dict[str, Runner] = {}
    try:
        for name, entrant in entrants.items():
            runners[name] = Runner(name, entrant, threads=threads, limit_s=limit_s)
            runners[name].wait_until_open()
        yield runners
    finally:
        for runner in runners.values():
            runner.close()
