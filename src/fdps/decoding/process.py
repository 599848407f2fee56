"""The parent's end of one decoder: start it, wait no longer than agreed, replace it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fdps.decoding.limits import Limits
from fdps.decoding.messages import (
    BrokenMessageError,
    DecodedFrame,
    Ending,
    read_header,
    read_reply,
    write_message,
)
from fdps.errors import ResourceError

START_S = 60.0  # imports, on a machine that is busy with other things
PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux; the module fcntl names it only there


class DecodingWorker:
    """One decoder. It is started when it is first needed; one thread uses it at a time.

    Args:
        limits: Limits for every file.
        command: Another program that speaks the same language; for tests.
    """

    def __init__(self, limits: Limits, command: Sequence[str] = ()) -> None:
        self._limits = limits
        figures = (f"{limits.seconds:g}", str(limits.memory), str(limits.frames))
        # -P: nothing is imported from the folder that we happen to stand in.
        own = [sys.executable, "-P", "-m", "fdps.decoding.worker", *figures]
        self._command = list(command) or own
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline: float | None = None
        self._was_late = False
        self._lock = threading.Lock()  # of the two above; the clock is another thread's

    def decode(self, request: dict[str, Any]) -> Iterator[DecodedFrame | Ending]:
        """Yield what a file holds; an :class:`Ending` comes last, whatever happens to the decoder.

        Raises:
            ResourceError: No decoder can be started.
        """
        try:
            self._send(request)
            while True:
                reply = self._receive()
                if reply is not None:
                    yield reply
                if isinstance(reply, Ending):
                    return
        except (BrokenMessageError, BrokenPipeError, ValueError) as error:
            yield Ending(self._obituary(error))

    def kill_if_late(self) -> None:
        """End the process if its time is up; to be called now and then by another thread."""
        with self._lock:
            if self._deadline is not None and time.monotonic() > self._deadline:
                self._was_late, self._deadline = True, None
                if self._process:
                    self._process.kill()

    def interrupt(self) -> None:
        """End the process from another thread; whoever waits for it learns that it has ended."""
        process = self._process
        if process:
            process.kill()

    def kill(self) -> None:
        """End the process; the next file gets a new one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        process.wait()

    @property
    def pid(self) -> int | None:
        """The number of the process, while there is one."""
        return self._process.pid if self._process else None

    def _send(self, request: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.poll() is not None:  # ended while idle, by whoever it was
            self.kill()
            process = self._process = self._started()
        assert process.stdin
        write_message(process.stdin, request)  # type: ignore[arg-type]

    def _started(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            self._command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        assert process.stdout
        _widen(process.stdout.fileno())
        self._process, self._was_late = process, False
        try:
            self._set_deadline(START_S)
            read_header(process.stdout)  # type: ignore[arg-type]
        except BrokenMessageError as error:
            self.kill()
            raise ResourceError(
                f"cannot start a decoder: {' '.join(self._command[:4])} ended at once",
                hint="what it printed above may tell why",
            ) from error
        finally:
            self._set_deadline(None)
        return process

    def _receive(self) -> DecodedFrame | Ending | None:
        assert self._process
        assert self._process.stdout
        self._set_deadline(self._limits.seconds)
        try:
            return read_reply(self._process.stdout)  # type: ignore[arg-type]
        finally:
            self._set_deadline(None)

    def _set_deadline(self, seconds: float | None) -> None:
        with self._lock:
            self._deadline = None if seconds is None else time.monotonic() + seconds

    def _obituary(self, error: Exception) -> str:
        """Say why a decoder has ended, and clean up after it."""
        process = self._process
        with self._lock:
            was_late = self._was_late
        if process is None:
            return f"the decoder failed: {error}"
        try:
            code = process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            code = 0  # it goes on, but what it says makes no sense
        self.kill()
        if was_late or -code == getattr(signal, "SIGALRM", None):
            return f"decoding took longer than {self._limits.seconds:g} s"
        if code < 0:
            return f"the decoder was ended by {_signal_name(-code)}"
        return f"the decoder failed: {error}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment() -> dict[str, str]:
    """Return an environment with one thread, few memory arenas, and the same package as here."""
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **one, "MALLOC_ARENA_MAX": "2", "PYTHONPATH": os.pathsep.join(paths)}


def _widen(pipe: int) -> None:
    """A megabyte goes through at once, where the system can do that."""
    if sys.platform == "linux":
        import contextlib
        import fcntl

        with contextlib.suppress(OSError):  # the quota of pipe buffers is used up
            fcntl.fcntl(pipe, _SET_PIPE_SIZE, PIPE_BYTES)
