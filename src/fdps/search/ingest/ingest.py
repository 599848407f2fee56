"""Add pictures and videos to an archive: decode, find people, store; one transaction each.

A file is known by its content. Files that are in the archive are not looked at again, so the same
call can be repeated: it continues after an interruption, in the middle of a video too, and picks up
new files. When a video has been read, its people are linked (:mod:`fdps.search.query.tracklets`).

Whichever machines look at the files (:mod:`~fdps.search.ingest.looking`), one thread plans and
writes. On one machine it is also the thread of the network: writing takes 2 to 4 % of the time.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from fdps.decoding.pool import Decoders
from fdps.decoding.sampling import DEFAULT_EVERY, Sampling
from fdps.errors import ResourceError, UsageError
from fdps.search.audit import note_ingest
from fdps.search.ingest.frames import Found, Frame
from fdps.search.ingest.looking import Events, look_at_all
from fdps.search.ingest.origins import DEFAULT_TIME_FROM, Origins
from fdps.search.ingest.plan import FilePlan, Planner
from fdps.search.ingest.scene_writer import IngestSummary, Progress, SceneWriter
from fdps.search.ingest.skipped import note_skipped
from fdps.search.store import Store, check_model
from fdps.structures import Embedder

if TYPE_CHECKING:
    from fdps.search.ray.cluster import RayCluster

__all__ = ["IngestOptions", "IngestSummary", "Progress", "ingest"]


class IngestRules(TypedDict, total=False):
    """The rules of :meth:`IngestOptions.parse` as keywords, as users write them."""

    camera: str | None
    camera_from: str
    time_from: str
    every: str
    again: bool
    workers: int
    batch: int


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """The rules by which files become scenes.

    Args:
        origins: Rules for camera and time of each file.
        sampling: The frames of a video to look at.
        again: Whether files that are in the archive are looked at again and replaced.
        workers: Number of processes that decode, at least 1.
        batch: Number of frames that the network looks at together, at least 1.
    """

    origins: Origins = field(default_factory=Origins)
    sampling: Sampling = field(default_factory=lambda: Sampling.parse(DEFAULT_EVERY))
    again: bool = False
    workers: int = 1
    batch: int = 1

    @classmethod
    def parse(
        cls,
        *,
        camera: str | None = None,
        camera_from: str = "",
        time_from: str = DEFAULT_TIME_FROM,
        every: str = DEFAULT_EVERY,
        again: bool = False,
        workers: int = 1,
        batch: int = 1,
    ) -> "IngestOptions":
        """Read the rules as users write them.

        Args:
            camera: Name of the camera of files for which ``camera_from`` tells none.
            camera_from: Regular expression for paths; its group ``camera`` is the name.
            time_from: Sources of times, separated by commas: ``exif``, ``container``,
                ``name:PATTERN``.
            every: Frames of a video to look at: ``0.5s``, ``500ms``, ``10f`` or ``keyframes``.
            again: Whether files that are in the archive are looked at again and replaced.
            workers: Number of processes that decode, at least 1.
            batch: Number of frames of one size that the network looks at together, at least 1; more
                than 1 keeps a GPU busy.

        Raises:
            UsageError: A rule is malformed.
        """
        for name, number in (("workers", workers), ("batch", batch)):
            if number < 1:
                raise UsageError(f"{name} must be at least 1, got {number}")
        origins = Origins(camera, camera_from, time_from)
        return cls(origins, Sampling.parse(every), again, workers, batch)


def ingest(
    store: Store,
    embedder: Embedder,
    found: Found,
    *,
    options: IngestOptions | None = None,
    progress: Progress | None = None,
    cluster: "RayCluster | None" = None,
) -> IngestSummary:
    """Add every picture and every frame that is not in the archive.

    It may be interrupted at any moment, by Ctrl-C or by force: every scene that was added before
    stays, and the same call continues. Where the archive has a folder, ``skipped.csv`` in it lists
    the files that are not in the archive.

    Args:
        store: The archive.
        embedder: Embedder of the model that made the archive.
        found: Files from :func:`~fdps.search.ingest.frames.find_pictures`.
        options: The rules by which files become scenes.
        progress: Called after every file, and after every frame of a video.
        cluster: Machines that look at the files; ``None`` for this machine alone.

    Raises:
        ArchiveError: Another model made the archive, another process writes, it is read-only or
            damaged.
        ResourceError: The disk is full, no decoder can be started, or the cluster failed.
    """
    check_model(store.info, embedder.model_hash, store.folder or "the archive")
    options = options or IngestOptions()
    planner = Planner(store, options.origins, options.sampling, options.again)
    writer = SceneWriter(store, options.origins, options.sampling, found, progress)
    looked = _here(planner, embedder, found.frames, options)
    if cluster:
        looked = cluster.look(
            found.frames,
            planner,
            model_hash=embedder.model_hash,
            dim=embedder.dim,
            n_decoders=options.workers,
            batch=options.batch,
        )
    with store.writing(), closing(looked):
        note_ingest(store, "index", n_files=len(found.frames), again=options.again)
        with _noted(store, writer):
            for plan, events in looked:
                writer.write(plan, events)
            if writer.outdated:
                for plan, events in _here(planner, embedder, writer.outdated, options):
                    writer.write(plan, events)
    return writer.summary()


@contextmanager
def _noted(store: Store, writer: SceneWriter) -> Iterator[None]:
    """Note at the end what became of the files, also after an error or an interruption.

    The error that ended the ingest says what to do, and its cause, such as a full disk or a medium
    that is gone, often keeps the note from being written as well. So a note that fails then is left
    out without a message.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):
            _note_skipped(store, writer)
        with suppress(Exception):
            note_ingest(store, "indexed", **writer.counts())
        raise
    _note_skipped(store, writer)
    with suppress(ResourceError):  # the files are in the archive, whether this is noted or not
        note_ingest(store, "indexed", **writer.counts())


def _note_skipped(store: Store, writer: SceneWriter) -> None:
    if store.folder:
        note_skipped(store.folder, writer.skipped, writer.done)


def _here(
    planner: Planner, embedder: Embedder, files: Iterable[Frame], options: IngestOptions
) -> Generator[tuple[FilePlan, Events], None, None]:
    """Yield every file with what this machine sees in it."""
    with Decoders(options.workers) as decoders:
        plans = map(planner.plan, files)
        yield from look_at_all(plans, decoders, embedder, options.batch)
