"""The listeners of a training run: the page in the run folder, and TensorBoard."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdps.analysis.run_page import RunPage
    from fdps.engine.tensorboard import TensorBoardLog

_PAGE_EVERY_S = 5.0


class RunWatch:
    """Keep ``index.html`` of a run up to date, and TensorBoard events where it is installed.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self._run, self._step, self._total_steps, self._written_s = run, 0, 0, 0.0
        self._events: TensorBoardLog | None = None
        self._page: RunPage | None = None

    def begin(self, step: int, total_steps: int) -> None:
        """Show where the run stands."""
        from fdps.engine.tensorboard import FOLDER, TensorBoardLog

        self._step, self._total_steps = step, total_steps
        self._events = TensorBoardLog(self._run / FOLDER, step=step)
        self._write_page()

    def step(self, record: Mapping[str, int | float]) -> None:
        """Show a line of the log, the page not more often than a browser asks."""
        self._step = int(record["step"])
        if self._events is not None:
            self._events.step(record)
        if time.monotonic() - self._written_s >= _PAGE_EVERY_S:
            self._write_page()

    def epoch(self, record: Mapping[str, int | float]) -> None:
        """Show a line of the epochs."""
        if self._events is not None:
            self._events.epoch(record)
        self._write_page()

    def finish(self) -> None:
        """Take note that nothing is left to do, though there may have been fewer steps."""
        self._total_steps = self._step

    def end(self) -> None:
        """Close what is open; the page says that the run has ended."""
        if self._events is not None:
            self._events.__exit__()
            self._write_page(is_running=False)

    def _write_page(self, *, is_running: bool = True) -> None:
        if self._page is None:
            from fdps.analysis.run_page import RunPage

            self._page = RunPage(self._run)
        self._page.write(total_steps=self._total_steps, is_running=is_running)
        self._written_s = time.monotonic()


@contextmanager
def watched(run: Path) -> Iterator[RunWatch]:
    """Follow a run until it ends, however it ends."""
    watch = RunWatch(run)
    try:
        yield watch
    finally:
        watch.end()
