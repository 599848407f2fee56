"""The file of cases: every change is on the disk before it is acknowledged.

Axes in shapes: M people, D embedding dimension.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from fdps.errors import ArchiveError, MissingDataError, UsageError
from fdps.search.care.retention import UNKNOWN_AGE, Age, By
from fdps.serve.cases.case import (
    MOST_CASES,
    MOST_OF_NAME,
    MOST_OF_NOTE,
    MOST_OF_NOTES,
    MOST_OF_PURPOSE,
    MOST_VERDICTS,
    Case,
    CaseLine,
    Judged,
    Opinion,
    Place,
    QueryPerson,
    check_people,
    checked,
)
from fdps.serve.cases.places import assigned, boxes_of
from fdps.serve.database import Database

CASES_FILE = "cases.sqlite"
"""Name of the file of cases in the folder of an archive."""

SceneKey = tuple[str, int]
"""A scene by the SHA-256 of its file and the number of its frame."""

_ID_BYTES = 9
_NOBODY: Float32[np.ndarray, "0 4"] = np.zeros((0, 4), dtype=np.float32)
_SCHEMA = """
CREATE TABLE cases (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    archive TEXT NOT NULL,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    notes TEXT NOT NULL,
    created TEXT NOT NULL,
    by TEXT NOT NULL,
    changed TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    version INTEGER NOT NULL
);
CREATE TABLE people (
    id INTEGER PRIMARY KEY,
    case_id TEXT NOT NULL REFERENCES cases (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    score REAL NOT NULL,
    embedding BLOB NOT NULL,
    crop BLOB NOT NULL,
    is_unlike INTEGER NOT NULL,
    sha256 TEXT,
    frame INTEGER,
    px1 REAL, py1 REAL, px2 REAL, py2 REAL,
    added REAL,
    taken REAL
);
CREATE INDEX people_of_case ON people (case_id);
CREATE INDEX people_of_file ON people (sha256, frame);
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY,
    case_id TEXT NOT NULL REFERENCES cases (id) ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    frame INTEGER NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    scene TEXT NOT NULL,
    opinion TEXT NOT NULL,
    note TEXT NOT NULL,
    time TEXT NOT NULL,
    by TEXT NOT NULL,
    added REAL,
    taken REAL
);
CREATE INDEX verdicts_of_case ON verdicts (case_id, sha256, frame);
CREATE INDEX verdicts_of_file ON verdicts (sha256, frame)
"""
_VERSION = 2
# Version 1 did not keep since when a scene counts: it was there when somebody took it up.
_CHANGES = {
    1: """
ALTER TABLE people ADD COLUMN added REAL;
ALTER TABLE people ADD COLUMN taken REAL;
ALTER TABLE verdicts ADD COLUMN added REAL;
ALTER TABLE verdicts ADD COLUMN taken REAL;
UPDATE people SET added = (
    SELECT CAST(strftime('%s', changed) AS REAL) FROM cases WHERE id = case_id
) WHERE sha256 IS NOT NULL;
UPDATE verdicts SET added = CAST(strftime('%s', time) AS REAL)
"""
}
_LINE = (
    "SELECT cases.id, archive, name, purpose, notes, created, by, changed, changed_by, version, "
    "(SELECT count(*) FROM people WHERE case_id = cases.id), "
    "(SELECT count(*) FROM verdicts WHERE case_id = cases.id AND opinion = 'confirmed'), "
    "(SELECT count(*) FROM verdicts WHERE case_id = cases.id AND opinion = 'rejected') FROM cases"
)
_PERSON = (
    "name, x1, y1, x2, y2, score, embedding, crop, is_unlike, sha256, frame, px1, py1, px2, py2, "
    "added, taken"
)
_VERDICT = "sha256, frame, x1, y1, x2, y2, scene, opinion, note, time, by, added, taken"
_TABLES = ("people", "verdicts")


class UnknownCaseError(MissingDataError):
    """There is no case of this identifier."""


class OutdatedError(ArchiveError):
    """Somebody else has changed the case since it was read.

    Args:
        version: The present version.
    """

    def __init__(self, version: int) -> None:
        super().__init__(
            f"somebody else has changed the case meanwhile, to version {version}",
            hint="read it again, then repeat the change",
        )
        self.version = version


@dataclass(frozen=True, slots=True)
class ErasedFromCases:
    """What was erased from cases, or would be.

    Args:
        cases: Names of the cases, by their identifiers.
        n_people: Number of people looked for, with their pictures and embeddings.
        n_verdicts: Number of verdicts, with their notes.
    """

    cases: dict[str, str]
    n_people: int
    n_verdicts: int


class CaseStore:
    """Cases in a file; all threads of a server share one object.

    Args:
        path: The file, made where there is none.

    Raises:
        ArchiveError: The file is damaged, of another version, or it cannot be written.
        ResourceError: The disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA, version=_VERSION, changes=_CHANGES)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def lines(self, archives: Iterable[str] | None = None) -> list[CaseLine]:
        """List cases, the one changed last first.

        Args:
            archives: Keys of the archives whose cases are listed; ``None`` for all.
        """
        with self._database.reading() as connection:
            rows = connection.execute(f"{_LINE} ORDER BY changed DESC, number DESC").fetchall()
        wanted = None if archives is None else set(archives)
        lines = [CaseLine(*row) for row in rows]
        return [line for line in lines if wanted is None or line.archive in wanted]

    def case(self, case_id: str) -> Case:
        """Return a case with everything that belongs to it.

        Raises:
            UnknownCaseError: There is none of this identifier.
        """
        with self._database.reading() as connection:
            return _case(connection, case_id)

    def create(
        self,
        archive: str,
        name: str,
        *,
        purpose: str = "",
        notes: str = "",
        by: str,
        query: Sequence[QueryPerson] = (),
    ) -> Case:
        """Begin a case.

        Args:
            archive: Key of the archive that it searches.
            name: Its name.
            purpose: Why the person is looked for.
            notes: Text of the user.
            by: Name of the user.
            query: Whom it looks for.

        Raises:
            UsageError: A text is too long or holds control characters, there is no name, there are
                too many people, or the file has no room for another case.
        """
        now, case_id = _now(), secrets.token_urlsafe(_ID_BYTES)
        texts = _checked(name=name, purpose=purpose, notes=notes)
        check_people(list(query))
        with self._database.writing() as connection:
            (n_cases,) = connection.execute("SELECT count(*) FROM cases").fetchone()
            if n_cases >= MOST_CASES:
                raise UsageError(
                    f"there are {n_cases} cases, which is the most that are kept",
                    hint="delete cases whose purpose has ended",
                )
            connection.execute(
                "INSERT INTO cases (id, archive, name, purpose, notes, created, by, changed, "
                "changed_by, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
                (case_id, archive, *texts.values(), now, by, now, by),
            )
            _insert_people(connection, case_id, query)
            return _case(connection, case_id)

    def change(
        self,
        case_id: str,
        *,
        by: str,
        version: int | None = None,
        name: str | None = None,
        purpose: str | None = None,
        notes: str | None = None,
        query: Sequence[QueryPerson] | None = None,
    ) -> Case:
        """Change texts of a case, or whom it looks for; what is ``None`` stays.

        Args:
            case_id: The case.
            by: Name of the user.
            version: The version that the user has seen; ``None`` to change any.
            name: The name.
            purpose: The purpose.
            notes: The notes.
            query: Everybody whom it looks for.

        Raises:
            UnknownCaseError: There is no such case.
            OutdatedError: Somebody else has changed it since.
            UsageError: As for :meth:`create`.
        """
        texts = _checked(name=name, purpose=purpose, notes=notes)
        if query is not None:
            check_people(list(query))
        with self._database.writing() as connection:
            _expect(connection, case_id, version)
            for column, text in texts.items():
                connection.execute(f"UPDATE cases SET {column} = ? WHERE id = ?", (text, case_id))
            if query is not None:
                connection.execute("DELETE FROM people WHERE case_id = ?", (case_id,))
                _insert_people(connection, case_id, query)
            _note_change(connection, case_id, by)
            case = _case(connection, case_id)
        if query is not None:
            self._database.empty_log()  # the embeddings of those who are no longer looked for
        return case

    def judge(
        self,
        case_id: str,
        place: Place,
        opinion: Opinion | None,
        *,
        by: str,
        scene: str = "",
        note: str | None = None,
        version: int | None = None,
        age: Age = UNKNOWN_AGE,
        beside: Float32[np.ndarray, "M 4"] = _NOBODY,
    ) -> Case:
        """Keep the verdict on a candidate, in place of an earlier one.

        Args:
            case_id: The case.
            place: Where the candidate is.
            opinion: The verdict; ``None`` takes an earlier one back.
            by: Name of the user.
            scene: Name of the scene.
            note: Text beside the verdict; ``None`` keeps that of an earlier one.
            version: The version that the user has seen; ``None`` to change any.
            age: Since when the scene counts for the retention.
            beside: Boxes of the other people in the frame, so that a verdict on one of them is not
                taken for one on the candidate.

        Raises:
            UnknownCaseError: There is no such case.
            OutdatedError: Somebody else has changed it since.
            UsageError: The note is too long or holds control characters, or the case has too many
                verdicts.
        """
        if note is not None:
            note = checked(note, "the note", MOST_OF_NOTE, lines=True)
        with self._database.writing() as connection:
            _expect(connection, case_id, version)
            old = _earlier(connection, case_id, place, beside)
            if old:
                connection.execute("DELETE FROM verdicts WHERE id = ?", (old[0],))
            if opinion is not None:
                kept = (old[1] if old else "") if note is None else note
                judged = Judged(place, scene, opinion, kept, _now(), by, age)
                _insert_verdict(connection, case_id, judged)
            _note_change(connection, case_id, by)
            return _case(connection, case_id)

    def delete(self, case_id: str, *, version: int | None = None) -> CaseLine:
        """Erase a case with everything that belongs to it, also from the log and free pages.

        Raises:
            UnknownCaseError: There is no such case.
            OutdatedError: Somebody else has changed it since.
        """
        with self._database.writing() as connection:
            _expect(connection, case_id, version)
            line = _line(connection, case_id)
            connection.execute("DELETE FROM cases WHERE id = ?", (case_id,))
        self._database.empty_log()
        return line

    def erase(
        self, archive: str, places: Sequence[Place], *, dry_run: bool = False
    ) -> ErasedFromCases:
        """Erase everything that shows somebody who is to be forgotten.

        Verdicts on these places go with their notes, and people looked for who were taken from
        there. Where such a place was confirmed, the case is about that person: then the people
        that it looks for go as well, wherever their pictures came from, and only those who merely
        look similar stay.

        Args:
            archive: Key of the archive.
            places: Where the person is.
            dry_run: Whether to change nothing, and only to say what would be erased.
        """
        cases: dict[str, str] = {}
        people: set[int] = set()
        verdicts: set[int] = set()
        with self._database.writing() as connection:
            for place in places:
                of_place, judged = _at(connection, archive, place)
                people |= of_place
                verdicts |= set(judged)
                for case_id in (case for case, word in judged.values() if word == "confirmed"):
                    people |= _looked_for(connection, case_id)
            for table, rows in (("people", people), ("verdicts", verdicts)):
                for row in rows:
                    cases |= dict(_owner(connection, table, row))
                    if not dry_run:
                        connection.execute(f"DELETE FROM {table} WHERE id = ?", (row,))
            if not dry_run:
                _raise_versions(connection, cases)
        if cases and not dry_run:
            self._database.empty_log()
        return ErasedFromCases(cases, len(people), len(verdicts))

    def scenes_before(self, archive: str, by: By, moment: float) -> list[SceneKey]:
        """Return the scenes that cases refer to and that count from before a moment.

        Args:
            archive: Key of the archive.
            by: What they count from.
            moment: Seconds since 1970.
        """
        found: set[SceneKey] = set()
        with self._database.reading() as connection:
            for table in _TABLES:
                found |= set(
                    connection.execute(
                        f"SELECT DISTINCT sha256, frame FROM {table} JOIN cases ON cases.id = "
                        f"case_id WHERE archive = ? AND sha256 IS NOT NULL AND {table}.{by} < ?",
                        (archive, moment),
                    )
                )
        return sorted(found)

    def erase_scenes(self, archive: str, scenes: Sequence[SceneKey]) -> ErasedFromCases:
        """Erase verdicts on scenes with their notes, and people who were taken from there.

        Args:
            archive: Key of the archive.
            scenes: Hash of the file and number of the frame of each.
        """
        cases: dict[str, str] = {}
        n_erased = dict.fromkeys(_TABLES, 0)
        with self._database.writing() as connection:
            for table in _TABLES:
                for sha256, frame in scenes:
                    rows = connection.execute(
                        f"SELECT {table}.id, cases.id, cases.name FROM {table} JOIN cases "
                        "ON cases.id = case_id WHERE archive = ? AND sha256 = ? AND frame = ?",
                        (archive, sha256, frame),
                    ).fetchall()
                    for row, case_id, name in rows:
                        connection.execute(f"DELETE FROM {table} WHERE id = ?", (row,))
                        cases[case_id] = name
                    n_erased[table] += len(rows)
            _raise_versions(connection, cases)
        if cases:
            self._database.empty_log()
        return ErasedFromCases(cases, n_erased["people"], n_erased["verdicts"])


@contextmanager
def cases_in(folder: Path | None) -> Iterator[CaseStore | None]:
    """Open the cases in the folder of an archive; ``None`` where there are none."""
    path = folder / CASES_FILE if folder else None
    if path is None or not path.is_file():
        yield None
        return
    with closing(CaseStore(path)) as cases:
        yield cases


def _raise_versions(connection: sqlite3.Connection, case_ids: Iterable[str]) -> None:
    for case_id in case_ids:
        connection.execute("UPDATE cases SET version = version + 1 WHERE id = ?", (case_id,))


def _checked(**texts: str | None) -> dict[str, str]:
    """Check those texts that are given."""
    limits = {"name": MOST_OF_NAME, "purpose": MOST_OF_PURPOSE, "notes": MOST_OF_NOTES}
    return {
        key: checked(text, f"the {key}", limits[key], lines=key != "name", needed=key == "name")
        for key, text in texts.items()
        if text is not None
    }


def _case(connection: sqlite3.Connection, case_id: str) -> Case:
    line = _line(connection, case_id)
    people = connection.execute(
        f"SELECT {_PERSON} FROM people WHERE case_id = ? ORDER BY id", (case_id,)
    ).fetchall()
    verdicts = connection.execute(
        f"SELECT {_VERDICT} FROM verdicts WHERE case_id = ? ORDER BY id", (case_id,)
    ).fetchall()
    return Case(line, tuple(map(_read_person, people)), tuple(map(_read_verdict, verdicts)))


def _line(connection: sqlite3.Connection, case_id: str) -> CaseLine:
    row = connection.execute(f"{_LINE} WHERE cases.id = ?", (case_id,)).fetchone()
    if row is None:
        raise UnknownCaseError("there is no such case", hint="it may have been deleted")
    return CaseLine(*row)


def _expect(connection: sqlite3.Connection, case_id: str, version: int | None) -> None:
    line = _line(connection, case_id)
    if version is not None and version != line.version:
        raise OutdatedError(line.version)


def _note_change(connection: sqlite3.Connection, case_id: str, by: str) -> None:
    connection.execute(
        "UPDATE cases SET version = version + 1, changed = ?, changed_by = ? WHERE id = ?",
        (_now(), by, case_id),
    )


def _insert_people(
    connection: sqlite3.Connection, case_id: str, people: Iterable[QueryPerson]
) -> None:
    for person in people:
        place = person.place
        where = (None,) * 6 if place is None else (place.sha256, place.frame, *place.box)
        connection.execute(
            f"INSERT INTO people (case_id, {_PERSON}) VALUES ({', '.join('?' * 18)})",
            (
                *(case_id, person.name, *person.box, person.score),
                *(person.embedding.astype("<f4").tobytes(), person.crop, person.is_unlike),
                *(*where, person.age.added, person.age.taken),
            ),
        )


def _insert_verdict(connection: sqlite3.Connection, case_id: str, judged: Judged) -> None:
    (n_there,) = connection.execute(
        "SELECT count(*) FROM verdicts WHERE case_id = ?", (case_id,)
    ).fetchone()
    if n_there >= MOST_VERDICTS:
        raise UsageError(f"a case keeps at most {MOST_VERDICTS} verdicts")
    place = judged.place
    connection.execute(
        f"INSERT INTO verdicts (case_id, {_VERDICT}) VALUES ({', '.join('?' * 14)})",
        (
            *(case_id, place.sha256, place.frame, *place.box),
            *(judged.scene, judged.opinion, judged.note, judged.time, judged.by),
            *(judged.age.added, judged.age.taken),
        ),
    )


def _earlier(
    connection: sqlite3.Connection, case_id: str, place: Place, beside: np.ndarray
) -> tuple[int, str] | None:
    """Return number and note of the verdict on a candidate, if there is one."""
    rows = connection.execute(
        "SELECT id, note, x1, y1, x2, y2 FROM verdicts "
        "WHERE case_id = ? AND sha256 = ? AND frame = ? ORDER BY id",
        (case_id, place.sha256, place.frame),
    ).fetchall()
    noted = boxes_of(replace(place, box=_box(row[2:])) for row in rows)
    there = np.concatenate([boxes_of([place]), beside.astype(np.float32)])
    for row, person in zip(rows, assigned(noted, there), strict=True):
        if person == 0:
            return row[0], row[1]
    return None


def _at(
    connection: sqlite3.Connection, archive: str, place: Place
) -> tuple[set[int], dict[int, tuple[str, str]]]:
    """Return the people looked for and the verdicts at a place; those with case and opinion."""
    of_archive = "JOIN cases ON cases.id = case_id WHERE archive = ? AND sha256 = ? AND frame = ?"
    where = (archive, place.sha256, place.frame)
    people = connection.execute(
        f"SELECT people.id, px1, py1, px2, py2 FROM people {of_archive}", where
    ).fetchall()
    verdicts = connection.execute(
        f"SELECT verdicts.id, x1, y1, x2, y2, case_id, opinion FROM verdicts {of_archive}", where
    ).fetchall()
    there = boxes_of([place])

    def is_there(row: tuple[Any, ...]) -> bool:
        return assigned(boxes_of([replace(place, box=_box(row[1:5]))]), there) == [0]

    return (
        {row[0] for row in people if is_there(row)},
        {row[0]: (row[5], row[6]) for row in verdicts if is_there(row)},
    )


def _looked_for(connection: sqlite3.Connection, case_id: str) -> set[int]:
    rows = connection.execute(
        "SELECT id FROM people WHERE case_id = ? AND NOT is_unlike", (case_id,)
    )
    return {row[0] for row in rows}


def _owner(connection: sqlite3.Connection, table: str, row: int) -> list[tuple[str, str]]:
    return connection.execute(
        f"SELECT cases.id, cases.name FROM {table} JOIN cases ON cases.id = case_id "
        f"WHERE {table}.id = ?",
        (row,),
    ).fetchall()


def _read_person(row: tuple[Any, ...]) -> QueryPerson:
    name, x1, y1, x2, y2, score, embedding, crop, is_unlike, sha256, frame, *rest = row
    *corners, added, taken = rest
    vector = np.frombuffer(embedding, dtype="<f4").astype(np.float32)
    place = None if sha256 is None else Place(sha256, frame, _box(corners))
    age = Age(added, taken)
    return QueryPerson(name, (x1, y1, x2, y2), score, vector, crop, bool(is_unlike), place, age)


def _read_verdict(row: tuple[Any, ...]) -> Judged:
    sha256, frame, x1, y1, x2, y2, scene, word, note, time, by, *age = row
    return Judged(Place(sha256, frame, (x1, y1, x2, y2)), scene, word, note, time, by, Age(*age))


def _box(corners: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners
    return x1, y1, x2, y2


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
