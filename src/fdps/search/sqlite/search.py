"""The searches of an archive in a folder: its embeddings in memory, and what filters leave of them.

Axes in shapes: N people, Q queries, K results, D embedding dimension.
"""

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fdps.errors import ArchiveError
from fdps.search.query.matrix import EmbeddingMatrix
from fdps.search.query.pooling import FoundRows
from fdps.search.query.ranking import nearest
from fdps.search.seals import scene_seal
from fdps.search.sqlite.filters import filter_conditions
from fdps.search.sqlite.tracks import TrackGroups, appearance
from fdps.search.store import EVERYBODY, Appearance, Filters
from fdps.structures import Hit


class SqliteSearch:
    """What a search needs beside the database. All methods are called within a read transaction.

    Args:
        connection: To the archive.
        folder: Of the archive, for messages.
        dim: D.

    Attributes:
        matrix: The embeddings.
    """

    def __init__(self, connection: sqlite3.Connection, folder: Path, dim: int) -> None:
        self._connection, self._folder = connection, folder
        self.matrix = EmbeddingMatrix(dim)
        self._whole: set[int] = set()  # scenes whose seal was compared
        self._last_filters: tuple[Filters, Bool[np.ndarray, " N"]] | None = None
        self._tracks = TrackGroups()

    def refresh(self, own_changes: int) -> None:
        """Bring everything up to the state that the connection sees.

        Args:
            own_changes: Commits through this connection.
        """
        if self.matrix.refresh(self._connection, own_changes):
            self._last_filters = None
            self._tracks.forget()
            self._whole.clear()

    def hits(
        self, embeddings: Float32[np.ndarray, "Q D"], top: int, filters: Filters
    ) -> list[list[Hit]]:
        """The most similar people to each query."""
        best = nearest(self.matrix.blocks, embeddings, top, self._allowed(filters))
        return [self._hits(*of_query) for of_query in best]

    def appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], top: int, filters: Filters
    ) -> list[list[Appearance]]:
        """The most similar appearances to each query."""
        groups = self._tracks.groups(self._connection, self.matrix, filters, self._allowed)
        best = groups.nearest(self.matrix.blocks, embeddings, top)
        return [[self._appearance(found) for found in of_query] for of_query in best]

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
        allowed = np.isin(self.matrix.items, items)
        self._last_filters = (filters, allowed)
        return np.asarray(allowed)

    def _hits(
        self, rows: Int64[np.ndarray, " K"], similarities: Float64[np.ndarray, " K"]
    ) -> list[Hit]:
        items = self.matrix.items[rows].tolist()
        return [self._hit(*pair) for pair in zip(items, similarities.tolist(), strict=True)]

    def _hit(self, item: int, similarity: float) -> Hit:
        row = self._connection.execute(
            "SELECT scenes.id, name, seal, x1, y1, x2, y2, score FROM people "
            "JOIN scenes ON scenes.id = people.scene_id WHERE people.id = ?",
            (item,),
        ).fetchone()
        if row is None or not self._is_whole(row[0], row[2]):
            raise ArchiveError(
                f"{self._folder} is damaged: item {item} is not what was added",
                hint="fdps archive verify names all that is damaged; remove it, then index again",
            )
        _, name, _, *box, score = row
        return Hit(
            scene=name,
            box=np.array(box, dtype=np.float32),
            similarity=similarity,
            score=score,
            item=item,
        )

    def _appearance(self, found: FoundRows) -> Appearance:
        one = appearance(self._connection, found, self.matrix.items)
        return replace(one, best=self._hit(one.best.item, one.best.similarity))

    def _is_whole(self, scene_id: int, seal: object) -> bool:
        """Nobody is shown on the word of a damaged row; each scene is compared once."""
        if scene_id not in self._whole and scene_seal(self._connection, scene_id) == seal:
            self._whole.add(scene_id)
        return scene_id in self._whole
