"""Galleries: the scenes that are searched for each query, and the boxes to find there.

Galleries are made for a block of queries at a time, all queries of the block at once.

Axes: B queries of a block, S scenes of the set, E gallery entries of the block, T boxes to find.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from jaxtyping import Bool, Float32, Int64

from fdps.errors import AnnotationError, UsageError
from fdps.evaluation.annotated import Annotated, annotations_of_queries
from fdps.evaluation.drawing import draw
from fdps.evaluation.nearby import Nearby
from fdps.evaluation.protocols import EvaluationOptions
from fdps.evaluation.ragged import ranges
from fdps.structures import Query, SceneSet


@dataclass(frozen=True, slots=True, eq=False)
class Galleries:
    """The galleries of a block of queries, query after query.

    Args:
        queries: Query of each entry, within the block; never falling.
        scenes: Scene row of each entry, in protocol order within a query.
        target_entries: Entry in which each box is to be found; never falling.
        target_boxes: The boxes, in pixels of their scene.
        n_entries: Entries of each query before near scenes were ignored; repeated ones count.
        n_relevant: What a perfect system would find, by the rules; may be 0.
    """

    queries: Int64[np.ndarray, " E"]
    scenes: Int64[np.ndarray, " E"]
    target_entries: Int64[np.ndarray, " T"]
    target_boxes: Float32[np.ndarray, "T 4"]
    n_entries: Int64[np.ndarray, " B"]
    n_relevant: Int64[np.ndarray, " B"]


@dataclass(frozen=True, slots=True, eq=False)
class _Listed:
    """Entries of a block, with the boxes that lists have for them.

    Args:
        queries: Query of each entry, within the block.
        scenes: Scene row of each entry.
        box_entries: Entry of each listed box, rising.
        boxes: The listed boxes.
    """

    queries: np.ndarray
    scenes: np.ndarray
    box_entries: np.ndarray
    boxes: np.ndarray

    def keep(self, kept: np.ndarray) -> "_Listed":
        """The entries that a mask chooses, and their boxes."""
        moved = np.cumsum(kept) - 1
        stays = kept[self.box_entries]
        return _Listed(
            self.queries[kept],
            self.scenes[kept],
            moved[self.box_entries[stays]],
            self.boxes[stays],
        )


class GalleryMaker:
    """Makes the galleries of a scene set.

    Args:
        scenes: The set.
        queries: Who is looked for: the queries of the set, or a list of them.
        annotated: The annotations of the set.
        options: Sizes, gaps, cameras and rules.

    Raises:
        UsageError: The options ask for cameras, frame numbers or times that a scene lacks.
        AnnotationError: A query names a scene that is not in the set.
    """

    def __init__(
        self,
        scenes: SceneSet,
        queries: Sequence[Query],
        annotated: Annotated,
        options: EvaluationOptions,
    ) -> None:
        self._row_of = {scene.name: row for row, scene in enumerate(scenes.scenes)}
        self._queries = queries
        self._sizes = tuple(name for name in scenes.query_lists if name.isdecimal())
        self._rules = options.followed
        self._options = options
        self._nearby = Nearby(scenes, options)
        self._of_queries = annotations_of_queries(annotated, queries)
        self._own = self._rows([query.scene for query in queries], None)

    def block(self, first: int, last: int) -> Galleries:
        """Make the galleries of the queries ``first`` to ``last - 1``.

        Raises:
            UsageError: A size is asked for that the lists of the data set do not have.
            AnnotationError: A list names a scene that is not in the set.
        """
        own, n = self._own[first:last], last - first
        entries = self._entries(first, last)
        searchable = self._nearby.searchable(own)
        if searchable is not None:
            entries = entries.keep(searchable[entries.queries, entries.scenes])
        n_entries = np.bincount(entries.queries, minlength=n).astype(np.int64)
        near = self._nearby.near(own)
        if near is not None:
            entries = entries.keep(~near[entries.queries, entries.scenes])
        if isinstance(self._options.gallery, int):
            entries, n_entries = self._drawn(entries, first, n_entries)
        target_entries, boxes = self._targets(entries, first, n)
        relevant = entries.queries[target_entries]
        counted = np.bincount(relevant, minlength=n)
        has_lists = any(query.gallery is not None for query in self._queries[first:last])
        if has_lists and self._rules.repeated_entries != "searched":
            is_new = _first_occurrences(entries, n, self._n_scenes)
            moved, stays = np.cumsum(is_new) - 1, is_new[target_entries]
            target_entries, boxes = moved[target_entries[stays]], boxes[stays]
            entries = entries.keep(is_new)
        if self._rules.repeated_entries == "once":
            counted = np.bincount(entries.queries[target_entries], minlength=n)
        return Galleries(
            queries=entries.queries,
            scenes=entries.scenes,
            target_entries=target_entries,
            target_boxes=boxes,
            n_entries=n_entries,
            n_relevant=counted.astype(np.int64),
        )

    @property
    def _n_scenes(self) -> int:
        return len(self._row_of)

    def _rows(self, names: Sequence[str], query: int | None) -> np.ndarray:
        """Scene rows of names; a name that is not in the set is reported with its query."""
        try:
            # Faster than a lookup per name in Python; one name alone would come without a tuple.
            rows = (
                itemgetter(*names)(self._row_of)
                if len(names) > 1
                else [*map(self._row_of.__getitem__, names)]
            )
            return np.array(rows, dtype=np.int64)
        except KeyError as error:
            position = next(i for i, name in enumerate(names) if name == error.args[0])
            raise AnnotationError(
                f"query {position if query is None else query} names scene {error.args[0]!r}, "
                f"which is not in the set"
            ) from None

    def _entries(self, first: int, last: int) -> _Listed:
        """Entries as the data set lists them, or every scene but the query's own."""
        queries, own = self._queries[first:last], self._own[first:last]
        if all(query.gallery is None for query in queries):
            everywhere = np.ones((len(queries), self._n_scenes), dtype=np.bool_)
            everywhere[np.arange(len(queries)), own] = False
            rows, scenes = np.nonzero(everywhere)
            return _Listed(rows, scenes, np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
        parts = [self._entries_of(query, first + i, int(own[i])) for i, query in enumerate(queries)]
        counts = np.array([len(part) for part in parts], dtype=np.int64)
        starts = np.cumsum(counts) - counts
        at, boxes = self._listed_boxes(queries, starts)
        listed = _Listed(
            np.repeat(np.arange(len(queries)), counts), np.concatenate(parts), at, boxes
        )
        if not self._rules.keep_own_scene:
            listed = listed.keep(listed.scenes != own[listed.queries])
        return listed

    def _entries_of(self, query: Query, index: int, own: int) -> np.ndarray:
        if query.gallery is None:
            return np.delete(np.arange(self._n_scenes), own)
        rows = self._rows(query.gallery, index)
        if self._options.gallery == "full":
            others = np.ones(self._n_scenes, dtype=np.bool_)
            others[rows] = others[own] = False
            return np.concatenate([rows, np.flatnonzero(others)])
        self._check_length(len(rows), index)
        return rows

    def _check_length(self, n_entries: int, query: int) -> None:
        wanted = self._options.gallery
        if wanted == "all" or wanted == n_entries or str(wanted) in self._sizes:
            return
        raise UsageError(
            f"gallery={wanted} was asked for, but the data set lists {n_entries} scenes "
            f"for query {query}",
            hint="use gallery 'all' to search the lists of the data set"
            + (f", or a size that it brings: {', '.join(self._sizes)}" if self._sizes else ""),
        )

    def _listed_boxes(
        self, queries: Sequence[Query], starts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        at, boxes = [], []
        for query, start in zip(queries, starts.tolist(), strict=True):
            listed = sorted((query.gallery_boxes or {}).items()) if query.gallery else []
            if listed and not 0 <= listed[0][0] <= listed[-1][0] < len(query.gallery or ()):
                raise AnnotationError(
                    f"a query in {query.scene!r} has a box at position {listed[-1][0]} of its "
                    f"gallery, which has {len(query.gallery or ())} entries"
                )
            at += [start + position for position, _ in listed]
            boxes += [box for _, box in listed]
        return np.array(at, dtype=np.int64), np.array(boxes, dtype=np.float32).reshape(-1, 4)

    def _drawn(
        self, entries: _Listed, first: int, n_entries: np.ndarray
    ) -> tuple[_Listed, np.ndarray]:
        """Draw the wanted number of scenes for each query without a list; lists stay whole."""
        n = len(n_entries)
        is_drawn = np.array([q.gallery is None for q in self._queries[first : first + n]])
        if not is_drawn.any():
            return entries, n_entries
        size = int(self._options.gallery)
        shows = np.zeros((n, self._n_scenes), dtype=np.bool_)
        queries, rows = self._sighted(first, n)
        shows[queries, self._of_queries.scenes[rows]] = True
        kept = draw(
            entries.queries,
            entries.scenes,
            shows[entries.queries, entries.scenes],
            first_query=first,
            size=size,
            seed=self._options.seed,
        )
        kept |= ~is_drawn[entries.queries]
        return entries.keep(kept), np.where(is_drawn, np.minimum(n_entries, size), n_entries)

    def _sighted(self, first: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Query and row of every sighting of the people of a block."""
        counts = self._of_queries.counts[first : first + n]
        starts = self._of_queries.starts[first : first + n]
        return np.repeat(np.arange(n), counts), ranges(starts, counts)

    def _targets(self, entries: _Listed, first: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The boxes to find: entry and box, by rising entry."""
        lists = [
            self._rules.trust_lists
            and query.gallery is not None
            and query.gallery_boxes is not None
            for query in self._queries[first : first + n]
        ]
        trusted = np.array(lists, dtype=np.bool_)
        queries, rows = self._sighted(first, n)
        if self._rules.people_per_scene == "first":
            is_first = self._of_queries.is_first[rows]
            queries, rows = queries[is_first], rows[is_first]
        here = queries * self._n_scenes + self._of_queries.scenes[rows]  # rising
        shown = np.zeros(n * self._n_scenes, dtype=np.bool_)
        shown[here] = True
        keys = entries.queries * self._n_scenes + entries.scenes
        showing = np.flatnonzero(shown[keys] & ~trusted[entries.queries])
        begin = np.searchsorted(here, keys[showing], side="left")
        counts = np.searchsorted(here, keys[showing], side="right") - begin
        by_list = trusted[entries.queries[entries.box_entries]]
        at = np.concatenate([np.repeat(showing, counts), entries.box_entries[by_list]])
        boxes = np.concatenate(
            [self._of_queries.boxes[rows[ranges(begin, counts)]], entries.boxes[by_list]]
        )
        rising = np.argsort(at, kind="stable")
        return at[rising], boxes[rising]


def _first_occurrences(entries: _Listed, n: int, n_scenes: int) -> Bool[np.ndarray, " E"]:
    """Mark the entries that name a scene for the first time in their query."""
    keys = entries.queries * n_scenes + entries.scenes
    earliest = np.full(n * n_scenes, -1, dtype=np.int64)
    earliest[keys[::-1]] = np.arange(len(keys))[::-1]  # of several assignments the last one holds
    return np.asarray(earliest[keys] == np.arange(len(keys)))
