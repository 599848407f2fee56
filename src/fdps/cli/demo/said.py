"""What both demos print: the stages on stderr, and a table."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdps.analysis.page import Table


@contextmanager
def stage(name: str, seconds: dict[str, float], quiet: bool) -> Iterator[None]:
    """Time a stage, and say on stderr when it begins and ends."""
    if not quiet:
        print(f"{name} …", file=sys.stderr, flush=True)
    start = time.perf_counter()
    yield
    seconds[name.lower()] = round(time.perf_counter() - start, 1)
    if not quiet:
        print(f"{name} took {seconds[name.lower()]} s", file=sys.stderr, flush=True)


def print_table(figures: "Table") -> None:
    """Print a table of a report."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=figures.caption, caption=figures.note)
    for i, column in enumerate(figures.columns):
        table.add_column(column, justify="right" if i else "left")
    for row in figures.rows:
        table.add_row(*row)
    Console().print(table)
