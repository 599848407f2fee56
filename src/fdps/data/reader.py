"""What all readers have in common, before and after they read."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Protocol, runtime_checkable

from fdps.data.box_evidence import BoxEvidence
from fdps.data.copies import note_copies
from fdps.data.findings import Findings
from fdps.pictures import StrPath
from fdps.structures import SceneSet


@runtime_checkable
class Reader(Protocol):
    """Reads a split below a folder; faults and odd rows go to the findings."""

    def __call__(self, root: StrPath, split: str, findings: Findings | None = None) -> SceneSet:
        """Read it."""


def reader(read: Callable[[Path, str, Findings], SceneSet]) -> Reader:
    """Make a reader of a function that reads rows, and look at the set as a whole afterwards.

    The reader takes paths as text too, and without findings it raises the first fault.
    """

    @wraps(read)
    def read_and_look(root: StrPath, split: str, findings: Findings | None = None) -> SceneSet:
        findings = findings or Findings()
        findings.boxes = BoxEvidence()
        scenes = read(Path(root), split, findings)
        for error in findings.boxes.faults():
            findings.fault(error)
        note_copies(scenes, findings)
        return scenes

    return read_and_look
