"""The promises that every archive keeps, wherever it is stored.

A store keeps scenes and the people found in them. Its promises, held by tests:

* A scene and its people are added in one transaction: after a crash both are there or neither.
* A store belongs to one model. Embeddings of another are refused, because similarities between
  two models mean nothing.
* Search is exact: the inner products of all people with the query, highest first; people of equal
  similarity come in the order of their items, so the same archive gives the same list everywhere.
* One writer, many readers. A search sees one state of the archive, never half of an addition.
* An item number names one person for good; after a removal it is not given to another.

Axes in shapes: N people, Q queries, D embedding dimension.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypedDict, Unpack, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from fdps.errors import ArchiveError, UsageError
from fdps.search.times import day_range, instant
from fdps.structures import Detections, Embedder, Hit
from fdps.structures import SceneRecord as SceneRecord

_MIN_SCORE = "min_score"
UNIT_TOLERANCE = 1e-3  # far more than float32 or float16 arithmetic takes from a unit length


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """The stamp of an archive, fixed when it is created.

    Args:
        format_version: Format of the files on disk.
        model_hash: Hash of the model whose embeddings it holds.
        dim: Length of an embedding.
        model: The place where that model was loaded from, or empty.
        created: Time of creation, ISO 8601, UTC.
        created_by: Version of fdps that created it.
    """

    format_version: int
    model_hash: str
    dim: int
    model: str
    created: str
    created_by: str


@dataclass(frozen=True, slots=True, eq=False)
class ArchivedPerson:
    """A person as an archive keeps it.

    Args:
        item: Number of the person.
        scene: Name of the scene.
        box: Corners of the box, in pixels of that scene.
        score: Confidence of the detector, in [0, 1].
        embedding: Embedding of unit length.
    """

    item: int
    scene: str
    box: Float32[np.ndarray, " 4"]
    score: float
    embedding: Float32[np.ndarray, " D"]


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """One person for a while in a video, or once in a picture.

    Args:
        similarity: Similarity of the query and the pooled embedding, in [-1, 1].
        best: The member that is most similar to the query.
        items: The members, in order of time; with filters, those that pass.
        first: Scene of the first member.
        last: Scene of the last member.
    """

    similarity: float
    best: Hit
    items: tuple[int, ...]
    first: SceneRecord
    last: SceneRecord

    def __len__(self) -> int:
        """Return the number of sightings."""
        return len(self.items)


class FilterWords(TypedDict, total=False):
    """The fields of :class:`Filters` as keywords, for calls that narrow a search in passing."""

    cameras: Sequence[str]
    scenes: str
    min_height: float
    after: str
    before: str
    time_of_day: str
    source: str


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on the people a search looks at. They are exact: no hit that passes is lost.

    A scene of unknown time passes no filter of time.

    Args:
        cameras: Names of cameras, any of which will do; empty for all.
        scenes: Name of a scene, or a pattern for names (``*``, ``?`` and ``[...]``); empty for all.
            Where a scene has exactly this name, that scene alone is meant.
        min_height: Least height of a box, in pixels.
        after: Earliest time, inclusive, ISO 8601; empty for all. Without an offset from UTC it is
            the time of this machine.
        before: Time before which the scene was taken, likewise.
        time_of_day: Range ``HH:MM-HH:MM`` on the clock of the camera, including the first minute
            and not the last; it passes midnight if the first is later. Empty for all.
        source: Path of a file, or a pattern for paths; ``*`` also stands for slashes. Empty for
            all. Where a file has exactly this path, that file alone is meant.

    Raises:
        UsageError: A time is malformed, or ``min_height`` is not a number.
    """

    cameras: tuple[str, ...] = ()
    scenes: str = ""
    min_height: float = 0.0
    after: str = ""
    before: str = ""
    time_of_day: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.min_height):
            raise UsageError("min_height must be a number of pixels, got nan")
        for time in filter(None, (self.after, self.before)):
            instant(time)
        if self.time_of_day:
            day_range(self.time_of_day)

    def narrowed(self, **words: Unpack[FilterWords]) -> "Filters":
        """Return the same filters with the given fields in place of theirs.

        Raises:
            UsageError: As for the class.
        """
        if "cameras" in words:
            words["cameras"] = tuple(words["cameras"])
        return replace(self, **words)  # type: ignore[arg-type]  # mypy reads a field's type for all

    def literal(self, find: Callable[..., SceneRecord | None]) -> "Filters":
        """Take patterns that are the name of a scene or the path of a file as just that.

        Args:
            find: :meth:`Store.find` of the archive that is searched.

        Returns:
            The same filters, in which such a name is a pattern that fits nothing else.
        """
        scenes, source = self.scenes, self.source
        if has_wildcards(scenes) and find(name=scenes):
            scenes = exact_pattern(scenes)
        if has_wildcards(source) and find(path=source):
            source = exact_pattern(source)
        return replace(self, scenes=scenes, source=source)


def has_wildcards(pattern: str) -> bool:
    """Tell whether a pattern may fit names other than itself."""
    return any(letter in pattern for letter in "*?[")


def exact_pattern(name: str) -> str:
    """Write a name as the pattern that fits it and nothing else.

    Example:
        >>> exact_pattern("hall/a[1]?.jpg")
        'hall/a[[]1][?].jpg'
    """
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


EVERYBODY = Filters()
"""Filters that everybody passes."""


@runtime_checkable
class Store(Protocol):
    """The interface of the places where an archive can be kept."""

    @property
    def info(self) -> IndexInfo:
        """The stamp of the archive."""

    @property
    def folder(self) -> Path | None:
        """The folder of the archive; ``None`` where it is kept on a server."""

    @property
    def n_scenes(self) -> int:
        """Number of scenes, with people or without."""

    def __len__(self) -> int:
        """Return the number of people."""

    def writing(self) -> AbstractContextManager[None]:
        """Be the only writer while the context lasts; contexts of one store may nest.

        Raises:
            ArchiveError: Another process writes, or the archive is read-only.
        """

    def find(self, *, sha256: str = "", name: str = "", path: str = "") -> SceneRecord | None:
        """Return the scene that agrees with every property given, or ``None``."""

    def find_all(self, *, sha256: str = "", path: str = "") -> list[SceneRecord]:
        """Return all scenes that agree with every property given, in the order of addition."""

    def people(self, items: Sequence[int]) -> list[ArchivedPerson]:
        """Return people by their numbers, in the order asked for; missing people are left out."""

    def people_in(self, scene: str) -> list[ArchivedPerson]:
        """Return everybody in a scene, ordered by item."""

    def is_finished(self, sha256: str, sampling: str) -> bool:
        """Tell whether every frame that a sampling takes of a video is in the archive."""

    def finish(self, sha256: str, sampling: str) -> None:
        """Note that a video is finished; removing one of its scenes takes that back.

        Raises:
            ArchiveError: As for :meth:`writing`.
        """

    def add(self, scene: SceneRecord, people: Detections) -> None:
        """Add a scene and its people in one transaction; its earlier state is replaced.

        The earlier state is the scene of the same path and frame.

        Raises:
            ArchiveError: Another scene has this name or content; or as for :meth:`writing`.
            UsageError: The embeddings do not fit the archive.
        """

    def replace(self, path: str, scenes: Sequence[tuple[SceneRecord, Detections]]) -> None:
        """Replace all scenes of a file by others, in one transaction.

        After a crash the archive holds either all the old scenes of the file or all the new ones.

        Args:
            path: The file, as its scenes name it.
            scenes: The new scenes, each with its people, all of this path and of one content.

        Raises:
            ArchiveError: Another file has a scene of one of these names or of this content; or as
                for :meth:`writing`.
            UsageError: The embeddings do not fit the archive.
        """

    def move(self, sha256: str, path: str, names: Mapping[int, str]) -> None:
        """Let all scenes of a content follow their file to another path, in one transaction.

        Scenes of other content at that path are erased, because the file there is not theirs any
        more.

        Args:
            sha256: The content.
            path: Path of the file now.
            names: The new name of the scene of every frame.

        Raises:
            ArchiveError: Another scene has one of these names; or as for :meth:`writing`.
        """

    def remove(self, *, scenes: Sequence[str] = (), items: Sequence[int] = ()) -> int:
        """Erase scenes with their people, and single people; missing ones are passed over.

        Returns:
            The number of people erased.
        """

    def search(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """Return the ``top`` most similar people to each query, best first; ties by item.

        Raises:
            UsageError: ``top`` is below 1, or the embeddings do not fit the archive.
        """

    def search_appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Appearance]]:
        """Return the ``top`` most similar appearances to each query, best first; ties by track.

        Raises:
            UsageError: As for :meth:`search`; or a process may not hold what this takes.
        """

    def spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> Int64[np.ndarray, "Q _"]:
        """Count everybody who passes the filters by their similarity to each query.

        Args:
            embeddings: Rows of unit length.
            n_bins: Number of bins of equal width, from a similarity of -1 to one of 1.
            filters: Conditions on the people to look at.

        Raises:
            UsageError: The embeddings do not fit the archive.
        """

    def search_and_spread(
        self,
        embeddings: Float32[np.ndarray, "Q D"],
        *,
        top: int,
        n_bins: int,
        filters: Filters = EVERYBODY,
    ) -> tuple[list[list[Hit]], Int64[np.ndarray, "Q _"]]:
        """Do what :meth:`search` and :meth:`spread` do, by one look at all embeddings if it can.

        Raises:
            UsageError: The embeddings do not fit the archive, or ``top`` is below 1.
        """

    def count(self, filters: Filters) -> int:
        """Return how many people a search with these filters looks at."""

    def link(self, sha256: str) -> None:
        """Link the people of a video anew, from all its frames that are in the archive.

        Raises:
            ArchiveError: As for :meth:`writing`.
        """

    def track(self, item: int) -> list[int]:
        """Return everybody on the track of a person, in order of time; nobody without a track."""

    def note(self, key: str) -> str | None:
        """Return a text that is kept with the stamp, or ``None``."""

    def write_note(self, key: str, text: str) -> None:
        """Keep a text; an older one of this key is replaced.

        Raises:
            ArchiveError: As for :meth:`writing`.
        """

    def close(self) -> None:
        """Let go of files and locks. A closed store is not used again."""


@runtime_checkable
class Searchable(Protocol):
    """The part of a store that a search needs."""

    def people(self, items: Sequence[int]) -> list[ArchivedPerson]:
        """Return people, as :meth:`Store.people` does."""

    def search(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """Search, as :meth:`Store.search` does."""

    def search_appearances(
        self, embeddings: Float32[np.ndarray, "Q D"], *, top: int, filters: Filters = EVERYBODY
    ) -> list[list[Appearance]]:
        """Search, as :meth:`Store.search_appearances` does."""


def check_model(info: IndexInfo, model_hash: str, where: object) -> None:
    """Refuse to mix the embeddings of two models.

    Args:
        info: Stamp of the archive.
        model_hash: Hash of the model at hand.
        where: The archive, for the message.

    Raises:
        ArchiveError: The archive belongs to another model.
    """
    if model_hash != info.model_hash:
        built_with = info.model or "another model"
        raise ArchiveError(
            f"{where} was built with {built_with} ({info.model_hash[:12]}), this model is "
            f"{model_hash[:12]}; similarities between two models mean nothing",
            hint=f"use {info.model or 'that model'}, or index the pictures into a new archive",
        )


def keep_min_score(store: Store, embedder: Embedder) -> None:
    """Let an archive keep the score below which detections were left out, and hold to it.

    People of a lower score would be in some pictures of an archive and not in others, so that
    somebody who is not found might only have been left out. Archives that were begun before this
    was remembered take any score.

    Args:
        store: The archive.
        embedder: The model that is about to add to it; one that does not tell its least score is
            not held to any.

    Raises:
        UsageError: The archive was begun with another least score.
    """
    score = getattr(embedder, "min_score", None)
    if score is None:
        return
    known = store.note(_MIN_SCORE)
    if known is None:
        if not store.n_scenes:
            store.write_note(_MIN_SCORE, f"{score:g}")
    elif known != f"{score:g}":
        raise UsageError(
            f"the archive leaves out detections below {known}, and here below {score:g}",
            hint=f"go on with --min-score {known}, or index the pictures into a new archive",
        )


def check_embeddings(embeddings: np.ndarray, dim: int) -> None:
    """Refuse embeddings that an archive of this dimension cannot hold or compare.

    Raises:
        UsageError: They are not of shape (any, ``dim``), or a row is not of unit length.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != dim:
        raise UsageError(f"embeddings must have shape (any, {dim}), got {embeddings.shape}")
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    unit = np.abs(lengths - 1) <= UNIT_TOLERANCE  # also False for NaN
    if not unit.all():
        row = int(np.argmin(unit))
        raise UsageError(f"embeddings must have unit length, row {row} has {lengths[row]:.6g}")
