"""Pictures and videos go into an archive: decode, find people, store; one transaction each.

A file is known by its content. What is in the archive is not looked at again, so the same call can
be repeated: it continues after an interruption, in the middle of a video too, and picks up what is
new.

Decoders read ahead in processes of their own. Network and archive take turns in the caller's
thread: writing is 2 to 4 % of the time, while torch is a third slower in any thread but the first.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders
from fdps.decoding.sampling import DEFAULT_EVERY, Sampling
from fdps.errors import ResourceError, UsageError
from fdps.search.audit import note_ingest
from fdps.search.file_plan import FilePlan, Planner
from fdps.search.frames import Found, Frame, Skipped
from fdps.search.origins import DEFAULT_TIME_FROM, Origins
from fdps.search.skipped import note_skipped
from fdps.search.store import SceneRecord, Store, check_model
from fdps.structures import Detections, Embedder

Progress = Callable[[int, int], None]
"""Called with the number of pictures and frames done and of all, as far as that is known."""


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How files become scenes.

    Args:
        origins: Camera and time of each file.
        sampling: Which frames of a video are looked at.
        again: Look also at what is in the archive, and replace it.
        workers: Processes that decode, at least 1.
    """

    origins: Origins = field(default_factory=Origins)
    sampling: Sampling = field(default_factory=lambda: Sampling.parse(DEFAULT_EVERY))
    again: bool = False
    workers: int = 1

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
    ) -> "IngestOptions":
        """Read the rules as users write them; they are those of ``Index.add``.

        Raises:
            UsageError: A rule is malformed.
        """
        if workers < 1:
            raise UsageError(f"workers must be at least 1, got {workers}")
        origins = Origins(camera, camera_from, time_from)
        return cls(origins, Sampling.parse(every), again, workers)


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What became of the files of one ingest.

    Args:
        n_files: All files of the sources.
        n_added: Pictures, and frames of videos, that were not in the archive; includes
            ``n_replaced``.
        n_replaced: Of these, those whose file had changed since it was indexed.
        n_known: Files that were in the archive already.
        n_people: People found in the added pictures.
        skipped: The other files, and those read in part, each with the reason.
    """

    n_files: int
    n_added: int
    n_replaced: int
    n_known: int
    n_people: int
    skipped: tuple[Skipped, ...]


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
    with store.writing(), Decoders(options.workers) as decoders:
        work = _Ingest(store, embedder, options, found, progress)
        note_ingest(store, "index", n_files=len(found.frames), again=options.again)
        try:
            work.run(Planner(store, decoders, options.origins, options.sampling, options.again))
        finally:
            if store.folder:
                note_skipped(store.folder, work.skipped, work.done)
            with suppress(ResourceError):  # a full disk has been reported, and hides nothing
                note_ingest(store, "indexed", **work.counts())
    return work.summary()


class _Ingest:
    """The state of one ingest."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        options: IngestOptions,
        found: Found,
        progress: Progress | None,
    ) -> None:
        self._store, self._embedder = store, embedder
        self._options, self._frames, self._progress = options, found.frames, progress
        self._counts: Counter[str] = Counter()
        self._n_units_done = len(found.skipped)
        self._n_units = len(found.skipped) + len(found.frames)
        self.skipped = list(found.skipped)
        self.done = [file.path for file in found.skipped]

    def run(self, planner: Planner) -> None:
        """Do everything."""
        for plan in self._planned(planner, self._frames):
            for event in plan.job or ():
                if isinstance(event, Ending):
                    plan.problem = plan.problem or event.problem
                else:
                    self._look_at(plan, event)
                if plan.is_refused and plan.job:
                    plan.job.cancel()
                    break
            self._finish(plan)

    def summary(self) -> IngestSummary:
        """What became of the files."""
        return IngestSummary(
            n_files=len(self.done),
            n_added=self._counts["added"],
            n_replaced=self._counts["replaced"],
            n_known=self._counts["known"],
            n_people=self._counts["people"],
            skipped=tuple(self.skipped),
        )

    def counts(self) -> dict[str, int]:
        """For the audit, also after an interruption."""
        return {**self._counts, "skipped": len(self.skipped)}

    def _planned(self, planner: Planner, frames: Sequence[Frame]) -> Iterator[FilePlan]:
        """Plans in order; a few files ahead are being decoded."""
        ahead: deque[FilePlan] = deque()
        for frame in frames:
            ahead.append(planner.plan(frame))
            if len(ahead) > 2 * self._options.workers:
                yield ahead.popleft()
        yield from ahead

    def _look_at(self, plan: FilePlan, event: DecodedFrame) -> None:
        twin = self._store.find(sha256=plan.sha256)
        if twin and twin.path != str(plan.file.path):  # of a file that was planned with this one
            plan.refuse(f"same content as {twin.name}, which is in the archive")
            return
        if not plan.has_begun:
            plan.has_begun = True
            if plan.file.is_video:
                n_taken = self._options.sampling.count(event.duration_s)
                plan.n_expected = max(n_taken - len(plan.known_frames), 1)
            self._n_units += plan.n_expected - 1
        self._add(plan, event, self._embedder.detect(event.image))

    def _add(self, plan: FilePlan, event: DecodedFrame, people: Detections) -> None:
        height, width = event.image.shape[:2]
        path, offset_s = plan.file.path, event.offset_s
        origins = self._options.origins
        record = SceneRecord(
            name=self._name(plan, event),
            path=str(path),
            sha256=plan.sha256,
            width=width,
            height=height,
            camera=origins.camera_of(path),
            time=origins.time_of(
                path, event.time, is_video=plan.file.is_video, offset_s=offset_s or 0.0
            ),
            frame=event.frame,
            offset_s=offset_s,
        )
        self._store.add(record, people)
        plan.n_added += 1
        self._counts["added"] += 1
        self._counts["replaced"] += plan.is_replacement
        self._counts["people"] += len(people)
        if plan.file.is_video:
            self._report(self._n_units_done + plan.n_added)

    def _name(self, plan: FilePlan, event: DecodedFrame) -> str:
        """Unique in the archive: files of one name, and frames of one moment, are told apart."""
        moment = "" if event.offset_s is None else f"@{clock(event.offset_s)}"
        name = f"{plan.file.name}{moment}"
        namesake = self._store.find(name=name)
        if namesake and namesake.path != str(plan.file.path):  # of another disk or folder
            name = f"{plan.file.name}#{plan.sha256[:8]}{moment}"
            namesake = self._store.find(name=name)
        if namesake and (namesake.path, namesake.frame) != (str(plan.file.path), event.frame):
            name = f"{name}#{event.frame}"
        return name

    def _finish(self, plan: FilePlan) -> None:
        path = plan.file.path
        if plan.problem:
            n_there = plan.n_added + len(plan.known_frames)
            what_is = f"; {n_there} frames of it are in the archive" if n_there else ""
            problem = plan.problem.removeprefix(f"{path} ")  # the list names the file itself
            self.skipped.append(Skipped(path, f"{problem}{what_is}"))
        elif plan.file.is_video and plan.job:
            self._store.finish(plan.sha256, str(self._options.sampling))
        if plan.is_known or (plan.known_frames and not plan.n_added):
            self._counts["known"] += 1
        self.done.append(path)
        n_here = max(plan.n_added, 1)
        self._n_units += n_here - plan.n_expected
        self._n_units_done += n_here
        self._report(self._n_units_done)

    def _report(self, done: int) -> None:
        if self._progress:
            self._progress(done, max(done, self._n_units))


def clock(seconds: float) -> str:
    """Time in a video.

    Example:
        >>> clock(2650.5)
        '00:44:10.500'
    """
    ms = round(max(seconds, 0.0) * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
