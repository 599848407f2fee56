"""Pictures and videos go into an archive: decode, find people, store; one transaction each.

A file is known by its content. What is in the archive is not looked at again, so the same call can
be repeated: it continues after an interruption, in the middle of a video too, and picks up what is
new. When a video has been read its people are linked (:mod:`fdps.search.query.tracklets`).

Whoever looks at the files (:mod:`~fdps.search.ingest.looking`), one thread plans and writes. On one
machine it is the thread of the network too: writing is 2 to 4 % of the time.
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
    """How files become scenes.

    Args:
        origins: Camera and time of each file.
        sampling: Which frames of a video are looked at.
        again: Look also at what is in the archive, and replace it.
        workers: Processes that decode, at least 1.
        batch: Frames that the network looks at together, at least 1.
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
            camera: Name of the camera, where ``camera_from`` tells none.
            camera_from: Regular expression for paths; its group ``camera`` is the name.
            time_from: Where times come from: ``exif``, ``container``, ``name:PATTERN``, separated
                by commas.
            every: Frames of a video to look at: ``0.5s``, ``500ms``, ``10f`` or ``keyframes``.
            again: Look also at what is in the archive, and replace it.
            workers: Processes that decode, at least 1.
            batch: Frames of one size that the network looks at together, at least 1; more than 1
                keeps a GPU busy.

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
        embedder: Of the model of the archive.
        found: What :func:`~fdps.search.ingest.frames.find_pictures` returned.
        options: How files become scenes.
        progress: Told after every file, and after every frame of a video.
        cluster: Machines that look at the files; ``None`` for this one alone.

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

    What ended the ingest says what to do, and often it keeps the notes from being written as well:
    a full disk, a medium that is gone. So a note that fails then is left out without a word.
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
    """Every file, with what this machine sees in it."""
    with Decoders(options.workers) as decoders:
        plans = map(planner.plan, files)
        yield from look_at_all(plans, decoders, embedder, options.batch)
