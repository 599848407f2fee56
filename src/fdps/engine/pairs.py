"""Run a pair-wise model over queries and gallery pictures: the first half of its evaluation.

The pictures are the outer loop: what all pairs with a picture share is computed once, and of the
queries it is kept in memory, so many at once. What is done is written every few pictures, so that
who is interrupted goes on from there.

Axes: K queries, S scenes.
"""

import hashlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from fdps.errors import FdpsError, UsageError
from fdps.evaluation import EvaluationOptions
from fdps.evaluation.pairwise.pairs_file import PairPredictions, joined, load_pairs, save_pairs
from fdps.evaluation.query_lists import Chosen, choose_queries
from fdps.pictures import read_picture
from fdps.predictions import data_hash
from fdps.structures import Boxes, Compared, Detections, Embedder, PairEmbedder, Picture, SceneSet

N_QUERIES = 30  # of PRW-mini
SCENES_PER_PART = 16
QUERIES_AT_ONCE = 64  # each keeps a map of some 20 MB at the size of the paper
_VERSIONED = ("fdps", "numpy", "torch", "torchvision")


class InnerProducts:
    """An embedder that needs no pairs, compared pair by pair: what the loop does to its figures.

    Args:
        embedder: Finds and embeds people.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.model_hash, self.dim = embedder.model_hash, embedder.dim

    def detect(self, image: Picture) -> Detections:
        """Find and embed everybody."""
        return self._embedder.detect(image)

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Embed given people."""
        return self._embedder.embed(image, boxes)

    def sought(self, image: Picture, box: Float32[np.ndarray, " 4"]) -> Float32[np.ndarray, " D"]:
        """Embed a query."""
        embedding: Float32[np.ndarray, " D"] = self._embedder.embed(image, box[None])[0]
        return embedding

    def begun(self, image: Picture) -> Detections:
        """Find and embed the people of a picture."""
        return self._embedder.detect(image)

    def compare(self, sought: Float32[np.ndarray, " D"], begun: Detections) -> Compared:
        """Compare by inner products, rounded as in every search of fdps."""
        product = begun.embeddings.astype(np.float64) @ sought.astype(np.float64)
        return Compared(begun.boxes, begun.scores, product.astype(np.float32))


def as_pairwise(embedder: Embedder) -> PairEmbedder:
    """Return the embedder itself if it looks at pairs, and its inner products otherwise."""
    return embedder if isinstance(embedder, PairEmbedder) else InnerProducts(embedder)


def choose_sought(
    scenes: SceneSet, *, subset: str | None = None, n_queries: int | None = None, seed: int = 0
) -> Chosen:
    """Choose the queries that are compared: a list of the data set, so many drawn ones, or all.

    Args:
        scenes: The data set.
        subset: Name of a list, such as ``mini``.
        n_queries: How many are drawn; all where there are fewer.
        seed: Seed of the draw.

    Returns:
        Queries with their galleries, by rising row.

    Raises:
        UsageError: Both ways are chosen, the data set has no such list or no query, or the number
            is below 1.
        AnnotationError: The list looks for somebody who is not among the queries of the set.
    """
    if subset is not None and n_queries is not None:
        raise UsageError("a list of queries and a number of them exclude each other")
    if n_queries is not None and n_queries < 1:
        raise UsageError(f"the number of queries must be at least 1, got {n_queries}")
    if not scenes.queries:
        raise UsageError(f"{scenes.name} has no queries, so there are no pairs")
    chosen = choose_queries(scenes, EvaluationOptions(subset=subset))
    order = np.unique(chosen.rows, return_index=True)[1]
    if n_queries is not None:
        order = np.sort(np.random.default_rng(seed).permutation(order)[:n_queries])
    return Chosen(tuple(chosen.queries[place] for place in order), chosen.rows[order])


def predict_pairs(
    embedder: PairEmbedder,
    scenes: SceneSet,
    chosen: Chosen,
    progress: Callable[[int, int], None] | None = None,
    *,
    kept: Path | None = None,
) -> PairPredictions:
    """Look for every query in every picture of its gallery, and once for nobody in particular.

    The gallery of a query is its list, else every scene but its own.

    Args:
        embedder: A network that looks at pairs, or :class:`InnerProducts`.
        scenes: Scenes to look at.
        chosen: Whom to look for, from :func:`choose_sought`.
        progress: Called after every picture with the number of pictures done and their total;
            a picture counts once for every :data:`QUERIES_AT_ONCE` queries.
        kept: Folder for what is done; what lies there of the same weights, queries and annotations
            is not computed again. Whoever calls removes it, once what is returned is on the disk.

    Raises:
        MissingDataError: A picture is not there.
        PictureError: A picture cannot be decoded.
        UsageError: The box of a query has no area inside its picture.
    """
    loop = _Loop(embedder, scenes, chosen)
    groups = [*_cuts(len(chosen.rows), QUERIES_AT_ONCE)]
    pieces = [*_cuts(len(scenes), SCENES_PER_PART)]
    total, done = len(groups) * len(scenes), 0
    parts = [loop.nothing()]
    for number, group in enumerate(groups):
        sought: list[Any] | None = None
        for piece in pieces:
            file = kept and kept / f"{group.start:05d}-{piece.start:06d}.safetensors"
            part = _found(file, loop.nothing(), loop.wanted(group, piece))
            if part is None:
                sought = loop.sought(group) if sought is None else sought
                part = loop.part(group, sought, piece, is_first=number == 0)
                if file is not None:
                    save_pairs(part, file)
            parts.append(part)
            done += len(piece)
            if progress is not None:
                progress(done, total)
    return joined(parts)


def name_of_work(embedder: PairEmbedder, scenes: SceneSet, chosen: Chosen) -> str:
    """Return eight digits for the weights, annotations and queries of a prediction.

    They keep what is done of one apart from what is done of another in the same place.
    """
    digest = hashlib.sha256(f"{embedder.model_hash} {data_hash(scenes)} ".encode())
    digest.update(chosen.rows.tobytes())
    return digest.hexdigest()[:8]


class _Loop:
    """The loop over pictures and queries."""

    def __init__(self, embedder: PairEmbedder, scenes: SceneSet, chosen: Chosen) -> None:
        self._embedder, self._scenes, self._chosen = embedder, scenes, chosen
        self._path_of = {scene.name: scene.path for scene in scenes.scenes}
        self._wanted = _wanted(scenes, chosen)
        self._data_hash, self._seconds_sought = data_hash(scenes), 0.0

    def nothing(self) -> PairPredictions:
        """Return what there is before the first picture."""
        return self._gathered([], [], np.zeros_like(self._wanted), 0.0, 0.0)

    def wanted(self, group: range, piece: range) -> Bool[np.ndarray, "K S"]:
        """Return the pairs of some queries with some scenes."""
        some = np.zeros_like(self._wanted)
        here = (slice(group.start, group.stop), slice(piece.start, piece.stop))
        some[here] = self._wanted[here]
        return some

    def sought(self, group: range) -> list[Any]:
        """Compute what all pairs with the queries of a group share."""
        prepared = []
        for place in group:
            query = self._chosen.queries[place]
            image = read_picture(self._path_of[query.scene])
            began = perf_counter()
            prepared.append(self._embedder.sought(image, query.box))
            self._seconds_sought += perf_counter() - began
        return prepared

    def part(
        self, group: range, sought: list[Any], piece: range, *, is_first: bool
    ) -> PairPredictions:
        """Compare the queries of a group with some pictures."""
        found: list[tuple[int, int, Compared]] = []
        plain: list[tuple[int, Detections]] = []
        seconds_pairs, seconds_pictures = self._seconds_sought, 0.0
        self._seconds_sought = 0.0  # the first part of a group bears it
        for scene in piece:
            image = read_picture(self._scenes.scenes[scene].path)
            if is_first:
                began = perf_counter()
                plain.append((scene, self._embedder.detect(image)))
                seconds_pictures += perf_counter() - began
            places = [place for place in group if self._wanted[place, scene]]
            began = perf_counter()
            begun = self._embedder.begun(image) if places else None
            for place in places:
                pair = self._embedder.compare(sought[place - group.start], begun)
                found.append((place, scene, pair))
            seconds_pairs += perf_counter() - began
        compared = self.wanted(group, piece)
        return self._gathered(found, plain, compared, seconds_pairs, seconds_pictures)

    def _gathered(
        self,
        found: list[tuple[int, int, Compared]],
        plain: list[tuple[int, Detections]],
        compared: Bool[np.ndarray, "K S"],
        seconds_pairs: float,
        seconds_pictures: float,
    ) -> PairPredictions:
        boxes, none = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.float32)
        counts = [len(pair) for _, _, pair in found]
        return PairPredictions(
            scenes=tuple(scene.name for scene in self._scenes.scenes),
            queries=self._chosen.rows,
            compared=compared,
            boxes=np.concatenate([boxes, *(pair.boxes for _, _, pair in found)]),
            scores=np.concatenate([none, *(pair.scores for _, _, pair in found)]),
            similarities=np.concatenate([none, *(pair.similarities for _, _, pair in found)]),
            query=np.repeat([place for place, _, _ in found], counts).astype(np.int64),
            scene=np.repeat([scene for _, scene, _ in found], counts).astype(np.int64),
            plain_boxes=np.concatenate([boxes, *(people.boxes for _, people in plain)]),
            plain_scores=np.concatenate([none, *(people.scores for _, people in plain)]),
            plain_scene=np.repeat(
                [scene for scene, _ in plain], [len(people) for _, people in plain]
            ).astype(np.int64),
            model_hash=self._embedder.model_hash,
            data_hash=self._data_hash,
            seconds_pairs=seconds_pairs,
            seconds_pictures=seconds_pictures,
            versions={name: version(name) for name in _VERSIONED},
        )


def _wanted(scenes: SceneSet, chosen: Chosen) -> Bool[np.ndarray, "K S"]:
    """Say which scenes are in the gallery of each query."""
    row_of = {scene.name: row for row, scene in enumerate(scenes.scenes)}
    wanted = np.zeros((len(chosen.rows), len(scenes)), dtype=np.bool_)
    for place, query in enumerate(chosen.queries):
        if query.gallery is None:
            wanted[place] = True
            wanted[place, row_of[query.scene]] = False
        else:
            wanted[place, [row_of[name] for name in query.gallery]] = True
    return wanted


def _found(
    file: Path | None, like: PairPredictions, wanted: Bool[np.ndarray, "K S"]
) -> PairPredictions | None:
    """Read a part that is there already; ``None`` if it is not, or of something else."""
    if file is None or not file.is_file():
        return None
    try:
        part = load_pairs(file)
    except FdpsError:  # damaged: it is computed again
        return None
    fits = part.is_part_of(like) and np.array_equal(part.compared, wanted)
    return part if fits else None


def _cuts(n: int, step: int) -> Iterator[range]:
    """Cut so many numbers into consecutive pieces."""
    ends = [*range(0, n, step), n]
    return (range(first, last) for first, last in pairwise(ends))
