"""Write what was seen in files into an archive; one writer does, however many machines look."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fdps.decoding.messages import Ending
from fdps.decoding.sampling import Sampling
from fdps.names import stored
from fdps.search.ingest.frames import Found, Frame, Skipped
from fdps.search.ingest.looking import SeenFrame
from fdps.search.ingest.origins import Origins
from fdps.search.ingest.plan import KEPT, FilePlan
from fdps.search.store import SceneRecord, Store

Progress = Callable[[int, int], None]
"""Called with the number of pictures and frames done, and of all as far as that is known."""


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """The outcome of one ingest.

    Args:
        n_files: Number of all files of the sources.
        n_added: Number of pictures, and frames of videos, that were not in the archive; includes
            ``n_replaced``.
        n_replaced: Those of ``n_added`` that took the place of earlier scenes, because their file
            has changed or everything was looked at again.
        n_known: Number of files that were in the archive already.
        n_people: Number of people found in the added pictures.
        skipped: The other files, and those read in part, each with the reason.
        n_moved: Number of files that the archive knew from another path, where they are no longer;
            their scenes have followed them.
    """

    n_files: int
    n_added: int
    n_replaced: int
    n_known: int
    n_people: int
    skipped: tuple[Skipped, ...]
    n_moved: int = 0


class SceneWriter:
    """Writes file after file, each scene in one transaction, and keeps count.

    The scenes that replace a file in the archive go in together, once the file has been read to its
    end: until then, and if it cannot be read, the archive keeps the earlier state.

    Args:
        store: The archive, in a context of :meth:`~fdps.search.store.Store.writing`.
        origins: Rules for camera and time of each file.
        sampling: The frames of a video that were looked at.
        found: All files; those that are skipped from the beginning are counted as such.
        progress: Called after every file, and after every frame of a video.

    Attributes:
        skipped: Files that are not in the archive, or not wholly.
        done: All files that were written or skipped.
        outdated: Files that were planned to keep scenes which another file has replaced meanwhile,
            such as when names were exchanged. They need to be planned once more.
    """

    def __init__(
        self,
        store: Store,
        origins: Origins,
        sampling: Sampling,
        found: Found,
        progress: Progress | None = None,
    ) -> None:
        self._store, self._origins, self._sampling = store, origins, sampling
        self._progress = progress
        self._counts: Counter[str] = Counter()
        self._n_units_done = len(found.skipped)
        self._n_units = len(found.skipped) + len(found.frames)
        self.skipped = list(found.skipped)
        self.done = [file.path for file in found.skipped]
        self.outdated: list[Frame] = []

    def write(self, plan: FilePlan, events: Iterable[SeenFrame | Ending]) -> None:
        """Add what a file gives.

        Raises:
            ArchiveError: As for :meth:`Store.add <fdps.search.store.Store.add>`.
            UsageError: As for :meth:`Store.add <fdps.search.store.Store.add>`.
        """
        if plan.has_moved:
            if not self._store.find(sha256=plan.sha256):
                self.outdated.append(plan.file)
                return
            self._move(plan)
        if plan.request:
            waiting: list[SeenFrame] = []
            for event in events:
                if isinstance(event, Ending):
                    plan.problem = event.problem
                elif plan.is_replacement:
                    waiting.append(event)
                    self._report_frame(plan, len(waiting), event)
                else:
                    self._add(plan, event)
            if plan.is_replacement:
                self._replace(plan, waiting)
        self._finish(plan)

    def summary(self) -> IngestSummary:
        """Return what became of the files."""
        return IngestSummary(
            n_files=len(self.done),
            n_added=self._counts["added"],
            n_replaced=self._counts["replaced"],
            n_known=self._counts["known"],
            n_people=self._counts["people"],
            skipped=tuple(self.skipped),
            n_moved=self._counts["moved"],
        )

    def counts(self) -> dict[str, int]:
        """Return the counts for the audit, also after an interruption."""
        return {**self._counts, "skipped": len(self.skipped)}

    def _add(self, plan: FilePlan, seen: SeenFrame) -> None:
        self._report_frame(plan, plan.n_added + 1, seen)
        self._store.add(self._record(plan, seen, {}), seen.people)
        self._count(plan, seen)

    def _replace(self, plan: FilePlan, frames: Sequence[SeenFrame]) -> None:
        """Put all frames of a file in the place of its earlier ones, or leave the earlier ones."""
        if not frames and not plan.problem:
            plan.problem = "no frame could be read"
        if plan.problem:
            return
        names: dict[str, int] = {}
        scenes = [(self._record(plan, seen, names), seen.people) for seen in frames]
        self._store.replace(stored(plan.file.path), scenes)
        for seen in frames:
            self._count(plan, seen)

    def _move(self, plan: FilePlan) -> None:
        """Rename the scenes of a file after the place where it is now."""
        taken: dict[str, int] = {}
        names = {
            scene.frame: self._name(plan, scene.frame, scene.offset_s, taken)
            for scene in self._store.find_all(sha256=plan.sha256)
        }
        self._store.move(plan.sha256, stored(plan.file.path), names)
        self._counts["moved"] += 1

    def _record(self, plan: FilePlan, seen: SeenFrame, taken: dict[str, int]) -> SceneRecord:
        path = plan.file.path
        return SceneRecord(
            name=self._name(plan, seen.frame, seen.offset_s, taken),
            path=stored(path),
            sha256=plan.sha256,
            width=seen.width,
            height=seen.height,
            camera=self._origins.camera_of(path),
            time=self._origins.time_of(
                path, seen.time, is_video=plan.file.is_video, offset_s=seen.offset_s or 0.0
            ),
            frame=seen.frame,
            offset_s=seen.offset_s,
        )

    def _count(self, plan: FilePlan, seen: SeenFrame) -> None:
        plan.n_added += 1
        self._counts["added"] += 1
        self._counts["replaced"] += plan.is_replacement
        self._counts["people"] += len(seen.people)

    def _report_frame(self, plan: FilePlan, number: int, seen: SeenFrame) -> None:
        """Report a frame, counted from 1; the first one tells how many there will be."""
        if number == 1:
            self._foresee(plan, seen)
        if plan.file.is_video:
            self._report(self._n_units_done + number)

    def _foresee(self, plan: FilePlan, first: SeenFrame) -> None:
        """Estimate, from its first frame, how many scenes a file will give."""
        if plan.file.is_video:
            n_taken = self._sampling.count(first.duration_s)
            plan.n_expected = max(n_taken - len(plan.known_frames), 1)
        self._n_units += plan.n_expected - 1

    def _name(
        self, plan: FilePlan, frame: int, offset_s: float | None, taken: dict[str, int]
    ) -> str:
        """Return a unique name: files of one name, and frames of one moment, are told apart.

        Args:
            plan: Plan of the file.
            frame: Number of the frame.
            offset_s: Seconds from the beginning of the video; ``None`` for a picture.
            taken: Names that other frames of the file will get; the new one is added.
        """
        path, moment = stored(plan.file.path), "" if offset_s is None else f"@{clock(offset_s)}"
        file_name = plan.file.name
        candidates = (
            f"{file_name}{moment}",
            f"{file_name}#{plan.sha256[:8]}{moment}",
            f"{file_name}#{plan.sha256[:8]}{moment}#{frame}",
        )

        def is_free(name: str) -> bool:
            if name in taken:
                return False
            namesake = self._store.find(name=name)
            is_ours = namesake and (namesake.sha256 == plan.sha256 or namesake.path == path)
            leaves = plan.is_replacement or plan.has_moved
            return not namesake or bool(is_ours and (leaves or namesake.frame == frame))

        name = next(filter(is_free, candidates), candidates[-1])
        taken[name] = frame
        return name

    def _finish(self, plan: FilePlan) -> None:
        path = plan.file.path
        if plan.file.is_video and plan.request:
            self._store.link(plan.sha256)
        if plan.problem:
            n_there = plan.n_added + len(plan.known_frames)
            what_is = f"; {n_there} frames of it are in the archive" if n_there else ""
            if plan.is_replacement:
                what_is = KEPT
            problem = plan.problem.removeprefix(f"{path} ")  # the list names the file itself
            self.skipped.append(Skipped(path, f"{problem}{what_is}"))
        elif plan.file.is_video and plan.request:
            self._store.finish(plan.sha256, str(self._sampling))
        if not plan.has_moved and (plan.is_known or (plan.known_frames and not plan.n_added)):
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
    """Write a time in a video as hours, minutes and seconds.

    Example:
        >>> clock(2650.5)
        '00:44:10.500'
    """
    ms = round(max(seconds, 0.0) * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
