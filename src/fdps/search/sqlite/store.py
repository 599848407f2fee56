"""The archive in one folder: SQLite holds the truth, a matrix in memory answers the searches.

Axes in shapes: N people, Q queries, K results, D embedding dimension.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from fdps import __version__
from fdps.errors import ArchiveError, UsageError
from fdps.search.audit import NOTE_ACTIONS, Note, append, text_hash
from fdps.search.seals import scene_seal, seal_scene
from fdps.search.sqlite.erasure import erase, note_removal, without_forgotten
from fdps.search.sqlite.filters import filter_conditions
from fdps.search.sqlite.migration import BACKUPS
from fdps.search.sqlite.schema import (
    create_database,
    open_database,
    read_info,
    sqlite_errors,
    writer_lock,
)
from fdps.search.sqlite.search import SqliteSearch
from fdps.search.sqlite.tracks import items_of_track, link_video
from fdps.search.store import (
    EVERYBODY,
    Appearance,
    ArchivedPerson,
    Filters,
    IndexInfo,
    SceneRecord,
    check_embeddings,
)
from fdps.search.times import instant, second_of_day
from fdps.structures import Detections, Hit

REMOVE = Note("remove")
_BETWEEN_NAMES = "\0moving "  # no stored name contains this letter
MOST_SHOWN = 100  # most letters of a note that the audit shows
_SCENE_COLUMNS = ", ".join(field.name for field in fields(SceneRecord))


class SqliteStore:
    """An archive in the folder ``name.fdps``; the promises are those of :class:`Store`.

    One object serves one thread.

    Attributes:
        is_log_empty: Whether the last removal could empty the log. Otherwise a reader was at work,
            and what was erased leaves the disk when the last process closes the archive.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection = open_database(folder)
        self.is_log_empty = True
        self._nested_writers = 0
        self._own_changes = 0
        try:
            with sqlite_errors(folder):
                self._info = read_info(self._connection, folder)
        except BaseException:
            self._connection.close()
            raise
        self._search = SqliteSearch(self._connection, folder, self._info.dim)

    @classmethod
    def create(cls, folder: Path, *, model_hash: str, dim: int, model: str = "") -> "SqliteStore":
        """Begin an archive.

        Args:
            folder: A folder that is new or empty.
            model_hash: Hash of the model whose embeddings it will hold.
            dim: Length of an embedding, at least 1.
            model: The place where that model can be loaded from.

        Raises:
            ArchiveError: There is an archive already, or the folder cannot be written.
            UsageError: ``folder`` is a file, or holds other things.
        """
        create_database(
            folder,
            {
                "model_hash": model_hash,
                "dim": str(dim),
                "model": model,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "created_by": __version__,
                "removals": "0",
            },
        )
        return cls(folder)

    @property
    def info(self) -> IndexInfo:
        """The stamp of the archive."""
        return self._info

    @property
    def folder(self) -> Path | None:
        """The folder of the archive."""
        return self._folder

    @property
    def n_scenes(self) -> int:
        """Number of scenes, with people or without."""
        with sqlite_errors(self._folder):
            return int(self._connection.execute("SELECT count(*) FROM scenes").fetchone()[0])

    def __len__(self) -> int:
        with sqlite_errors(self._folder):
            return int(self._connection.execute("SELECT count(*) FROM people").fetchone()[0])

    def close(self) -> None:
        """Let go of the files; closing twice is allowed."""
        self._connection.close()

    def __enter__(self) -> "SqliteStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer while the context lasts."""
        if self._nested_writers:
            yield
            return
        with writer_lock(self._folder):
            self._nested_writers += 1
            try:
                yield
            finally:
                self._nested_writers -= 1

    def find(self, *, sha256: str = "", name: str = "", path: str = "") -> SceneRecord | None:
        """Return the scene that agrees with every property given, or ``None``."""
        found = self._scenes({"sha256": sha256, "name": name, "path": path}, "LIMIT 1")
        return found[0] if found else None

    def find_all(self, *, sha256: str = "", path: str = "") -> list[SceneRecord]:
        """Return all scenes that agree with every property given, in the order of addition."""
        return self._scenes({"sha256": sha256, "path": path})

    def people(self, items: Sequence[int]) -> list[ArchivedPerson]:
        """Return people by their numbers, in the order asked for; missing people are left out."""
        with sqlite_errors(self._folder):
            found = [_read_people(self._connection, "people.id = ?", int(item)) for item in items]
        return [person for of_item in found for person in of_item]

    def people_in(self, scene: str) -> list[ArchivedPerson]:
        """Return everybody in a scene, ordered by item."""
        with sqlite_errors(self._folder):
            return _read_people(self._connection, "scenes.name = ?", scene)

    def is_finished(self, sha256: str, sampling: str) -> bool:
        """Tell whether every frame that a sampling takes of a video is in the archive."""
        with sqlite_errors(self._folder):
            row = self._connection.execute(
                "SELECT 1 FROM videos WHERE sha256 = ? AND sampling = ?", (sha256, sampling)
            ).fetchone()
        return row is not None

    def finish(self, sha256: str, sampling: str) -> None:
        """Note that a video is finished; removing one of its scenes takes that back."""
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO videos VALUES (?, ?)", (sha256, sampling)
            )

    def link(self, sha256: str) -> None:
        """Link the people of a video anew, from all its frames that are in the archive."""
        with self._transaction():
            link_video(self._connection, sha256, self._info.dim)

    def track(self, item: int) -> list[int]:
        """Return everybody on the track of a person, in order of time; nobody without a track."""
        with sqlite_errors(self._folder):
            return items_of_track(self._connection, item)

    def note(self, key: str) -> str | None:
        """Return a text that is kept with the stamp, or ``None``."""
        with sqlite_errors(self._folder):
            row = self._connection.execute(
                "SELECT value FROM meta WHERE key = ?", (f"note:{key}",)
            ).fetchone()
        return row[0] if row else None

    def write_note(self, key: str, text: str) -> None:
        """Keep a text with the stamp; an older one of this key is replaced."""
        details = {"key": key, "sha256": text_hash(text), "text": text[:MOST_SHOWN]}
        with self.changing(Note(NOTE_ACTIONS.get(key, "note"), details=details)):
            self._connection.execute(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"note:{key}", text)
            )

    def add(self, scene: SceneRecord, people: Detections) -> None:
        """Add a scene and its people in one transaction; its earlier state is replaced."""
        check_embeddings(people.embeddings, self._info.dim)
        with self._transaction():
            self._erase_where("path = ? AND frame = ?", scene.path, scene.frame)
            self._insert(scene, people)

    def replace(self, path: str, scenes: Sequence[tuple[SceneRecord, Detections]]) -> None:
        """Replace all scenes of a file by others, in one transaction."""
        for _, people in scenes:
            check_embeddings(people.embeddings, self._info.dim)
        with self._transaction():
            self._unfinish("path = ?", path)
            self._erase_where("path = ?", path)
            for scene, people in scenes:
                self._insert(scene, people)

    def move(self, sha256: str, path: str, names: Mapping[int, str]) -> None:
        """Let all scenes of a content follow their file to another path, in one transaction."""
        with self._transaction():
            self._unfinish("path = ? AND sha256 <> ?", path, sha256)
            self._erase_where("path = ? AND sha256 <> ?", path, sha256)
            rows = self._connection.execute(
                "SELECT id, frame FROM scenes WHERE sha256 = ? ORDER BY id", (sha256,)
            ).fetchall()
            # Names change in two steps, because a new name may be the old one of another frame.
            self._connection.execute(
                "UPDATE scenes SET name = ? || id, path = ? WHERE sha256 = ?",
                (_BETWEEN_NAMES, path, sha256),
            )
            for scene_id, frame in rows:
                self._connection.execute(
                    "UPDATE scenes SET name = ? WHERE id = ?", (names[frame], scene_id)
                )
                seal_scene(self._connection, scene_id)
            note_removal(self._connection)  # names are filters: whoever searches reads them anew

    def _erase_where(self, condition: str, *values: object) -> None:
        deleted = self._connection.execute(f"DELETE FROM scenes WHERE {condition}", values)
        if deleted.rowcount:
            note_removal(self._connection)

    def _unfinish(self, condition: str, *values: object) -> None:
        self._connection.execute(
            f"DELETE FROM videos WHERE sha256 IN (SELECT sha256 FROM scenes WHERE {condition})",
            values,
        )

    def _insert(self, scene: SceneRecord, people: Detections) -> None:
        clock: tuple[float | None, float | None] = (None, None)
        if scene.time is not None:
            clock = (instant(scene.time), second_of_day(scene.time))
        people = without_forgotten(self._connection, scene, people)
        marks = ", ".join("?" * (len(fields(SceneRecord)) + len(clock) + 1))
        scene_id = self._connection.execute(
            f"INSERT INTO scenes ({_SCENE_COLUMNS}, instant, second_of_day, added) "
            f"VALUES ({marks})",
            (*astuple(scene), *clock, time.time()),
        ).lastrowid
        assert scene_id is not None
        self._connection.executemany(
            "INSERT INTO people (scene_id, x1, y1, x2, y2, score, embedding) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (scene_id, *box.tolist(), float(score), embedding.astype("<f4").tobytes())
                for box, score, embedding in zip(
                    people.boxes, people.scores, people.embeddings, strict=True
                )
            ],
        )
        seal_scene(self._connection, scene_id)

    def remove(
        self,
        *,
        scenes: Sequence[str] = (),
        items: Sequence[int] = (),
        note: Note = REMOVE,
        for_good: bool = False,
    ) -> int:
        """Erase scenes with their people, and single people, also from the log and free pages.

        Args:
            scenes: Names of scenes.
            items: Numbers of people.
            note: Note for the audit, written in the same transaction.
            for_good: Whether indexing the same files again passes over these people.
        """
        with self.writing():
            with self._transaction():
                erased = erase(self._connection, scenes, items, for_good=for_good)
                details = {**(note.details or {}), **asdict(erased)}
                append(self._connection, note.action, purpose=note.purpose, details=details)
                # Backups of a migration show who is erased. They go before the commit: the archive
                # can do without them, and a crash must not leave the person in one.
                for backup in self._folder.glob(BACKUPS):
                    backup.unlink()
            self._empty_log()
            return erased.n_people

    def vacuum(self) -> None:
        """Write the file anew without its free pages; this happens whole or not at all."""
        with self.writing(), sqlite_errors(self._folder):
            self._connection.execute("VACUUM")
            self._empty_log()

    def search(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """Return the ``top`` most similar people to each query, best first; ties by item."""
        with self._searching(embeddings, top) as searching:
            return searching.hits(embeddings, top, filters.literal(self.find))

    def search_appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Appearance]]:
        """Return the ``top`` most similar appearances to each query, best first; ties by track."""
        with self._searching(embeddings, top) as searching:
            return searching.appearances(embeddings, top, filters.literal(self.find))

    def spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> Int64[np.ndarray, "Q _"]:
        """Count everybody who passes the filters by their similarity to each query."""
        with self._searching(embeddings, top=1) as searching:
            return searching.counts(embeddings, n_bins, filters.literal(self.find))

    def search_and_spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        top: int,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> tuple[list[list[Hit]], Int64[np.ndarray, "Q _"]]:
        """Do both by one look at all embeddings."""
        with self._searching(embeddings, top) as searching:
            return searching.hits_and_counts(embeddings, top, n_bins, filters.literal(self.find))

    def count(self, filters: Filters) -> int:
        """Return how many people a search with these filters looks at."""
        conditions, arguments = filter_conditions(filters.literal(self.find))
        with sqlite_errors(self._folder):
            (n_people,) = self._connection.execute(
                "SELECT count(*) FROM scenes JOIN people ON scenes.id = people.scene_id "
                f"WHERE {conditions}",
                arguments,
            ).fetchone()
        return int(n_people)

    def record(self, note: Note, *more: Note) -> None:
        """Add entries to the audit, in one transaction; this works while another process writes."""
        *before, last = (note, *more)
        with self._audited(last):
            for one in before:
                append(self._connection, one.action, purpose=one.purpose, details=one.details)

    @contextmanager
    def changing(self, note: Note) -> Iterator[sqlite3.Connection]:
        """Run a change by the one writer in a transaction that is noted in the audit."""
        with self.writing(), self._audited(note):
            yield self._connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Let everything that is read inside be of one state of the archive."""
        with self._snapshot():
            yield self._connection

    def _empty_log(self) -> None:
        """Empty the log, which still holds pages as they were; a reader at work may delay this."""
        with sqlite_errors(self._folder):
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self.is_log_empty = not busy

    @contextmanager
    def _audited(self, note: Note) -> Iterator[None]:
        """Run a noted transaction in which nothing that searches read changes."""
        with sqlite_errors(self._folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                append(self._connection, note.action, purpose=note.purpose, details=note.details)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.writing(), sqlite_errors(self._folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk rolls back by itself
                    self._connection.execute("ROLLBACK")
                raise
            self._own_changes += 1

    @contextmanager
    def _searching(self, embeddings: np.ndarray, top: int) -> Iterator[SqliteSearch]:
        """Let a search read everything inside from one state of the archive."""
        check_embeddings(embeddings, self._info.dim)
        if top < 1:
            raise UsageError(f"top must be at least 1, got {top}")
        with self._snapshot():
            self._search.refresh(self._own_changes)
            yield self._search

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let everything that is read inside be of one state of the archive."""
        with sqlite_errors(self._folder):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")

    def _scenes(self, wanted: dict[str, str], limit: str = "") -> list[SceneRecord]:
        given = {column: value for column, value in wanted.items() if value}
        where = " AND ".join(f"{column} = ?" for column in given) or "1"
        with sqlite_errors(self._folder):
            rows = self._connection.execute(
                f"SELECT {_SCENE_COLUMNS} FROM scenes WHERE {where} ORDER BY id {limit}",
                tuple(given.values()),
            ).fetchall()
        return [SceneRecord(*row) for row in rows]


def _read_people(
    connection: sqlite3.Connection, condition: str, value: int | str
) -> list[ArchivedPerson]:
    """Return the people of ``scenes JOIN people`` who fulfil a condition, by item.

    Raises:
        ArchiveError: The seal of their scene is broken.
    """
    rows = connection.execute(
        "SELECT scenes.id, seal, people.id, name, x1, y1, x2, y2, score, embedding FROM people "
        f"JOIN scenes ON scenes.id = people.scene_id WHERE {condition} ORDER BY people.id",
        (value,),
    ).fetchall()
    for scene_id, seal in {row[:2] for row in rows}:
        if scene_seal(connection, scene_id) != seal:
            raise ArchiveError(
                "the archive is damaged: somebody in it is not what was added",
                hint="fdps archive verify names all that is damaged; remove it, then index again",
            )
    return [
        ArchivedPerson(
            item,
            name,
            np.array(box, dtype=np.float32),
            score,
            np.frombuffer(embedding, dtype="<f4").astype(np.float32),
        )
        for _, _, item, name, *box, score, embedding in rows
    ]
