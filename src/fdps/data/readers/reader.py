"""The steps that all readers have in common, before and after they read."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Protocol, runtime_checkable

from fdps.data.findings import Findings
from fdps.data.readers.box_evidence import BoxEvidence
from fdps.data.readers.copies import note_copies
from fdps.pictures import StrPath
from fdps.structures import SceneSet


@runtime_checkable
class Reader(Protocol):
    """Reads a split below a folder; faults and odd rows go to the findings."""

    def __call__(self, root: StrPath, split: str, findings: Findings | None = None) -> SceneSet:
        """Read the split."""


def reader(read: Callable[[Path, str, Findings], SceneSet]) -> Reader:
    """Make a reader of a function that reads rows, and look at the set as a whole afterwards.

    The reader takes paths as text too, and without findings it raises the first fault.
    """

    @wraps(read)
    def read_and_look(root: StrPath, split: str, findings: Findings | None = None) -> SceneSet:
        findings = findings or Findings()
        findings.boxes = BoxEvidence()
        scenes = read(Path(root), split, findings)
        errors = list(findings.boxes.faults())
        doubt = None if errors else findings.boxes.doubt()
        if doubt is not None:
            findings.note(*doubt, is_loss=True)
        for error in errors:
            findings.fault(error)
        note_copies(scenes, findings)
        _note_repeated_queries(scenes, findings)
        if not scenes.n_boxes and not findings.faults:
            what = "nobody is annotated in this split" if scenes.scenes else "the split is empty"
            findings.note(what, str(root), is_loss=True)
        return scenes

    return read_and_look


def _note_repeated_queries(scenes: SceneSet, findings: Findings) -> None:
    seen = set()
    for query in scenes.queries:
        asked = (query.scene, query.person_id, query.box.tobytes(), query.gallery)
        if asked in seen:
            findings.note(
                "query that is listed twice: both kept, and it counts twice",
                f"{query.scene}, person {query.person_id}",
                is_loss=True,
            )
        seen.add(asked)
