"""Similarities of a block of queries, each row the gallery of one query in gallery order.

Axes: B queries, N detections of the set, D embedding dimension, W detections in the largest
gallery of the block, E gallery entries, T boxes to find, C candidates.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, Integer

from fdps.boxes import iou_of_pairs
from fdps.evaluation.galleries import Galleries
from fdps.evaluation.grouping import GroupedDetections
from fdps.evaluation.matching import search_iou
from fdps.evaluation.ragged import best_of_groups

_SPARSE = 0.03  # up to this share single inner products are cheaper than a matrix product
_PICKED = 512


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The similarities of queries to detections, and the detection behind each of them.

    Args:
        similarity: Similarity of each detection of the gallery; minus infinity in columns
            that are not used.
        columns: Detection of each column, -1 where there is none.
        entry_starts: Column at which the detections of each gallery entry begin.
    """

    similarity: Float32[np.ndarray, "B W"]
    columns: Integer[np.ndarray, "B W"]
    entry_starts: Int64[np.ndarray, " E"]

    def detections(
        self, rows: Integer[np.ndarray, " P"], columns: Integer[np.ndarray, " P"]
    ) -> Int64[np.ndarray, " P"]:
        """Return the detections that stand at places of the table."""
        return np.asarray(self.columns[rows, columns], dtype=np.int64)


def similarities(
    queries: Float[np.ndarray, "Q D"],
    embeddings: Float[np.ndarray, "N D"],
    weights: Float32[np.ndarray, " N"] | None = None,
) -> Float32[np.ndarray, "Q N"]:
    """Inner products, optionally times a weight per column.

    They are computed in float64 and rounded: a matrix product may round equal rows differently,
    and two equal embeddings must tie on every machine.
    """
    product = np.asarray(queries, np.float64) @ np.asarray(embeddings, np.float64).T
    if weights is not None:
        product *= weights
    return product.astype(np.float32)


def picked_similarities(
    queries: Float[np.ndarray, "Q D"],
    embeddings: Float[np.ndarray, "N D"],
    rows: Integer[np.ndarray, " P"],
    columns: Integer[np.ndarray, " P"],
) -> Float64[np.ndarray, " P"]:
    """Inner products of chosen pairs, for galleries that are a small part of the set.

    Args:
        queries: Embeddings of the block.
        embeddings: Those of the detections.
        rows: Query of each pair; never falling.
        columns: Detection of each pair.
    """
    wanted, product = np.asarray(queries, np.float64), np.empty(len(rows))
    buffer = np.empty((_PICKED, embeddings.shape[1]), embeddings.dtype)
    exact = np.empty(buffer.shape)
    for first in range(0, len(rows), _PICKED):
        near = rows[first : first + _PICKED]
        picked, widened = buffer[: len(near)], exact[: len(near)]  # stay in the cache of a core
        np.take(embeddings, columns[first : first + _PICKED], axis=0, out=picked, mode="clip")
        np.copyto(widened, picked)
        several = widened @ wanted[near[0] : near[-1] + 1].T
        product[first : first + _PICKED] = several[np.arange(len(near)), near - near[0]]
    return product


def table_of(
    queries: Float[np.ndarray, "B D"],
    galleries: Galleries,
    found: GroupedDetections,
    embeddings: Float64[np.ndarray, "N D"],
    weights: Float32[np.ndarray, " N"] | None = None,
) -> Table:
    """Put the similarities of each gallery's detections into a row, entry after entry.

    Args:
        queries: Embeddings of the block.
        galleries: What is searched.
        found: The detections of the set.
        embeddings: Those of the detections, in float64.
        weights: Factor of each detection, if there is one.
    """
    n, detections = len(queries), found.of_many(galleries.scenes)
    rows = np.repeat(galleries.queries, found.counts(galleries.scenes))
    if len(detections) <= _SPARSE * n * len(found):
        product = picked_similarities(queries, found.embeddings, rows, detections)
        values = product if weights is None else product * weights[detections]
    else:
        similarity = similarities(queries, embeddings, weights)
        values = similarity.ravel().take(rows * len(found) + detections)
    return lay_out(galleries, found, values)


def lay_out(
    galleries: Galleries, found: GroupedDetections, values: Float[np.ndarray, " P"]
) -> Table:
    """Put given similarities into a table, a row for each query.

    Args:
        galleries: What is searched.
        found: The detections of the set.
        values: Of the detections of every gallery entry, entry after entry.
    """
    n, counts = len(galleries.n_relevant), found.counts(galleries.scenes)
    before = np.concatenate([[0], np.cumsum(counts)])
    first_entry = np.searchsorted(galleries.queries, np.arange(n + 1))
    starts = before[:-1] - before[first_entry[:-1]][galleries.queries]
    widths = np.diff(before[first_entry])
    used = np.arange(int(widths.max(initial=0))) < widths[:, None]
    laid_out = np.full(used.shape, -np.inf, dtype=np.float32)
    laid_out[used] = values  # a mask takes row after row, as the values are
    names = np.full(used.shape, -1, dtype=np.int32)
    names[used] = found.of_many(galleries.scenes)
    return Table(laid_out, names, starts.astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Detections that overlap a box to find enough to be the right hit.

    Args:
        targets: Box to find; never falling.
        rows: Row of the table.
        columns: Column of the table.
    """

    targets: Int64[np.ndarray, " C"]
    rows: Int64[np.ndarray, " C"]
    columns: Int64[np.ndarray, " C"]


def find_candidates(galleries: Galleries, found: GroupedDetections, table: Table) -> Candidates:
    """Find the detections that overlap each box to find; none of them serves two boxes.

    Where a person is to be found twice in an entry, a detection stands for the box that it
    overlaps most, the first one on a tie.
    """
    entries = galleries.target_entries
    scenes = galleries.scenes[entries]
    counts = found.counts(scenes)
    targets = np.repeat(np.arange(len(entries)), counts)
    detections = found.of_many(scenes)
    overlap = iou_of_pairs(found.boxes[detections], galleries.target_boxes[targets])
    columns = table.entry_starts[entries][targets] + detections - found.starts[scenes][targets]
    rows = galleries.queries[entries][targets]
    enough = overlap >= search_iou(galleries.target_boxes)[targets]
    if (np.diff(entries) == 0).any():
        width = max(table.similarity.shape[1], 1)
        best = best_of_groups(rows * width + columns, overlap, -targets)
        is_best = np.zeros(len(targets), dtype=np.bool_)
        is_best[best] = True
        enough &= is_best
    return Candidates(targets[enough], rows[enough], columns[enough])


def right_hits(
    table: Table, candidates: Candidates
) -> tuple[Int64[np.ndarray, " K"], Int64[np.ndarray, " K"]]:
    """Choose the most similar candidate for each box; of equal ones the later detection.

    Returns:
        Rows and columns of the table; rows never fall.
    """
    value = table.similarity[candidates.rows, candidates.columns]
    best = best_of_groups(candidates.targets, value, candidates.columns)
    return candidates.rows[best], candidates.columns[best]


def mark(table: Table, rows: np.ndarray, columns: np.ndarray) -> Bool[np.ndarray, "B W"]:
    """A table that is true in these places."""
    marked = np.zeros(table.similarity.shape, dtype=np.bool_)
    marked[rows, columns] = True
    return marked
