"""Progress on stderr while a verb works: a sign of life, and a bar with the time left."""

import itertools
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fdps.names import printable

_DELAY_S = 0.2  # work that is done by then needs no word
_FRAME_S = 0.1
_LINE_S = 0.2
_FRAMES = "|/-\\"  # in ASCII: every terminal has them
_CLEAR_LINE = "\r\033[K"
_SLOW_IMPORTS = frozenset({"torch", "onnxruntime", "ray", "psycopg"})


@contextmanager
def working(text: str, *, hidden: bool = False) -> Iterator[None]:
    """Say on stderr what is being done if it takes longer than a moment.

    A terminal shows a spinner, which is wiped away at the end; elsewhere a line is written. Work
    that is done within 0.2 s shows nothing. Large libraries block all threads while they are
    loaded, so the text is also shown right before one of them is imported.

    Args:
        text: What is being done, such as ``Loading the model``.
        hidden: Show nothing, whatever happens.
    """
    if hidden or sys.stderr is None:  # a program without a console has no stderr
        yield
        return
    sign = _Sign(text)
    sign.start()
    try:
        yield
    finally:
        sign.stop()


class _Sign:
    """Shows a text once it is due: after a delay, or before a slow import.

    It is a finder of ``sys.meta_path`` that finds nothing, but hears of every import.
    """

    def __init__(self, text: str) -> None:
        self._text = printable(text)
        self._stream = sys.stderr
        self._is_terminal = not self._stream.closed and self._stream.isatty()
        self._is_over = threading.Event()
        self._once = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        sys.meta_path.insert(0, self)
        self._thread.start()

    def stop(self) -> None:
        sys.meta_path.remove(self)
        self._is_over.set()
        self._thread.join()
        if self._is_terminal and self._once.locked():
            self._write(_CLEAR_LINE)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Show the text before a slow import, and leave the import to the others."""
        if name in _SLOW_IMPORTS:
            self._show()

    def _watch(self) -> None:
        if self._is_over.wait(_DELAY_S):
            return
        self._show()
        if self._is_terminal:
            for frame in itertools.cycle(_FRAMES):
                self._write(f"\r{frame} {self._text}")
                if self._is_over.wait(_FRAME_S):
                    return

    def _show(self) -> None:
        if self._once.acquire(blocking=False):  # never released: the text is shown once
            self._write(f"\r{_FRAMES[0]} {self._text}" if self._is_terminal else f"{self._text}\n")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a stderr that was closed ends no work
            self._stream.write(text)
            self._stream.flush()


@contextmanager
def progress_bar(title: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the time left on stderr while something runs.

    Args:
        title: What runs.
        hidden: Show nothing.

    Yields:
        What to call with the number that is done and the number of all.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=hidden) as bar:
        task = bar.add_task(escape(printable(title)), total=None)  # names may hold [brackets]
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def progress_lines(count: Callable[[], int]) -> Iterator[Callable[[int, int], None]]:
    """Write on stderr how far something is, as JSON for programs: one object a line.

    Lines come at most five times a second; the last state is always written. Where nobody reads
    them any more, the next line fails, and the work ends with it.

    Args:
        count: Called for every line; tells how many people there are.

    Yields:
        What to call with the number that is done and the number of all.

    Raises:
        BrokenPipeError: The reader has gone.
    """
    last: dict[str, int] = {}
    written_at = -math.inf

    def write() -> None:
        print(json.dumps({**last, "people": count()}), file=sys.stderr, flush=True)

    def update(done: int, total: int) -> None:
        nonlocal written_at, last
        last = {"done": done, "total": total}
        if time.monotonic() - written_at >= _LINE_S:
            write()
            written_at, last = time.monotonic(), {}

    yield update
    if last:
        write()


@contextmanager
def byte_bar(title: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how many bytes have come, how fast, and the time left; as a line where no terminal is.

    Args:
        title: What comes.
        hidden: Show nothing.

    Yields:
        What to call with the number of bytes that are there, and that of all.
    """
    if hidden or sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
        with working(title, hidden=hidden):
            yield lambda done, total: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(escape(printable(title)), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
