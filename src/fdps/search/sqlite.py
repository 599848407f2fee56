"""The archive in one folder: SQLite holds the truth, a matrix in memory answers the searches.

Axes in shapes: N people, Q queries, K results, D embedding dimension.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fdps import __version__
from fdps.errors import ArchiveError, UsageError
from fdps.search.database import (
    FORMAT_VERSION,
    create_database,
    open_database,
    sqlite_errors,
    writer_lock,
)
from fdps.search.matrix import EmbeddingMatrix
from fdps.search.migration import BACKUPS
from fdps.search.ranking import nearest
from fdps.search.sql_filters import filter_conditions
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
from fdps.search.tracks import TrackGroups, appearance, items_of_track, link_video
from fdps.structures import Detections, Hit

_SCENE_COLUMNS = ", ".join(field.name for field in fields(SceneRecord))


class SqliteStore:
    """An archive in the folder ``name.fdps``; the promises are those of :class:`Store`.

    One object serves one thread.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection = open_database(folder)
        self._nested_writers = 0
        self._own_changes = 0
        try:
            with sqlite_errors(folder):
                self._info = self._read_info()
        except BaseException:
            self._connection.close()
            raise
        self._matrix = EmbeddingMatrix(self._info.dim)
        self._last_filters: tuple[Filters, Bool[np.ndarray, " N"]] | None = None
        self._tracks = TrackGroups()

    @classmethod
    def create(cls, folder: Path, *, model_hash: str, dim: int, model: str = "") -> "SqliteStore":
        """Begin an archive.

        Args:
            folder: New, or empty.
            model_hash: The model whose embeddings it will hold.
            dim: Length of an embedding, at least 1.
            model: Where that model can be loaded from.

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
        """The stamp."""
        return self._info

    @property
    def folder(self) -> Path | None:
        """The folder of the archive."""
        return self._folder

    @property
    def n_scenes(self) -> int:
        """Scenes, with people or without."""
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
        """The scene that agrees with every property given, or ``None``."""
        found = self._scenes({"sha256": sha256, "name": name, "path": path}, "LIMIT 1")
        return found[0] if found else None

    def find_all(self, *, sha256: str = "", path: str = "") -> list[SceneRecord]:
        """All scenes that agree with every property given, in the order of addition."""
        return self._scenes({"sha256": sha256, "path": path})

    def people(self, items: Sequence[int]) -> list[ArchivedPerson]:
        """People by their numbers, in the order asked for; whoever is not there is left out."""
        found = (self._people("people.id = ?", int(item)) for item in items)
        return [person for of_item in found for person in of_item]

    def people_in(self, scene: str) -> list[ArchivedPerson]:
        """Everybody in a scene, by item."""
        return self._people("scenes.name = ?", scene)

    def is_finished(self, sha256: str, sampling: str) -> bool:
        """Whether every frame that a sampling takes of a video is in the archive."""
        with sqlite_errors(self._folder):
            row = self._connection.execute(
                "SELECT 1 FROM videos WHERE sha256 = ? AND sampling = ?", (sha256, sampling)
            ).fetchone()
        return row is not None

    def finish(self, sha256: str, sampling: str) -> None:
        """Note that it is; removing one of its scenes takes that back."""
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO videos VALUES (?, ?)", (sha256, sampling)
            )

    def link(self, sha256: str) -> None:
        """Link the people of a video anew, from all its frames that are in the archive."""
        with self._transaction():
            link_video(self._connection, sha256, self._info.dim)

    def track(self, item: int) -> list[int]:
        """Everybody on the track of a person, in order of time; nobody where there is none."""
        with sqlite_errors(self._folder):
            return items_of_track(self._connection, item)

    def note(self, key: str) -> str | None:
        """A text that is kept with the stamp, or ``None``."""
        with sqlite_errors(self._folder):
            row = self._connection.execute(
                "SELECT value FROM meta WHERE key = ?", (f"note:{key}",)
            ).fetchone()
        return row[0] if row else None

    def write_note(self, key: str, text: str) -> None:
        """Keep a text with the stamp; an older one of this key is replaced."""
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"note:{key}", text)
            )

    def add(self, scene: SceneRecord, people: Detections) -> None:
        """Add a scene and its people in one transaction; its earlier state is replaced."""
        check_embeddings(people.embeddings, self._info.dim)
        clock: tuple[float | None, float | None] = (None, None)
        if scene.time is not None:
            clock = (instant(scene.time), second_of_day(scene.time))
        with self._transaction():
            old = self._connection.execute(
                "SELECT id FROM scenes WHERE path = ? AND frame = ?", (scene.path, scene.frame)
            ).fetchone()
            if old:
                self._erase("scenes", "id", old[0])
            marks = ", ".join("?" * (len(fields(SceneRecord)) + len(clock)))
            scene_id = self._connection.execute(
                f"INSERT INTO scenes ({_SCENE_COLUMNS}, instant, second_of_day) VALUES ({marks})",
                (*astuple(scene), *clock),
            ).lastrowid
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

    def remove(self, *, scenes: Sequence[str] = (), items: Sequence[int] = ()) -> int:
        """Erase scenes with their people, and single people, also from the log and free pages."""
        with self.writing():
            before = len(self)
            with self._transaction():
                for name in scenes:
                    self._connection.execute(
                        "DELETE FROM videos WHERE sha256 IN "
                        "(SELECT sha256 FROM scenes WHERE name = ?)",
                        (name,),
                    )
                    self._erase("scenes", "name", name)
                for item in items:
                    self._erase("people", "id", int(item))
            with sqlite_errors(self._folder):
                # The log still holds the pages as they were; a reader at work may delay this.
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            for backup in self._folder.glob(BACKUPS):  # of a migration; erased is erased there too
                backup.unlink()
            return before - len(self)

    def search(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """The ``top`` most similar people to each query, best first; ties by item."""
        with self._searching(embeddings, top):
            allowed = self._allowed(filters)
            best = nearest(self._matrix.blocks, embeddings, top, allowed)
            return [self._hits(*of_query) for of_query in best]

    def search_appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Appearance]]:
        """The ``top`` most similar appearances to each query, best first; ties by track."""
        with self._searching(embeddings, top):
            blocks, items = self._matrix.blocks, self._matrix.items
            groups = self._tracks.groups(self._connection, self._matrix, filters, self._allowed)
            best = groups.nearest(blocks, embeddings, top)
            return [
                [appearance(self._connection, found, items) for found in of_query]
                for of_query in best
            ]

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
    def _searching(self, embeddings: np.ndarray, top: int) -> Iterator[None]:
        """The matrix holds one state of the archive, and everything read inside is of it."""
        check_embeddings(embeddings, self._info.dim)
        if top < 1:
            raise UsageError(f"top must be at least 1, got {top}")
        with self._snapshot():
            if self._matrix.refresh(self._connection, self._own_changes):
                self._last_filters = None
                self._tracks.forget()
            yield

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Everything read inside is one state of the archive."""
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

    def _people(self, condition: str, value: int | str) -> list[ArchivedPerson]:
        with sqlite_errors(self._folder):
            rows = self._connection.execute(
                "SELECT people.id, name, x1, y1, x2, y2, score, embedding FROM people "
                f"JOIN scenes ON scenes.id = people.scene_id WHERE {condition} ORDER BY people.id",
                (value,),
            ).fetchall()
        return [
            ArchivedPerson(
                item,
                name,
                np.array(box, dtype=np.float32),
                score,
                np.frombuffer(embedding, dtype="<f4").astype(np.float32),
            )
            for item, name, *box, score, embedding in rows
        ]

    def _erase(self, table: str, column: str, value: str | int) -> None:
        self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (value,))
        self._connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'removals'")

    def _read_info(self) -> IndexInfo:
        meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        try:
            return IndexInfo(
                format_version=FORMAT_VERSION,
                model_hash=meta["model_hash"],
                dim=int(meta["dim"]),
                model=meta["model"],
                created=meta["created"],
                created_by=meta["created_by"],
            )
        except (KeyError, ValueError) as error:
            raise ArchiveError(f"{self._folder} is damaged: its stamp lacks {error}") from error

    def _allowed(self, filters: Filters) -> Bool[np.ndarray, " N"] | None:
        if filters == EVERYBODY:
            return None
        if self._last_filters and self._last_filters[0] == filters:
            return self._last_filters[1]
        conditions, arguments = filter_conditions(filters)
        # One text instead of a row each: half the time for a filter that most people pass.
        (passing,) = self._connection.execute(
            "SELECT group_concat(people.id) FROM scenes JOIN people ON scenes.id = people.scene_id "
            f"WHERE {conditions}",
            arguments,
        ).fetchone()
        items = np.fromstring(passing or "0", dtype=np.int64, sep=",")  # nobody is item 0
        allowed = np.isin(self._matrix.items, items)
        self._last_filters = (filters, allowed)
        return np.asarray(allowed)

    def _hits(
        self, rows: Int64[np.ndarray, " K"], similarities: Float64[np.ndarray, " K"]
    ) -> list[Hit]:
        items = self._matrix.items[rows].tolist()
        return [self._hit(*pair) for pair in zip(items, similarities.tolist(), strict=True)]

    def _hit(self, item: int, similarity: float) -> Hit:
        name, *box, score = self._connection.execute(
            "SELECT name, x1, y1, x2, y2, score FROM people "
            "JOIN scenes ON scenes.id = people.scene_id WHERE people.id = ?",
            (item,),
        ).fetchone()
        return Hit(
            scene=name,
            box=np.array(box, dtype=np.float32),
            similarity=similarity,
            score=score,
            item=item,
        )
