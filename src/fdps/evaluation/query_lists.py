"""Choose the queries to evaluate: those of the scene set, or a further list that it brings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from fdps.errors import AnnotationError, UsageError
from fdps.evaluation.protocols import EvaluationOptions
from fdps.structures import Query, SceneSet

_MAX_APART_PX = 0.5  # lists may round boxes


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The queries to evaluate.

    Args:
        queries: With the galleries that hold.
        rows: Row of each among the queries of the scene set, and so of its embedding.
    """

    queries: tuple[Query, ...]
    rows: Int64[np.ndarray, " Q"]


def choose_queries(scenes: SceneSet, options: EvaluationOptions) -> Chosen:
    """Take the list that the options name.

    Raises:
        UsageError: The set brings no list of that name.
        AnnotationError: A list looks for somebody who is not among the queries of the set.
    """
    queries, lists = scenes.queries, scenes.query_lists
    rows = np.arange(len(queries))
    size = str(options.gallery)
    sizes = [name for name in lists if name.isdecimal()]
    if size == "full" and sizes:
        size = min(sizes, key=int)  # the public code starts from the shortest lists
    if size in sizes:
        queries = _same_people(lists[size], scenes, size)
    if options.subset is None:
        return Chosen(queries, rows)
    names = [name for name in lists if not name.isdecimal()]
    if options.subset not in names:
        raise UsageError(
            f"{scenes.name} has no subset of queries {options.subset!r}",
            hint=f"it has: {', '.join(names)}" if names else "it has none at all",
        )
    listed = lists[options.subset]()
    rows = _rows(listed, scenes, options.subset)
    chosen = tuple(
        query if query.gallery is not None else _with_gallery_of(query, queries[row])
        for query, row in zip(listed, rows.tolist(), strict=True)
    )
    return Chosen(chosen, rows)


def _with_gallery_of(query: Query, other: Query) -> Query:
    return replace(query, gallery=other.gallery, gallery_boxes=other.gallery_boxes)


def _same_people(
    read: Callable[[], tuple[Query, ...]], scenes: SceneSet, name: str
) -> tuple[Query, ...]:
    """A list of another gallery size, which must have the same queries in the same order."""
    listed = read()
    if len(listed) != len(scenes.queries):
        raise AnnotationError(
            f"query list {name!r} of {scenes.name} has {len(listed)} queries, "
            f"the set has {len(scenes.queries)}"
        )
    for row, (theirs, ours) in enumerate(zip(listed, scenes.queries, strict=True)):
        if (theirs.scene, theirs.person_id) != (ours.scene, ours.person_id):
            raise AnnotationError(
                f"query list {name!r} of {scenes.name} looks for person {theirs.person_id} in "
                f"{theirs.scene!r} at row {row}, the set for person {ours.person_id} in "
                f"{ours.scene!r}"
            )
    return listed


def in_list(scenes: SceneSet, name: str) -> Bool[np.ndarray, " M"] | None:
    """Mark the queries that a further list of the set names; ``None`` if there is no such list.

    Whom the list names beyond them does not matter here.
    """
    if name not in scenes.query_lists:
        return None
    rows = _find(scenes.query_lists[name](), scenes)
    named = np.zeros(len(scenes.queries), dtype=np.bool_)
    named[rows[rows >= 0]] = True
    return named


def _rows(listed: Sequence[Query], scenes: SceneSet, name: str) -> np.ndarray:
    """Find each query of a list among the queries of the set, which has to have it."""
    rows = _find(listed, scenes)
    missing = np.flatnonzero(rows < 0)
    if missing.size:
        query = listed[int(missing[0])]
        raise AnnotationError(
            f"query list {name!r} of {scenes.name} looks for person {query.person_id} in "
            f"{query.scene!r} at {query.box.tolist()}, who is not among its queries",
            hint="predict and evaluate with that list as the queries of the set",
        )
    return rows


def _find(listed: Sequence[Query], scenes: SceneSet) -> Int64[np.ndarray, " Q"]:
    """Row of each query of a list among the queries of the set, or -1."""
    known: dict[tuple[str, int], list[int]] = {}
    for row, query in enumerate(scenes.queries):
        known.setdefault((query.scene, query.person_id), []).append(row)

    def find(query: Query) -> int:
        for row in known.get((query.scene, query.person_id), []):
            if np.abs(scenes.queries[row].box - query.box).max() <= _MAX_APART_PX:
                return row
        return -1

    return np.array([find(query) for query in listed], dtype=np.int64)
