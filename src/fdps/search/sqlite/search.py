"""Search an archive in a folder: its embeddings in memory, and what filters leave of them.

Axes in shapes: N people, Q queries, K results, D embedding dimension.
"""

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64

from fdps.errors import ArchiveError
from fdps.search.query.matrix import EmbeddingMatrix
from fdps.search.query.pooling import FoundRows
from fdps.search.query.ranking import (
    Best,
    nearest,
    nearest_and_counts,
    similarity_counts,
)
from fdps.search.seals import SCENE, scene_seals
from fdps.search.sqlite.filters import filter_conditions
from fdps.search.sqlite.tracks import TrackGroups, appearance
from fdps.search.store import EVERYBODY, Appearance, Filters, SceneRecord
from fdps.structures import Hit

KEPT_FILTERS = 8
"""Filters of which it is remembered who passes; several users may ask by turns."""

_END = 1 + len(fields(SceneRecord))  # end of the columns of a sealed scene that are its record


class SqliteSearch:
    """The state of a search beside the database. All methods are called in a read transaction.

    Args:
        connection: Connection to the archive.
        folder: Folder of the archive, for messages.
        dim: D, the length of an embedding.

    Attributes:
        matrix: The embeddings of the archive.
    """

    def __init__(self, connection: sqlite3.Connection, folder: Path, dim: int) -> None:
        self._connection, self._folder = connection, folder
        self.matrix = EmbeddingMatrix(dim)
        self._whole: set[int] = set()  # scenes whose seal was compared
        self._allowed_by: OrderedDict[Filters, Bool[np.ndarray, " N"]] = OrderedDict()
        self._tracks = TrackGroups()

    def refresh(self, own_changes: int) -> None:
        """Bring everything up to the state that the connection sees.

        Args:
            own_changes: Number of commits through this connection.
        """
        if self.matrix.refresh(self._connection, own_changes):
            self._allowed_by.clear()
            self._tracks.forget()
            self._whole.clear()

    def hits(
        self, embeddings: Float32[np.ndarray, "Q D"], top: int, filters: Filters
    ) -> list[list[Hit]]:
        """Return the most similar people to each query."""
        return self._hits(nearest(self.matrix.blocks, embeddings, top, self._allowed(filters)))

    def hits_and_counts(
        self, embeddings: Float32[np.ndarray, "Q D"], top: int, n_bins: int, filters: Filters
    ) -> tuple[list[list[Hit]], Int64[np.ndarray, "Q _"]]:
        """Return the most similar people to each query, and how similar everybody is."""
        allowed = self._allowed(filters)
        best, counts = nearest_and_counts(self.matrix.blocks, embeddings, top, n_bins, allowed)
        return self._hits(best), counts

    def counts(
        self, embeddings: Float32[np.ndarray, "Q D"], n_bins: int, filters: Filters
    ) -> Int64[np.ndarray, "Q _"]:
        """Count everybody who passes the filters by their similarity to each query."""
        return similarity_counts(self.matrix.blocks, embeddings, n_bins, self._allowed(filters))

    def appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], top: int, filters: Filters
    ) -> list[list[Appearance]]:
        """Return the most similar appearances to each query."""
        groups = self._tracks.groups(self._connection, self.matrix, filters, self._allowed)
        return self._appearances(groups.nearest(self.matrix.blocks, embeddings, top))

    def _allowed(self, filters: Filters) -> Bool[np.ndarray, " N"] | None:
        if filters == EVERYBODY:
            return None
        if filters in self._allowed_by:
            self._allowed_by.move_to_end(filters)
            return self._allowed_by[filters]
        conditions, arguments = filter_conditions(filters)
        # One text instead of a row each takes half the time for a filter that most people pass.
        (passing,) = self._connection.execute(
            "SELECT group_concat(people.id) FROM scenes JOIN people ON scenes.id = people.scene_id "
            f"WHERE {conditions}",
            arguments,
        ).fetchone()
        items = np.fromstring(passing or "0", dtype=np.int64, sep=",")  # nobody is item 0
        allowed = self._allowed_by[filters] = np.isin(self.matrix.items, items)
        if len(self._allowed_by) > KEPT_FILTERS:
            self._allowed_by.popitem(last=False)
        return allowed

    def _hits(self, found: Sequence[Best]) -> list[list[Hit]]:
        """Read the people of all queries in one statement, and those of unseen scenes in another.

        Nobody is shown on the word of a damaged row, so the seal of each scene is compared once.
        """
        items = sorted({item for best in found for item in self.matrix.items[best.rows].tolist()})
        rows = {
            item: (box, scene, seal)
            for item, *box, seal, scene in (
                (*row[:7], row[7:])
                for row in self._connection.execute(
                    f"SELECT people.id, x1, y1, x2, y2, score, seal, {SCENE} FROM people "
                    "JOIN scenes ON scenes.id = people.scene_id "
                    "WHERE people.id IN (SELECT value FROM json_each(?))",
                    (json.dumps(items),),
                )
            )
        }
        unseen = {
            scene[0]: (scene, seal)
            for _, scene, seal in rows.values()
            if scene[0] not in self._whole
        }
        if unseen:
            seals = scene_seals(self._connection, [scene for scene, _ in unseen.values()])
            self._whole |= {number for number, (_, seal) in unseen.items() if seals[number] == seal}
        for item in items:
            if item not in rows or rows[item][1][0] not in self._whole:
                raise ArchiveError(
                    f"{self._folder} is damaged: item {item} is not what was added",
                    hint="fdps archive verify names all that is damaged; remove it, then index "
                    "again",
                )
        records = {scene[0]: SceneRecord(*scene[1:_END]) for _, scene, _ in rows.values()}

        def hit(item: int, similarity: float) -> Hit:
            (*box, score), scene, _ = rows[item]
            record = records[scene[0]]
            return Hit(
                scene=record.name,
                box=np.array(box, dtype=np.float32),
                similarity=similarity,
                score=score,
                item=item,
                record=record,
            )

        return [
            list(map(hit, self.matrix.items[best.rows].tolist(), best.similarities.tolist()))
            for best in found
        ]

    def _appearances(self, found: Sequence[Sequence[FoundRows]]) -> list[list[Appearance]]:
        read = [
            [appearance(self._connection, one, self.matrix.items) for one in of_query]
            for of_query in found
        ]
        places = [
            Best(
                np.searchsorted(self.matrix.items, [one.best.item for one in of_query]),
                np.array([one.best.similarity for one in of_query], dtype=np.float64),
            )
            for of_query in read
        ]
        return [
            [replace(one, best=hit) for one, hit in zip(of_query, hits, strict=True)]
            for of_query, hits in zip(read, self._hits(places), strict=True)
        ]
