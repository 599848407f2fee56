"""Decide what to do with one file: nothing, because it is known, or decode it."""

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdps.decoding.sampling import Sampling
from fdps.errors import PictureError
from fdps.names import from_stored, stored
from fdps.search.ingest.frames import Frame
from fdps.search.ingest.origins import Origins
from fdps.search.store import Store

KEPT = "; the archive keeps its earlier state"
"""Reported of a file that can no longer be read and was indexed before."""


@dataclass(slots=True, eq=False)
class FilePlan:
    """One file on its way into an archive.

    Args:
        file: Name and path of the file.
        sha256: SHA-256 of its content.
        request: The request to a decoder, if the file is decoded.
        is_known: Whether the file is in the archive and stays as it is.
        is_replacement: Whether the archive has other content of this path, or is asked to look
            again. Its scenes stay until all of the new ones are known.
        has_moved: Whether the archive knows this content from a path where it is no longer; its
            scenes follow.
        known_frames: Numbers of the frames that are in the archive.
        problem: The reason why the file, or part of it, is not in the archive.
        n_added: Number of scenes that were added.
        n_expected: Approximate number of scenes that will be added.
    """

    file: Frame
    sha256: str = ""
    request: dict[str, Any] | None = None
    is_known: bool = False
    is_replacement: bool = False
    has_moved: bool = False
    known_frames: frozenset[int] = frozenset()
    problem: str = ""
    n_added: int = 0
    n_expected: int = 1

    def refuse(self, problem: str) -> "FilePlan":
        """Take nothing of the file; returns the plan."""
        self.problem, self.request = problem, None
        return self


class Planner:
    """Decides what is asked of the decoders. It reads the archive and never writes into it.

    Args:
        store: The archive; the plan is made in the thread that writes it.
        origins: Rules for camera and time, which decide whether EXIF is needed.
        sampling: The frames of a video to look at.
        again: Whether known files are looked at again.
    """

    def __init__(self, store: Store, origins: Origins, sampling: Sampling, again: bool) -> None:
        self._store, self._origins = store, origins
        self._sampling, self._again = sampling, again
        self._planned: dict[str, Frame] = {}

    def plan(self, file: Frame) -> FilePlan:
        """Plan by the content of a file, without decoding it."""
        try:
            return self.plan_of(file, content_hash(file.path))
        except PictureError as error:
            old = self._store.find(path=stored(file.path))
            return FilePlan(file).refuse(f"{error}{KEPT}" if old else str(error))

    def plan_of(self, file: Frame, sha256: str) -> FilePlan:
        """Plan, as :meth:`plan`, for a file whose content somebody else has looked at."""
        plan = FilePlan(file, sha256)
        twin = self._store.find(sha256=sha256)
        if twin and twin.path != stored(file.path):
            if not _is_gone(from_stored(twin.path), file.path, sha256):
                return plan.refuse(f"same content as {twin.name}")
            plan.has_moved = True
        first = self._planned.setdefault(sha256, file)
        if first.path != file.path:
            return plan.refuse(f"same content as {first.name}")
        return self._known(plan) if twin and not self._again else self._new(plan)

    def _known(self, plan: FilePlan) -> FilePlan:
        sampling = str(self._sampling)
        if not plan.file.is_video or self._store.is_finished(plan.sha256, sampling):
            plan.is_known = True
            return plan
        scenes = self._store.find_all(sha256=plan.sha256)
        plan.known_frames = frozenset(scene.frame for scene in scenes)
        plan.request = self._request(plan)
        return plan

    def _new(self, plan: FilePlan) -> FilePlan:
        known = self._store.find(path=stored(plan.file.path)) or plan.has_moved
        plan.is_replacement = bool(known)
        plan.request = self._request(plan)
        return plan

    def _request(self, plan: FilePlan) -> dict[str, Any]:
        path = str(plan.file.path)
        if not plan.file.is_video:
            return {"do": "picture", "path": path, "wants_time": self._origins.needs_exif}
        skip = sorted(plan.known_frames)
        return {"do": "video", "path": path, "every": str(self._sampling), "skip": skip}


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        PictureError: The file is empty, cannot be read, or is a pipe, a device or a folder.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise PictureError("cannot be read: not a regular file")
        if not status.st_size:  # otherwise all empty files would be copies of each other
            raise PictureError("the file is empty")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror}") from error


def _is_gone(old: Path, new: Path, sha256: str) -> bool:
    """Tell whether a file that is at ``new`` is no longer at ``old``: moved, not copied.

    A path that cannot be read for a reason other than its absence is not gone.
    """
    try:
        if old.stat().st_size != new.stat().st_size:
            return True
        return content_hash(old) != sha256
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, PictureError):
        return False
