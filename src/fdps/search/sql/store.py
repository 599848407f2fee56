"""The archive in tables: what SQLite in a folder and PostgreSQL on a server do alike.

Axes in shapes: N people, Q queries, K results, D embedding dimension.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, Int64

from fdps.errors import ArchiveError, UsageError
from fdps.search.audit import KEEP, NOTE_ACTIONS, Note, append, text_hash
from fdps.search.database import Database
from fdps.search.seals import SCENE, scene_seal, scene_seals, seal_scene
from fdps.search.sql.erasure import erase, note_removal, without_forgotten
from fdps.search.sql.filters import filter_conditions
from fdps.search.sql.tracks import items_of_track, link_video
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
MOST_SHOWN = 100  # most letters of a note that the audit shows
PEOPLE_COLUMNS = "scene_id, x1, y1, x2, y2, score, embedding"
SCENE_COLUMNS = ", ".join(field.name for field in fields(SceneRecord))
_AnyStore = TypeVar("_AnyStore", bound="SqlStore")
_BETWEEN_NAMES = "\x1bmoving "  # no stored name contains this letter


class SqlStore(ABC):
    """An archive in the tables of a database; the promises are those of :class:`Store`.

    One object serves one thread.

    Attributes:
        still_kept: What files still keep of the last removal, and for how long, in one sentence;
            empty if nothing.
    """

    _database: Database
    _info: IndexInfo
    still_kept = ""

    @property
    @abstractmethod
    def folder(self) -> Path | None:
        """The folder of the archive; ``None`` where it is kept on a server."""

    @property
    @abstractmethod
    def where(self) -> str:
        """The archive as its users name it, without any password."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; closing twice is allowed."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """Be the only writer while the context lasts."""

    @abstractmethod
    def search(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """Return the ``top`` most similar people to each query, best first; ties by item."""

    @abstractmethod
    def search_appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Appearance]]:
        """Return the ``top`` most similar appearances to each query, best first; ties by track."""

    @abstractmethod
    def spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> Int64[np.ndarray, "Q _"]:
        """Count everybody who passes the filters by their similarity to each query."""

    @abstractmethod
    def search_and_spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        top: int,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> tuple[list[list[Hit]], Int64[np.ndarray, "Q _"]]:
        """Do both by one look at all embeddings, where a process holds them."""

    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Return the bytes of the archive on disk, and how many of them compacting gives back."""

    @abstractmethod
    def vacuum(self) -> None:
        """Write the tables anew without what was erased; this happens whole or not at all."""

    @abstractmethod
    def _errors(self) -> AbstractContextManager[None]:
        """Turn what the database reports into what the user can do about it."""

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """Change the archive as its one writer, wholly or not at all."""

    @abstractmethod
    def _audited(self) -> AbstractContextManager[None]:
        """Run a short transaction of notes, also while another process is the one writer."""

    @abstractmethod
    def _snapshot(self) -> AbstractContextManager[None]:
        """Let everything that is read inside be of one state of the archive."""

    @abstractmethod
    def _insert_scene(self, values: Sequence[object]) -> int:
        """Insert a scene, and return its number.

        Args:
            values: Those of :data:`SCENE_COLUMNS`, then ``instant``, ``second_of_day``, ``added``.
        """

    @abstractmethod
    def _before_erasing(self) -> None:
        """Do what has to be done before the transaction of a removal ends."""

    @abstractmethod
    def _erase_files(self, *, anything: bool) -> None:
        """Erase what the files of the database keep of a removal, and set ``still_kept``.

        Args:
            anything: Whether the removal has found anything.
        """

    @abstractmethod
    def _lock_audit(self) -> None:
        """Let nobody else write into the audit until the transaction ends."""

    @property
    def info(self) -> IndexInfo:
        """The stamp of the archive."""
        return self._info

    @property
    def n_scenes(self) -> int:
        """Number of scenes, with people or without."""
        with self._errors():
            return int(self._database.execute("SELECT count(*) FROM scenes").fetchone()[0])

    def __len__(self) -> int:
        with self._errors():
            return int(self._database.execute("SELECT count(*) FROM people").fetchone()[0])

    def __enter__(self: _AnyStore) -> _AnyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, *, sha256: str = "", name: str = "", path: str = "") -> SceneRecord | None:
        """Return the scene that agrees with every property given, or ``None``."""
        found = self._scenes({"sha256": sha256, "name": name, "path": path}, "LIMIT 1")
        return found[0] if found else None

    def find_all(self, *, sha256: str = "", path: str = "") -> list[SceneRecord]:
        """Return all scenes that agree with every property given, in the order of addition."""
        return self._scenes({"sha256": sha256, "path": path})

    def people(self, items: Sequence[int]) -> list[ArchivedPerson]:
        """Return people by their numbers, in the order asked for; missing people are left out."""
        among, value = self._database.one_of([int(item) for item in items])
        with self._snapshot():
            found = self._people(f"people.id {among}", value)
        by_item = {person.item: person for person in found}
        return [by_item[int(item)] for item in items if int(item) in by_item]

    def people_in(self, scene: str) -> list[ArchivedPerson]:
        """Return everybody in a scene, ordered by item."""
        with self._snapshot():
            return self._people("scenes.name = ?", scene)

    def is_finished(self, sha256: str, sampling: str) -> bool:
        """Tell whether every frame that a sampling takes of a video is in the archive."""
        with self._errors():
            row = self._database.execute(
                "SELECT 1 FROM videos WHERE sha256 = ? AND sampling = ?", (sha256, sampling)
            ).fetchone()
        return row is not None

    def finish(self, sha256: str, sampling: str) -> None:
        """Note that a video is finished; removing one of its scenes takes that back."""
        with self._transaction():
            self._database.execute(
                "INSERT INTO videos VALUES (?, ?) ON CONFLICT DO NOTHING", (sha256, sampling)
            )

    def link(self, sha256: str) -> None:
        """Link the people of a video anew, from all its frames that are in the archive."""
        with self._transaction():
            link_video(self._database, sha256, self._info.dim)

    def track(self, item: int) -> list[int]:
        """Return everybody on the track of a person, in order of time; nobody without a track."""
        with self._errors():
            return items_of_track(self._database, item)

    def note(self, key: str) -> str | None:
        """Return a text that is kept with the stamp, or ``None``."""
        with self._errors():
            row = self._database.execute(
                "SELECT value FROM meta WHERE key = ?", (f"note:{key}",)
            ).fetchone()
        return row[0] if row else None

    def write_note(self, key: str, text: str) -> None:
        """Keep a text with the stamp; an older one of this key is replaced."""
        details = {"key": key, "sha256": text_hash(text), "text": text[:MOST_SHOWN]}
        with self.changing(Note(NOTE_ACTIONS.get(key, "note"), details=details)) as database:
            database.execute(KEEP, (f"note:{key}", text))

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
            rows = self._database.execute(
                "SELECT id, frame FROM scenes WHERE sha256 = ? ORDER BY id", (sha256,)
            ).fetchall()
            # Names change in two steps, because a new name may be the old one of another frame.
            self._database.execute(
                "UPDATE scenes SET name = CAST(? AS TEXT) || CAST(id AS TEXT), path = ? "
                "WHERE sha256 = ?",
                (_BETWEEN_NAMES, path, sha256),
            )
            for scene_id, frame in rows:
                self._database.execute(
                    "UPDATE scenes SET name = ? WHERE id = ?", (names[frame], scene_id)
                )
                seal_scene(self._database, scene_id)
            note_removal(self._database)  # names are filters: whoever searches reads them anew

    def remove(
        self,
        *,
        scenes: Sequence[str] = (),
        items: Sequence[int] = (),
        note: Note = REMOVE,
        for_good: bool = False,
    ) -> int:
        """Erase scenes and single people, also from what the files of the database keep.

        Args:
            scenes: Names of scenes.
            items: Numbers of people.
            note: Note for the audit, written in the same transaction.
            for_good: Whether indexing the same files again passes over these people.
        """
        with self.writing():
            with self._transaction():
                erased = erase(self._database, scenes, items, for_good=for_good)
                details = {**(note.details or {}), **asdict(erased)}
                self._note(Note(note.action, note.purpose, details))
                self._before_erasing()
            self._erase_files(anything=erased.n_scenes + erased.n_people > 0)
            return erased.n_people

    def take(self, scenes: Sequence[Sequence[Any]], people: Sequence[Sequence[Any]]) -> None:
        """Take over scenes and people of another archive with their numbers, in one transaction.

        Args:
            scenes: Rows of ``seal`` and the columns of :data:`fdps.search.seals.SCENE`.
            people: Rows of ``id`` and :data:`PEOPLE_COLUMNS`.

        Raises:
            ArchiveError: What arrived is not what was sealed; nothing is taken over then.
        """
        columns, marks = f"seal, {SCENE}".replace("scenes.", ""), ", ".join("?" * len(scenes[0]))
        with self._transaction():
            self._database.executemany(f"INSERT INTO scenes ({columns}) VALUES ({marks})", scenes)
            self._database.add_people(f"id, {PEOPLE_COLUMNS}", people)
            among, value = self._database.one_of([scene[1] for scene in scenes])
            written = self._database.execute(
                f"SELECT {SCENE} FROM scenes WHERE id {among}", (value,)
            ).fetchall()
            seals = scene_seals(self._database, written)
            for seal, scene_id, name, *_ in scenes:
                if seals.get(scene_id) != seal:
                    raise ArchiveError(
                        f"{name!r} or its people are not what was added",
                        hint="fdps archive verify names all that is damaged; remove it first",
                    )

    def count(self, filters: Filters) -> int:
        """Return how many people a search with these filters looks at."""
        conditions, values = filter_conditions(self._database, filters.literal(self.find))
        with self._errors():
            (n_people,) = self._database.execute(
                "SELECT count(*) FROM scenes JOIN people ON scenes.id = people.scene_id "
                f"WHERE {conditions}",
                values,
            ).fetchone()
        return int(n_people)

    def record(self, note: Note, *more: Note) -> None:
        """Add entries to the audit, in one transaction; this works while another process writes."""
        with self._audited():
            for one in (note, *more):
                self._note(one)

    @contextmanager
    def changing(self, note: Note) -> Iterator[Database]:
        """Run a change by the one writer in a transaction that is noted in the audit."""
        with self.writing(), self._audited():
            yield self._database
            self._note(note)

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """Let everything that is read inside be of one state of the archive."""
        with self._snapshot():
            yield self._database

    def _note(self, note: Note) -> None:
        self._lock_audit()
        append(self._database, note.action, purpose=note.purpose, details=note.details)

    def _check_query(self, embeddings: np.ndarray, top: int) -> None:
        check_embeddings(embeddings, self._info.dim)
        if top < 1:
            raise UsageError(f"top must be at least 1, got {top}")

    def _erase_where(self, condition: str, *values: object) -> None:
        deleted = self._database.execute(f"DELETE FROM scenes WHERE {condition}", values)
        if deleted.rowcount:
            note_removal(self._database)

    def _unfinish(self, condition: str, *values: object) -> None:
        self._database.execute(
            f"DELETE FROM videos WHERE sha256 IN (SELECT sha256 FROM scenes WHERE {condition})",
            values,
        )

    def _insert(self, scene: SceneRecord, people: Detections) -> None:
        clock: tuple[float | None, float | None] = (None, None)
        if scene.time is not None:
            clock = (instant(scene.time), second_of_day(scene.time))
        people = without_forgotten(self._database, scene, people)
        scene_id = self._insert_scene((*astuple(scene), *clock, time.time()))
        self._database.add_people(
            PEOPLE_COLUMNS,
            [
                (scene_id, *box, score, embedding.astype("<f4").tobytes())
                for box, score, embedding in zip(
                    people.boxes.tolist(), people.scores.tolist(), people.embeddings, strict=True
                )
            ],
        )
        seal_scene(self._database, scene_id)

    def _scenes(self, wanted: dict[str, str], limit: str = "") -> list[SceneRecord]:
        given = {column: value for column, value in wanted.items() if value}
        where = " AND ".join(f"{column} = ?" for column in given) or "1 = 1"
        with self._errors():
            rows = self._database.execute(
                f"SELECT {SCENE_COLUMNS} FROM scenes WHERE {where} ORDER BY id {limit}",
                tuple(given.values()),
            ).fetchall()
        return [SceneRecord(*row) for row in rows]

    def _people(self, condition: str, value: Any) -> list[ArchivedPerson]:
        """Return the people of ``scenes JOIN people`` who fulfil a condition, by item.

        Raises:
            ArchiveError: The seal of their scene is broken.
        """
        rows = self._database.execute(
            "SELECT scenes.id, seal, people.id, name, x1, y1, x2, y2, score, embedding "
            f"FROM people JOIN scenes ON scenes.id = people.scene_id WHERE {condition} "
            "ORDER BY people.id",
            (value,),
        ).fetchall()
        for scene_id, seal in {row[:2] for row in rows}:
            if scene_seal(self._database, scene_id) != seal:
                raise ArchiveError(
                    "the archive is damaged: somebody in it is not what was added",
                    hint="fdps archive verify names all that is damaged; remove it, then index "
                    "again",
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
