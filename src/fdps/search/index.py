"""The archive as users hold it: create or open it, add pictures, search, remove.

Axes in shapes: Q queries, D embedding dimension.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from fdps.decoding.sampling import DEFAULT_EVERY
from fdps.errors import UsageError
from fdps.search.audit import note_search
from fdps.search.calibration import Calibration, from_json, to_json
from fdps.search.frames import Found, Source, find_pictures
from fdps.search.ingest import IngestOptions, IngestSummary, Progress, ingest
from fdps.search.open_store import create_store, open_store
from fdps.search.origins import DEFAULT_TIME_FROM
from fdps.search.reranking import find
from fdps.search.store import (
    EVERYBODY,
    ArchivedPerson,
    Filters,
    IndexInfo,
    Notes,
    SceneRecord,
    Store,
    check_embeddings,
    check_model,
)
from fdps.search.wanted import Wanted, unit_rows
from fdps.structures import Embedder, Hit


@runtime_checkable
class HasEmbedding(Protocol):
    """A person to look for, such as ``PersonSearcher.query`` returns."""

    @property
    def embedding(self) -> Float32[np.ndarray, " D"]:
        """Unit length."""


_CALIBRATION = "calibration"

Person = HasEmbedding | Float[np.ndarray, " D"]
"""Someone to look for: a query, or the embedding itself."""


class Index:
    """An archive of people.

    Example::

        model = fdps.load("runs/prw-boim")
        with fdps.Index.create("event.fdps", model) as index:
            index.add("photos/")
            hits = index.search(model.query(picture, point=(412, 380)), top=10)

    One object serves one thread. It reads the archive until something is added or removed; then,
    and only for that long, it is the one writer.

    Args:
        store: Where the archive is kept.
        embedder: The model of the archive; needed to add pictures, not to search.
        purpose: What the archive is searched for; noted in its audit with every search.

    Attributes:
        purpose: As given; it may be changed.
        asked: Whom the next searches look for, such as file names; also for the audit.
        unrecorded: Why the last search could not be noted in the audit, or empty.
    """

    def __init__(
        self, store: Store, embedder: Embedder | None = None, *, purpose: str = ""
    ) -> None:
        self._store = store
        self._embedder = embedder
        self.purpose = purpose
        self.asked: Sequence[str] = ()
        self.unrecorded = ""

    @classmethod
    def create(cls, path_or_uri: str | Path, searcher: Embedder, *, model: str = "") -> "Index":
        """Begin an archive for the embeddings of one model.

        Args:
            path_or_uri: A new folder, by custom ``NAME.fdps``, or a new collection on Milvus,
                ``milvus://HOST:PORT/COLLECTION``.
            searcher: The model, as ``fdps.load`` returns it.
            model: Where the model was loaded from; kept in the archive for later commands.

        Raises:
            ArchiveError: There is an archive already, or it cannot be written or reached.
            UsageError: A URI of an unknown kind, its package is not installed, or the folder
                holds other things.
        """
        store = create_store(
            path_or_uri, model_hash=searcher.model_hash, dim=searcher.dim, model=model
        )
        return cls(store, searcher)

    @classmethod
    def open(
        cls, path_or_uri: str | Path, searcher: Embedder | None = None, *, purpose: str = ""
    ) -> "Index":
        """Open an archive.

        Args:
            path_or_uri: As given to :meth:`create`.
            searcher: The model that made the archive; needed to add pictures.
            purpose: What it is searched for; noted with every search.

        Raises:
            MissingDataError: There is no archive.
            ArchiveError: Another model made it, it is damaged, or it cannot be reached.
            UsageError: A URI of an unknown kind, or its package is not installed.
        """
        store = open_store(path_or_uri)
        try:
            if searcher is not None:
                check_model(store.info, searcher.model_hash, path_or_uri)
        except BaseException:
            store.close()
            raise
        return cls(store, searcher, purpose=purpose)

    @property
    def store(self) -> Store:
        """Where it is kept; what cares for an archive works on it."""
        return self._store

    @property
    def info(self) -> IndexInfo:
        """The stamp: model, dimension, when it was created."""
        return self._store.info

    @property
    def folder(self) -> Path | None:
        """The folder of the archive; ``None`` where it is kept on a server."""
        return self._store.folder

    @property
    def n_scenes(self) -> int:
        """Pictures in the archive, with people or without."""
        return self._store.n_scenes

    def __len__(self) -> int:
        """People in the archive."""
        return len(self._store)

    def scene(self, name: str) -> SceneRecord | None:
        """What is known about a picture, by the name that a hit shows."""
        return self._store.find(name=name)

    def add(
        self,
        source: Source | Iterable[Source] | Found,
        *,
        camera: str | None = None,
        camera_from: str = "",
        time_from: str = DEFAULT_TIME_FROM,
        every: str = DEFAULT_EVERY,
        again: bool = False,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> IngestSummary:
        """Find everybody in pictures and videos and add them; what is known is passed over.

        Args:
            source: A picture, a video, a folder, a pattern such as ``photos/*.jpg``, a list of
                these (``@list.txt``), or several.
            camera: Name of the camera, where ``camera_from`` tells none.
            camera_from: Regular expression for paths; its group ``camera`` is the name.
            time_from: Where times come from: ``exif``, ``container``, ``name:PATTERN``, separated
                by commas.
            every: Frames of a video to look at: ``0.5s``, ``500ms``, ``10f`` or ``keyframes``.
            again: Look also at what is in the archive, and replace it.
            workers: Processes that decode, at least 1.
            progress: Told after every file, and frame of a video, how many are done, and of how
                many.

        Returns:
            How many files became what, and why some were skipped.

        Raises:
            UsageError: The index was opened without a model, or a rule is malformed.
            DataError: There are no pictures.
            ArchiveError: Another process writes, the archive is read-only or damaged.
            ResourceError: The disk is full; what was added before stays.
        """
        if self._embedder is None:
            raise UsageError(
                "adding pictures needs the model that made the archive",
                hint=f"fdps.Index.open(path, fdps.load({self.info.model!r}))",
            )
        options = IngestOptions.parse(
            camera=camera,
            camera_from=camera_from,
            time_from=time_from,
            every=every,
            again=again,
            workers=workers,
        )
        found = source if isinstance(source, Found) else find_pictures(source, videos=True)
        return ingest(self._store, self._embedder, found, options=options, progress=progress)

    def person(self, item: int) -> ArchivedPerson:
        """A person of the archive, to look at or to look for.

        Args:
            item: Number of the person, as hits show it.

        Raises:
            UsageError: Nobody in the archive has this number.
        """
        found = self._store.people([item])
        if not found:
            raise UsageError(
                f"nobody in the archive has number {item}",
                hint="hits show the numbers; a removed person has none",
            )
        return found[0]

    def people_in(self, scene: str) -> list[ArchivedPerson]:
        """Everybody in a scene, by the name that hits show; nobody for an unknown scene."""
        return self._store.people_in(scene)

    def search(
        self,
        query: Person | Sequence[Person],
        top: int = 50,
        *,
        unlike: Sequence[Person] = (),
        rerank: str = "",
        min_similarity: float = -math.inf,
        cameras: Sequence[str] = (),
        scenes: str = "",
        min_height: float = 0.0,
        after: str = "",
        before: str = "",
        time_of_day: str = "",
        source: str = "",
    ) -> list[Hit]:
        """The people most similar to one person, best first.

        People of the archive that are part of the question are no results. With several pictures
        the similarity is the mean of theirs, less half the mean similarity to the people in
        ``unlike``.

        Args:
            query: What ``PersonSearcher.query`` or :meth:`person` returned, or an embedding; or
                several of these, all of the same person.
            top: Results wanted, at least 1.
            unlike: People who look similar and are somebody else.
            rerank: Order the hits by something else than similarity: ``expansion`` (similarity to
                the query and its best hit) or ``k-reciprocal`` (common neighbours).
            min_similarity: Leave out what is less similar.
            cameras: Look only at pictures of these cameras.
            scenes: Look only at scenes whose name fits this pattern, such as ``photos/hall/*``.
            min_height: Look only at people at least this high, in pixels.
            after: Look only at scenes of this time, ISO 8601, or later.
            before: Look only at scenes before this time.
            time_of_day: Look only at scenes between these times of any day, ``HH:MM-HH:MM``.
            source: Look only at files whose path fits this pattern, such as ``*/gate_cam.mp4``.

        Raises:
            UsageError: ``top`` is below 1, a time is malformed, an embedding does not fit the
                archive, ``rerank`` is unknown, or nobody is looked for.
        """
        like = [query] if isinstance(query, np.ndarray | HasEmbedding) else list(query)
        rows, others = self._embeddings(like), self._embeddings(unlike)
        filters = Filters(tuple(cameras), scenes, min_height, after, before, time_of_day, source)
        hits = find(
            self._store,
            Wanted.of(rows, others),
            top,
            filters=filters,
            rerank=rerank,
            known={p.item for p in (*like, *unlike) if isinstance(p, ArchivedPerson)},
        )
        hits = [hit for hit in hits if hit.similarity >= min_similarity]
        self._note(hits, filters=filters, top=top)
        return hits

    def _embeddings(self, people: Sequence[Person]) -> Float32[np.ndarray, "_ D"]:
        rows = [
            np.asarray(p if isinstance(p, np.ndarray) else p.embedding, dtype=np.float32)
            for p in people
        ]
        for row in rows:
            check_embeddings(row[np.newaxis], self.info.dim)
        return unit_rows(rows, self.info.dim)

    def search_many(
        self, embeddings: Float[np.ndarray, "Q D"], top: int = 50, *, filters: Filters = EVERYBODY
    ) -> list[list[Hit]]:
        """The people most similar to each of many persons; all see one state of the archive.

        Raises:
            UsageError: ``top`` is below 1, or the embeddings do not fit the archive.
        """
        rows = np.asarray(embeddings, dtype=np.float32)
        hits = self._store.search(rows, top=top, filters=filters)
        self._note(chain.from_iterable(hits), filters=filters, top=top, n_queries=len(rows))
        return hits

    def _note(self, hits: Iterable[Hit], **details: object) -> None:
        self.unrecorded = note_search(
            self._store, hits, purpose=self.purpose, asked=list(self.asked), **details
        )

    @property
    def calibration(self) -> Calibration | None:
        """How sure similarities are, as the archive remembers it; ``None`` if it does not.

        Raises:
            ModelError: What it remembers is malformed or of another model.
        """
        text = self._store.note(_CALIBRATION) if isinstance(self._store, Notes) else None
        where = f"the archive of {self.info.model or 'this model'}"
        if text is None:
            return None
        return from_json(text, where=where, model_hash=self.info.model_hash)

    def calibrate(self, calibration: Calibration) -> None:
        """Let the archive remember how sure similarities are.

        Raises:
            ArchiveError: It is the calibration of another model, another process writes, or the
                archive is read-only.
            UsageError: An archive of this kind cannot keep it.
        """
        check_model(self.info, calibration.model_hash, "the archive")
        if not isinstance(self._store, Notes):
            raise UsageError("an archive of this kind cannot keep a calibration")
        self._store.write_note(_CALIBRATION, to_json(calibration))

    def remove(self, *, scenes: Sequence[str] = (), items: Sequence[int] = ()) -> int:
        """Erase pictures with their people, or single people; the picture files stay.

        A removed picture is indexed again when :meth:`add` meets it; a removed person is not,
        as long as the picture stays in the archive.

        Args:
            scenes: Names, as hits show them.
            items: Numbers, as hits show them.

        Returns:
            The number of people erased.

        Raises:
            ArchiveError: Another process writes, or the archive is read-only.
        """
        return self._store.remove(scenes=scenes, items=items)

    def close(self) -> None:
        """Let go of the archive."""
        self._store.close()

    def __enter__(self) -> "Index":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
