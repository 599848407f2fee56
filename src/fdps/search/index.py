"""The archive as users see it: create or open it, add pictures, search, remove.

Axes in shapes: Q queries, D embedding dimension.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Unpack

from fdps.errors import UsageError
from fdps.search.audit import note_search
from fdps.search.ingest.frames import Found, Source, find_pictures
from fdps.search.ingest.ingest import IngestOptions, IngestRules, IngestSummary, Progress, ingest
from fdps.search.open_store import create_store, open_store
from fdps.search.query.find import find, find_appearances
from fdps.search.query.wanted import Person, wanted_people
from fdps.search.ray.cluster import RayCluster
from fdps.search.results.calibration import Calibration, keep_calibration, kept_calibration
from fdps.search.sql.store import SqlStore
from fdps.search.store import (
    EVERYBODY,
    Appearance,
    ArchivedPerson,
    Filters,
    FilterWords,
    IndexInfo,
    SceneRecord,
    check_model,
    keep_min_score,
)
from fdps.structures import Embedder, Hit


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
        store: Store in which the archive is kept.
        embedder: The model of the archive; needed to add pictures, not to search.
        purpose: The purpose of the searches; noted in the audit with every search.

    Attributes:
        purpose: The purpose as given; it may be changed.
        asked: What the next searches look for, such as file names; noted in the audit as well.
        unrecorded: The reason why the last search could not be noted in the audit, or empty.
    """

    def __init__(
        self, store: SqlStore, embedder: Embedder | None = None, *, purpose: str = ""
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
            path_or_uri: A new folder, by custom ``NAME.fdps``, or an address on a server,
                ``postgresql://HOST/DATABASE``.
            searcher: The model, as ``fdps.load`` returns it.
            model: The place where the model was loaded from; kept in the archive for later
                commands.

        Raises:
            ArchiveError: There is an archive already, or it cannot be written or reached.
            UsageError: The URI is of an unknown kind, its package is not installed, or the folder
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
            path_or_uri: The folder or URI, as given to :meth:`create`.
            searcher: The model that made the archive; needed to add pictures.
            purpose: The purpose of the searches; noted in the audit with every search.

        Raises:
            MissingDataError: There is no archive.
            ArchiveError: Another model made it, it is damaged, or it cannot be reached.
            UsageError: The URI is of an unknown kind, or its package is not installed.
        """
        index = cls(open_store(path_or_uri), purpose=purpose)
        try:
            if searcher is not None:
                check_model(index.info, searcher.model_hash, path_or_uri)
                index.use(searcher)
        except BaseException:
            index.close()
            raise
        return index

    def use(self, searcher: Embedder) -> None:
        """Use this model for the pictures that are added from now on.

        Raises:
            ArchiveError: Another model made the archive.
        """
        check_model(self.info, searcher.model_hash, self.folder or "the archive")
        self._embedder = searcher

    @property
    def store(self) -> SqlStore:
        """The store in which the archive is kept; functions that care for archives work on it."""
        return self._store

    @property
    def info(self) -> IndexInfo:
        """The stamp of the archive: its model, its dimension, and when it was created."""
        return self._store.info

    @property
    def folder(self) -> Path | None:
        """The folder of the archive; ``None`` where it is kept on a server."""
        return self._store.folder

    @property
    def n_scenes(self) -> int:
        """Number of pictures in the archive, with people or without."""
        return self._store.n_scenes

    def __len__(self) -> int:
        """Return the number of people in the archive."""
        return len(self._store)

    def scene(self, name: str) -> SceneRecord | None:
        """Return what is known about a picture, given the name that a hit shows."""
        return self._store.find(name=name)

    def add(
        self,
        source: Source | Iterable[Source] | Found,
        *,
        options: IngestOptions | None = None,
        progress: Progress | None = None,
        cluster: RayCluster | None = None,
        **rules: Unpack[IngestRules],
    ) -> IngestSummary:
        """Find everybody in pictures and videos and add them; known files are passed over.

        Args:
            source: A picture, a video, a folder, a pattern such as ``photos/*.jpg``, a list of
                these (``@list.txt``), or several.
            options: The rules by which files become scenes.
            progress: Called after every file, and after every frame of a video, with the number
                done and the number of all.
            cluster: Machines that look at the files; by default this machine does.
            rules: The rules of ``IngestOptions.parse``, in place of ``options``: ``camera``, the
                name of the camera; ``camera_from``, a regular expression for paths, whose group
                ``camera`` is the name; ``time_from``, the sources of times (``exif``,
                ``container``, ``name:PATTERN``, separated by commas); ``every``, the frames of a
                video to look at (``0.5s``, ``500ms``, ``10f`` or ``keyframes``); ``again``, to look
                again at files that are in the archive, and replace them; ``workers``, the number of
                processes that decode; ``batch``, the number of frames of one size that the network
                looks at together.

        Returns:
            The number of files that were added, known or skipped, with the reason for each skipped
            one.

        Raises:
            UsageError: The index was opened without a model, a rule is malformed, or the model
                leaves out other detections than when the archive was begun.
            DataError: There are no pictures.
            ArchiveError: Another process writes, or the archive is read-only or damaged.
            ResourceError: The disk is full, or the cluster failed; what was added before stays.
        """
        if self._embedder is None:
            raise UsageError(
                "adding pictures needs the model that made the archive",
                hint=f"fdps.Index.open(path, fdps.load({self.info.model!r}))",
            )
        if options is not None and rules:
            raise UsageError(f"{next(iter(rules))} is given beside options", hint="give either")
        found = source if isinstance(source, Found) else find_pictures(source, videos=True)
        keep_min_score(self._store, self._embedder)
        return ingest(
            self._store,
            self._embedder,
            found,
            options=options or IngestOptions.parse(**rules),
            progress=progress,
            cluster=cluster,
        )

    def person(self, item: int) -> ArchivedPerson:
        """Return a person of the archive, to look at or to look for.

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

    def unknown_cameras(self, cameras: Sequence[str]) -> list[str]:
        """Return those of these cameras of which the archive has nobody."""
        return [camera for camera in cameras if not self._store.count(Filters((camera,)))]

    def people_in(self, scene: str) -> list[ArchivedPerson]:
        """Return everybody in a scene, by the name that hits show; nobody for an unknown scene."""
        return self._store.people_in(scene)

    def track(self, item: int) -> list[ArchivedPerson]:
        """Return the track that a person is part of, in order of time.

        A track is the sightings of one person in a row. Searching for all of them finds people who
        come back better than searching for one.

        Args:
            item: Number of one of the sightings, as hits show it.

        Raises:
            UsageError: Nobody in the archive has this number.
        """
        person = self.person(item)
        return self._store.people(self._store.track(item)) or [person]

    def search(
        self,
        query: Person | Sequence[Person],
        top: int = 50,
        *,
        unlike: Sequence[Person] = (),
        rerank: str = "",
        min_similarity: float = -math.inf,
        filters: Filters = EVERYBODY,
        **narrowed: Unpack[FilterWords],
    ) -> list[Hit]:
        """Find the people most similar to one person, best first.

        People of the archive who are part of the question are not among the results. With several
        pictures the similarity is the mean of theirs, less half the mean similarity to the people
        in ``unlike``.

        Args:
            query: A person from ``PersonSearcher.query`` or :meth:`person`, or an embedding; or
                several of these, all of the same person.
            top: Number of results wanted, at least 1.
            unlike: People who look similar and are somebody else.
            rerank: An order other than that of similarity: ``expansion`` (similarity to the query
                and its best hit) or ``k-reciprocal`` (common neighbours).
            min_similarity: Least similarity of a hit, at most 1; less similar people are left out.
            filters: Conditions on the people to look at.
            narrowed: Fields of :class:`~fdps.search.Filters`, such as ``cameras=["gate"]`` or
                ``min_height=40.0``, in place of those of ``filters``.

        Raises:
            UsageError: ``top`` is below 1, ``min_similarity`` is above 1 or not a number, a time is
                malformed, an embedding does not fit the archive, ``rerank`` is unknown, or nobody
                is looked for.
        """
        _check_least(min_similarity)
        filters = filters.narrowed(**narrowed)
        wanted, known = wanted_people(query, unlike, self.info.dim)
        hits = find(self._store, wanted, top, filters=filters, rerank=rerank, known=known)
        hits = [hit for hit in hits if hit.similarity >= min_similarity]
        self._note(hits, filters=filters, top=top)
        return hits

    def search_appearances(
        self,
        query: Person | Sequence[Person],
        top: int = 50,
        *,
        unlike: Sequence[Person] = (),
        min_similarity: float = -math.inf,
        filters: Filters = EVERYBODY,
        **narrowed: Unpack[FilterWords],
    ) -> list[Appearance]:
        """Find the appearances most similar to one person, best first; ties are ordered by track.

        An appearance is one person for a while in a video, or once in a picture. It is compared as
        a whole, by the mean of the embeddings of those sightings that pass the filters. The
        arguments are those of :meth:`search`; appearances that include people of the question are
        not among the results.

        Raises:
            UsageError: As for :meth:`search`; or this process may not hold what the search takes.
        """
        _check_least(min_similarity)
        filters = filters.narrowed(**narrowed)
        wanted, known = wanted_people(query, unlike, self.info.dim)
        found = find_appearances(self._store, wanted, top, filters=filters, known=known)
        found = [appearance for appearance in found if appearance.similarity >= min_similarity]
        self._note((one.best for one in found), filters=filters, top=top, appearances=True)
        return found

    def _note(self, hits: Iterable[Hit], **details: object) -> None:
        self.unrecorded = note_search(
            self._store, hits, purpose=self.purpose, asked=list(self.asked), **details
        )

    @property
    def calibration(self) -> Calibration | None:
        """Return the calibration that the archive keeps, or ``None`` if it keeps none.

        Raises:
            ModelError: What the archive keeps is malformed or of another model.
        """
        return kept_calibration(self._store)

    def calibrate(self, calibration: Calibration) -> None:
        """Keep a calibration, which tells how sure similarities are, in the archive.

        Raises:
            ArchiveError: The calibration is of another model, another process writes, or the
                archive is read-only.
        """
        keep_calibration(self._store, calibration)

    def remove(self, *, scenes: Sequence[str] = (), items: Sequence[int] = ()) -> int:
        """Erase pictures with their people, or single people; the picture files stay.

        A removed picture is indexed again when :meth:`add` meets it; a removed person is not, as
        long as the picture stays in the archive.

        Args:
            scenes: Names of pictures, as hits show them.
            items: Numbers of people, as hits show them.

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


def _check_least(min_similarity: float) -> None:
    if not min_similarity <= 1:  # also refuses nan
        raise UsageError(
            f"min_similarity must be at most 1, got {min_similarity}",
            hint="similarities are between -1 and 1",
        )
