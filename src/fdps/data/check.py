"""Read a data set to the end and report everything that is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fdps.data import load_scenes
from fdps.data.findings import Findings
from fdps.data.statistics import PUBLISHED, Statistics, count
from fdps.errors import AnnotationError, DataError, MissingDataError, PictureError
from fdps.pictures import StrPath, read_picture
from fdps.structures import SceneSet

LARGE_LIST = 1000
"""Most entries of a gallery list that is always read; longer ones take minutes and gigabytes."""

_HINTS = {
    AnnotationError: "correct the row or take it out; docs/guides/data.md describes the format",
    PictureError: "open the picture and save it again, or take it out of the annotations",
    MissingDataError: "add the file, or take it out of the annotations",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a data set.

    Args:
        kind: Name of the error class.
        message: Message that names file and row.
        hint: Advice on what to do.
    """

    kind: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class SplitReport:
    """The findings in one split.

    Args:
        split: Name of the split.
        statistics: Counts of what could be read.
        published: Published counts of the known data set, by field of the statistics.
        faults: Faults in the order of the files.
        notes: Odd rows and what was done with them, one line for each kind.
    """

    split: str
    statistics: Statistics
    published: dict[str, int]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


def check(
    kind: str,
    root: StrPath,
    splits: Sequence[str],
    *,
    decode: bool = False,
    all_lists: bool = False,
) -> list[SplitReport]:
    """Check splits of a data set.

    Args:
        kind: Kind of the data set.
        root: Folder of the data set.
        splits: Names of the splits to read.
        decode: Whether to decode every picture, not only its header.
        all_lists: Whether to read gallery lists above :data:`LARGE_LIST` too.

    Raises:
        UsageError: The kind or a split is unknown.
    """
    return [_check_split(kind, Path(root), split, decode, all_lists) for split in splits]


def _check_split(kind: str, root: Path, split: str, decode: bool, all_lists: bool) -> SplitReport:
    findings = Findings(collect=True)
    scenes = SceneSet(f"{kind}/{split}", ())
    with findings.tolerated():  # without its main file nothing can be read
        scenes = load_scenes(kind, root, split, findings=findings)
        for name, make in scenes.query_lists.items():
            small = not name.isdigit() or int(name) <= LARGE_LIST
            if small or all_lists:
                with findings.tolerated():
                    make()
    _note_lonely_queries(scenes, findings)
    if decode:
        for scene in scenes.scenes:
            with findings.tolerated():
                read_picture(scene.path)
    return SplitReport(
        split,
        count(scenes),
        dict(PUBLISHED.get(kind, {}).get(split, {})),
        tuple(dict.fromkeys(map(_fault, findings.faults))),
        tuple(findings.summary()),
    )


def _note_lonely_queries(scenes: SceneSet, findings: Findings) -> None:
    seen: dict[int, set[str]] = {}
    for scene in scenes.scenes:
        for person_id in scene.person_ids.tolist():
            seen.setdefault(person_id, set()).add(scene.name)
    for query in scenes.queries:
        if not seen.get(query.person_id, set()) - {query.scene}:
            findings.note(
                "query of a person who is in no other scene: nothing can be found",
                f"{query.scene}, person {query.person_id}",
            )


def _fault(error: DataError) -> Fault:
    hint = error.hint or _HINTS.get(type(error), "docs/guides/data.md describes the format")
    return Fault(type(error).__name__, str(error), hint)
