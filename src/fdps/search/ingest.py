"""Pictures and videos go into an archive: decode, find people, store; one transaction each.

A file is known by its content. What is in the archive is not looked at again, so the same call can
be repeated: it continues after an interruption, in the middle of a video too, and picks up what is
new.

Whoever looks at the files (:mod:`~fdps.search.looking`), one thread plans and writes. On one
machine it is the thread of the network too: writing is 2 to 4 % of the time.
"""

from dataclasses import dataclass, field

from fdps.decoding.pool import Decoders
from fdps.decoding.sampling import DEFAULT_EVERY, Sampling
from fdps.errors import UsageError
from fdps.search.file_plan import Planner
from fdps.search.frames import Found
from fdps.search.looking import look_at_all
from fdps.search.origins import DEFAULT_TIME_FROM, Origins
from fdps.search.scene_writer import IngestSummary, Progress, SceneWriter
from fdps.search.skipped import note_skipped
from fdps.search.store import Store, check_model
from fdps.structures import Embedder

__all__ = ["IngestOptions", "IngestSummary", "Progress", "ingest"]


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
        """Read the rules as users write them; they are those of ``Index.add``.

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
) -> IngestSummary:
    """Add every picture and every frame that is not in the archive.

    It may be interrupted at any moment, by Ctrl-C or by force: every scene that was added before
    stays, and the same call continues. Where the archive has a folder, ``skipped.csv`` in it lists
    the files that are not in the archive.

    Args:
        store: The archive.
        embedder: Of the model of the archive.
        found: What :func:`~fdps.search.frames.find_pictures` returned.
        options: How files become scenes.
        progress: Told after every file, and after every frame of a video.

    Raises:
        ArchiveError: Another model made the archive, another process writes, it is read-only or
            damaged.
        ResourceError: The disk is full, or no decoder can be started.
    """
    check_model(store.info, embedder.model_hash, store.folder or "the archive")
    options = options or IngestOptions()
    planner = Planner(store, options.origins, options.sampling, options.again)
    writer = SceneWriter(store, options.origins, options.sampling, found, progress)
    with store.writing(), Decoders(options.workers) as decoders:
        try:
            plans = map(planner.plan, found.frames)
            for plan, events in look_at_all(plans, decoders, embedder, options.batch):
                writer.write(plan, events)
        finally:
            if store.folder:
                note_skipped(store.folder, writer.skipped, writer.done)
    return writer.summary()
