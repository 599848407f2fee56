"""Search an archive: its embeddings in memory, what filters leave of them, and what is shown.

Axes in shapes: N people, Q queries, K results, D embedding dimension.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fdps.errors import ArchiveError
from fdps.search.database import Database
from fdps.search.query.matrix import EmbeddingMatrix
from fdps.search.query.pooling import FoundRows
from fdps.search.query.ranking import Best, nearest, nearest_and_counts, similarity_counts
from fdps.search.seals import SCENE, scene_seals
from fdps.search.sql.filters import filter_conditions
from fdps.search.sql.tracks import TrackGroups, appearance
from fdps.search.store import EVERYBODY, Appearance, Filters, SceneRecord
from fdps.structures import Hit

KEPT_FILTERS = 8
"""Filters of which it is remembered who passes; several users may ask by turns."""

_END = 1 + len(fields(SceneRecord))  # end of the columns of a sealed scene that are its record


class BestPeople(NamedTuple):
    """The best people for one query: highest similarity first, equal ones by item."""

    items: Int64[np.ndarray, " K"]
    similarities: Float64[np.ndarray, " K"]


class SqlSearch:
    """The state of a search beside the database. All methods are called in a read transaction.

    Args:
        database: The archive.
        where: The archive, for messages.
        dim: D, the length of an embedding.

    Attributes:
        matrix: The embeddings of the archive.
    """

    def __init__(self, database: Database, where: str, dim: int) -> None:
        self._database, self._where = database, where
        self.matrix = EmbeddingMatrix(dim)
        self._whole: set[tuple[int, bytes]] = set()  # scenes whose seal was compared
        self._allowed_by: OrderedDict[Filters, Bool[np.ndarray, " N"]] = OrderedDict()
        self._tracks = TrackGroups()

    def refresh(self, state: object = None) -> None:
        """Bring everything in memory up to the state that the database shows.

        Args:
            state: As for :meth:`EmbeddingMatrix.refresh`.
        """
        if self.matrix.refresh(self._database, state):
            self._allowed_by.clear()
            self._tracks.forget()
            self._whole.clear()

    def hits(
        self, embeddings: Float32[np.ndarray, "Q D"], top: int, filters: Filters
    ) -> list[list[Hit]]:
        """Return the most similar people to each query."""
        allowed, codes = self._allowed(filters), self.matrix.codes()
        best = nearest(self.matrix.blocks, embeddings, top, allowed, codes)
        return self.shown(self._people(best))

    def hits_and_counts(
        self, embeddings: Float32[np.ndarray, "Q D"], top: int, n_bins: int, filters: Filters
    ) -> tuple[list[list[Hit]], Int64[np.ndarray, "Q _"]]:
        """Return the most similar people to each query, and how similar everybody is."""
        allowed = self._allowed(filters)
        best, counts = nearest_and_counts(
            self.matrix.blocks, embeddings, top, n_bins, allowed, self.matrix.codes()
        )
        return self.shown(self._people(best)), counts

    def counts(
        self, embeddings: Float32[np.ndarray, "Q D"], n_bins: int, filters: Filters
    ) -> Int64[np.ndarray, "Q _"]:
        """Count everybody who passes the filters by their similarity to each query."""
        return similarity_counts(self.matrix.blocks, embeddings, n_bins, self._allowed(filters))

    def appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], top: int, filters: Filters
    ) -> list[list[Appearance]]:
        """Return the most similar appearances to each query."""
        groups = self._tracks.groups(self._database, self.matrix, filters, self._allowed)
        return self._appearances(groups.nearest(self.matrix.blocks, embeddings, top))

    def _allowed(self, filters: Filters) -> Bool[np.ndarray, " N"] | None:
        if filters == EVERYBODY:
            return None
        if filters in self._allowed_by:
            self._allowed_by.move_to_end(filters)
            return self._allowed_by[filters]
        conditions, values = filter_conditions(self._database, filters)
        (items,) = self._database.numbers(
            ("people.id",),
            f"FROM scenes JOIN people ON scenes.id = people.scene_id WHERE {conditions}",
            values,
        )
        allowed = self._allowed_by[filters] = np.isin(self.matrix.items, items)
        if len(self._allowed_by) > KEPT_FILTERS:
            self._allowed_by.popitem(last=False)
        return allowed

    def _people(self, found: Sequence[Best]) -> list[BestPeople]:
        return [BestPeople(self.matrix.items[best.rows], best.similarities) for best in found]

    def shown(self, found: Sequence[BestPeople]) -> list[list[Hit]]:
        """Read the people of all queries in one statement, and those of unseen scenes in another.

        Nobody is shown on the word of a damaged row, so the seal of each scene is compared once.

        Raises:
            ArchiveError: Somebody is not what was added.
        """
        items = sorted({item for best in found for item in best.items.tolist()})
        among, value = self._database.one_of(items)
        rows = {
            item: (box, scene, seal)
            for item, *box, seal, scene in (
                (*row[:7], row[7:])
                for row in self._database.execute(
                    f"SELECT people.id, x1, y1, x2, y2, score, seal, {SCENE} FROM people "
                    f"JOIN scenes ON scenes.id = people.scene_id WHERE people.id {among}",
                    (value,),
                )
            )
        }
        whole = self._compared({scene[0]: (scene, seal) for _, scene, seal in rows.values()})
        for item in items:
            if item not in rows or rows[item][1][0] not in whole:
                raise ArchiveError(
                    f"{self._where} is damaged: item {item} is not what was added",
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

        return [list(map(hit, best.items.tolist(), best.similarities.tolist())) for best in found]

    def _compared(self, scenes: dict[int, tuple[tuple[object, ...], bytes]]) -> set[int]:
        """Compare the seals of scenes that were not seen before; return the scenes that are whole.

        Args:
            scenes: Rows of scenes and their seals, by number.
        """
        unseen = {
            number: scene
            for number, (scene, seal) in scenes.items()
            if (number, seal) not in self._whole
        }
        if unseen:
            seals = scene_seals(self._database, list(unseen.values()))
            self._whole |= {(n, scenes[n][1]) for n in unseen if seals[n] == scenes[n][1]}
        return {number for number, (_, seal) in scenes.items() if (number, seal) in self._whole}

    def _appearances(self, found: Sequence[Sequence[FoundRows]]) -> list[list[Appearance]]:
        read = [
            [appearance(self._database, one, self.matrix.items) for one in of_query]
            for of_query in found
        ]
        places = [
            BestPeople(
                np.array([one.best.item for one in of_query], dtype=np.int64),
                np.array([one.best.similarity for one in of_query], dtype=np.float64),
            )
            for of_query in read
        ]
        return [
            [replace(one, best=hit) for one, hit in zip(of_query, hits, strict=True)]
            for of_query, hits in zip(read, self.shown(places), strict=True)
        ]
