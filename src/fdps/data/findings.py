"""The faults and oddities that a reader finds in a data set.

A *fault* makes a row unusable. Reading for training stops at the first one; ``fdps data check``
collects them all, and the reader goes on without the row. A *note* tells what a reader did with a
row that the format knows to be odd, for example a box that passes the border of its picture.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fdps.data.readers.box_evidence import BoxEvidence
from fdps.errors import DataError

_LOG = logging.getLogger("fdps.data")


@dataclass(frozen=True, slots=True)
class Note:
    """An odd row and what was done with it.

    Args:
        what: Description, the same for every row of this kind.
        where: File and row.
        is_loss: Whether something that the file says could not be used.
    """

    what: str
    where: str
    is_loss: bool = False


class Findings:
    """The faults and notes of one reading.

    Args:
        collect: Whether to keep faults and go on; by default the first one is raised.

    Attributes:
        boxes: Evidence on how the boxes of the set that is being read lie in their pictures.
    """

    def __init__(self, *, collect: bool = False) -> None:
        self.collect = collect
        self.faults: list[DataError] = []
        self.notes: list[Note] = []
        self.boxes = BoxEvidence()

    def fault(self, error: DataError) -> None:
        """Raise the error, or keep it.

        Raises:
            DataError: The given error, unless faults are collected.
        """
        if not self.collect:
            raise error
        self.faults.append(error)

    @contextmanager
    def tolerated(self) -> Iterator[None]:
        """Run a block that reads one row: an error in it is a :meth:`fault`."""
        try:
            yield
        except DataError as error:
            self.fault(error)

    def note(self, what: str, where: str, *, is_loss: bool = False) -> None:
        """Remember an odd row."""
        self.notes.append(Note(what, where, is_loss))

    def summary(self, *, losses_only: bool = False) -> list[str]:
        """Return a line for each kind of note, with the number of rows and the first of them."""
        first: dict[str, str] = {}
        counts: dict[str, int] = {}
        for note in self.notes:
            if losses_only and not note.is_loss:
                continue
            first.setdefault(note.what, note.where)
            counts[note.what] = counts.get(note.what, 0) + 1
        return [f"{counts[what]} × {what}, first: {where}" for what, where in first.items()]

    def log(self, name: str) -> None:
        """Log the summary of the losses; ``data check`` alone tells of odd rows that were read.

        Args:
            name: Name of the scene set that was read.
        """
        for line in self.summary(losses_only=True):
            _LOG.warning("%s: %s", name, line)
