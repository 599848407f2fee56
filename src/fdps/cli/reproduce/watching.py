"""Shows on stderr how far the runs of a reproduction are."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fdps.names import printable

if TYPE_CHECKING:
    from fdps.errors import FdpsError
    from fdps.reproduce.one_run import Order

_LINE_EVERY_S = 60.0  # for those who read a file instead of a terminal


class Watching:
    """A bar for all runs and one for each that is being made; lines where no terminal is.

    Args:
        bar: Bars of rich; ``None`` shows lines.
        n_runs: Runs to make.
        hidden: Show nothing.
    """

    def __init__(self, bar: Any, n_runs: int, *, hidden: bool) -> None:
        self._bar, self._n_runs, self._n_ended, self._hidden = bar, n_runs, 0, hidden
        self._tasks: dict[str, Any] = {}
        self._told_s: dict[str, float] = {}
        self._all = bar.add_task("Runs", total=n_runs) if bar is not None else None

    def begin(self, order: "Order") -> None:
        """Show a run that begins."""
        name = order.run.recipe.name
        if self._bar is not None:
            self._tasks[name] = self._bar.add_task(printable(name), total=None)
        self._say(f"Begin   {printable(name)}")

    def advance(self, order: "Order", stage: str, done: int, total: int) -> None:
        """Move the bar of a run."""
        name = order.run.recipe.name
        if self._bar is not None:
            text = f"{printable(name)} {stage}"
            self._bar.update(self._tasks[name], description=text, completed=done, total=total)
        elif time.monotonic() - self._told_s.get(name, 0.0) >= _LINE_EVERY_S:
            self._told_s[name] = time.monotonic()
            self._say(f"        {printable(name)} {stage} {done}/{total}")

    def end(self, order: "Order", error: "FdpsError | None") -> None:
        """Take a run away that has ended, and say how."""
        name, self._n_ended = order.run.recipe.name, self._n_ended + 1
        if self._bar is not None:
            if name in self._tasks:
                self._bar.remove_task(self._tasks.pop(name))
            self._bar.update(self._all, completed=self._n_ended)
        count = f"{self._n_ended}/{self._n_runs}"
        if error is not None:
            self._say(f"Failed  {count} {printable(name)}: {printable(error)}", always=True)
        else:
            self._say(f"Done    {count} {printable(name)}")

    def _say(self, text: str, *, always: bool = False) -> None:
        if self._bar is not None and always:
            self._bar.console.print(text, markup=False, highlight=False)
        elif self._bar is None and (always or not self._hidden):
            print(text, file=sys.stderr, flush=True)


@contextmanager
def watching(n_runs: int, *, hidden: bool) -> Iterator[Watching]:
    """Show the runs until the body ends."""
    if hidden or sys.stderr is None or not sys.stderr.isatty():
        yield Watching(None, n_runs, hidden=hidden)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield Watching(bar, n_runs, hidden=False)
