"""A table for beginners that says who is where in which picture.

.. code-block:: text

    mydata/
      annotations.csv    image,x1,y1,x2,y2 and, as you have them, person_id,camera,time,split
      images/...         or the pictures beside the table

A row is a person. A picture without people has one row with empty boxes. Columns may stand in
any order.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from fdps.data.findings import Findings
from fdps.data.parsing.csv_rows import number, read_rows, whole_number
from fdps.data.parsing.scene_rows import PersonRow, inner_path, make_scene
from fdps.errors import AnnotationError
from fdps.structures import UNLABELLED, Scene

NAME = "annotations.csv"
REQUIRED = ("image", "x1", "y1", "x2", "y2")
OPTIONAL = ("person_id", "camera", "time", "split")
_OF_IMAGE = ("camera", "time", "split")


def read_scenes(file: Path, split: str, findings: Findings) -> tuple[list[Scene], set[str]]:
    """Read the scenes of a split, with the identities of the file.

    Args:
        file: Path of the table.
        split: Name of the split. Rows of other splits are left out; without that column every split
            has all rows.
        findings: Collects faults and odd rows.

    Returns:
        The scenes in the order in which they first appear, and the names of the images of all
        splits.

    Raises:
        AnnotationError: A row is malformed, or rows of one image contradict each other. The
            message has file and line.
        MissingDataError: A picture is not there.
        PictureError: A file is not a picture.
    """
    folder = file.parent / "images"
    folder = folder if folder.is_dir() else file.parent
    findings.boxes.with_sizes = False
    rows = read_rows(file, REQUIRED, OPTIONAL)
    people: dict[str, list[PersonRow]] = {}
    about: dict[str, dict[str, str]] = {}
    for line, row in rows:
        with findings.tolerated():
            where = f"{file}, line {line}"
            name = inner_path(row["image"].strip(), where)
            facts = {key: row.get(key, "").strip() for key in _OF_IMAGE}
            if about.setdefault(name, facts) != facts:
                raise AnnotationError(
                    f"{where}: {name!r} has {facts}, an earlier line has {about[name]}",
                    hint="camera, time and split belong to the picture",
                )
            people.setdefault(name, [])
            person = _person(row, where)
            if person is not None:
                people[name].append(person)
    _check_splits(file, split, about)
    scenes: list[Scene] = []
    for name, facts in about.items():
        if facts["split"] in ("", split):
            with findings.tolerated():
                seconds = seconds_of(facts["time"], f"{file}, image {name!r}")
                scenes.append(
                    make_scene(
                        name,
                        folder / name,
                        people[name],
                        findings,
                        camera=facts["camera"] or None,
                        seconds=seconds,
                    )
                )
    return scenes, set(about)


def seconds_of(time: str, where: str) -> float | None:
    """Read an ISO 8601 time as seconds since 1970; one without a zone is taken as UTC.

    Raises:
        AnnotationError: The text is not such a time.

    Example:
        >>> seconds_of("1970-01-01T00:01:00.5", "line 2")
        60.5
    """
    if not time:
        return None
    try:
        moment = datetime.fromisoformat(time)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise AnnotationError(
            f"{where}: time {time!r} is not like 2026-05-02T14:31:07", hint="ISO 8601 is meant"
        ) from error


def _person(row: Mapping[str, str], where: str) -> PersonRow | None:
    cells = [row[edge].strip() for edge in REQUIRED[1:]]
    if not any(cells):
        return None
    x1, y1, x2, y2 = (number(c, edge, where) for c, edge in zip(cells, REQUIRED[1:], strict=True))
    stated = row.get("person_id", "").strip()
    person_id = whole_number(stated, "person_id", where) if stated else UNLABELLED
    return PersonRow(person_id, (x1, y1, x2, y2), where)


def _check_splits(file: Path, split: str, about: Mapping[str, Mapping[str, str]]) -> None:
    splits = {facts["split"] for facts in about.values()}
    if "" in splits and len(splits) > 1:
        name = next(name for name, facts in about.items() if not facts["split"])
        raise AnnotationError(f"{file}: image {name!r} has no split, others have")
    if splits - {""} and split not in splits:
        raise AnnotationError(
            f"{file}: no image of split {split!r}", hint=f"it has {', '.join(sorted(splits))}"
        )
