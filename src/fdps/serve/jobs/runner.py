"""Indexing for clients: a process of its own, one at a time, with a history.

The process is ``fdps index``. It writes its progress as lines of JSON into a pipe of the server; a
server that is killed breaks the pipe, which ends the process at its next line. Whatever ends it,
every scene that it has added stays, and the next run goes on from there.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from fdps.errors import ArchiveError, MissingDataError, UsageError
from fdps.search.sqlite.schema import writer_lock
from fdps.serve.jobs.job import JOBS_FILE, Job, JobHistory, JobOptions, State
from fdps.serve.jobs.roots import Folder, Roots
from fdps.serve.jobs.skipped import written_list

STOP_S = 30.0
"""Time that a job has to end after it was asked to, in seconds."""

_SAVED_EVERY_S = 2.0
_MOST_LINES = 20  # of what the process says, for the message of a failure
# A server that was started in the background may have Ctrl-C ignored, and its children would
# inherit that; they are to be stopped by it.
_INDEX = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from fdps.cli.main import main; sys.exit(main())"
)


class JobRunningError(ArchiveError):
    """Another job, or another process, writes; one writes at a time."""


class UnknownJobError(MissingDataError):
    """There is no job of this identifier."""


@dataclass(frozen=True, slots=True)
class Target:
    """The archive that a job writes into.

    Args:
        id: Identifier of the archive.
        folder: Its folder.
        model: The model, where it is not where the archive remembers it; else empty.
        device: Device that the model runs on.
    """

    id: str
    folder: Path
    model: str = ""
    device: str = "cpu"


@dataclass(slots=True, eq=False)
class _Running:
    """A job at work, and the process that does it."""

    job: Job
    process: "subprocess.Popen[str]"
    output: IO[str]
    history: JobHistory
    hidden: str  # path that no client learns of
    shown: str  # what stands in its place
    reason: State | None = None  # why it was asked to end
    started: float = field(default_factory=time.monotonic)
    lines: "deque[str]" = field(default_factory=lambda: deque(maxlen=_MOST_LINES))


class Jobs:
    """Starts jobs, watches them, and remembers them.

    Args:
        roots: The folders that may be indexed.
        folders: Folders of the archives, by their identifiers.
    """

    def __init__(self, roots: Roots, folders: Mapping[str, Path]) -> None:
        self.roots = roots
        self._folders = dict(folders)
        self._histories: dict[str, JobHistory] = {}
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._watcher: threading.Thread | None = None

    def start(
        self, target: Target, folder: Folder, *, options: JobOptions | None = None, by: str
    ) -> Job:
        """Index a folder into an archive.

        Args:
            target: The archive.
            folder: The folder, as :meth:`Roots.folder` found it.
            options: What the client said about the files.
            by: Name of the user.

        Returns:
            The job, which runs.

        Raises:
            JobRunningError: Another job runs.
            ArchiveError: Another process writes into the archive.
            ResourceError: The disk is full.
        """
        return self._start(target, str(folder.path), folder.name, options or JobOptions(), by)

    def retry(self, target: Target, *, by: str) -> Job:
        """Look once more at the files that were skipped, as far as they are below a root.

        Raises:
            UsageError: No file was skipped that may be indexed.
            JobRunningError: Another job runs.
            ArchiveError: Another process writes into the archive.
            ResourceError: The disk is full.
        """
        names = written_list(target.folder, self.roots)
        if names is None:
            raise UsageError("no file was skipped that may be indexed from here")
        return self._start(target, f"@{names}", "files that were skipped", JobOptions(), by)

    def jobs(self) -> list[Job]:
        """Return the jobs of all archives, the newest first."""
        found = [job for archive in self._folders for job in self._history(archive).jobs()]
        running = self._running
        live = {running.job.id: running.job} if running else {}
        return sorted(
            (live.get(job.id, job) for job in found), key=lambda job: job.created, reverse=True
        )

    def job(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            UnknownJobError: There is none of this identifier.
        """
        running = self._running
        if running and running.job.id == job_id:
            return running.job
        for job in self.jobs():
            if job.id == job_id:
                return job
        raise UnknownJobError("there is no such job")

    def cancel(self, job_id: str) -> Job:
        """End a job; what it has added stays. One that has ended stays as it is.

        Raises:
            UnknownJobError: There is none of this identifier.
        """
        running = self._running
        if running and running.job.id == job_id:
            self._stop(running, "cancelled")
        return self.job(job_id)

    def close(self) -> None:
        """End the job that runs, and wait for it."""
        running, watcher = self._running, self._watcher
        if running:
            self._stop(running, "interrupted")
        if watcher:
            watcher.join(STOP_S + 5)
        for history in self._histories.values():
            history.close()

    def _history(self, archive: str) -> JobHistory:
        with self._lock:
            if archive not in self._histories:
                self._histories[archive] = JobHistory(self._folders[archive] / JOBS_FILE)
            return self._histories[archive]

    def _start(self, target: Target, source: str, shown: str, options: JobOptions, by: str) -> Job:
        history = self._history(target.id)
        with self._lock:
            if self._running:
                raise JobRunningError(
                    f"a job is running: {self._running.job.folder}; one runs at a time",
                    hint="wait until it has ended, or cancel it",
                )
            _check_free(target.folder)
            job = Job(secrets.token_urlsafe(9), target.id, shown, options, "running", by, _now())
            history.keep(job)
            output = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - _watch closes it
            process = subprocess.Popen(
                _command(target, source, options),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # Ctrl-C in the server's terminal is for the server
            )
            self._running = _Running(
                job, process, output, history, str(target.folder), target.folder.name
            )
            self._watcher = threading.Thread(target=self._watch, args=(self._running,), daemon=True)
            self._watcher.start()
        return job

    def _stop(self, running: _Running, reason: State) -> None:
        """Ask a process to end, and make it end if it does not."""
        running.reason = running.reason or reason
        with suppress(ProcessLookupError):
            os.kill(running.process.pid, signal.SIGINT)

        def insist() -> None:
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(STOP_S)
            running.process.kill()

        threading.Thread(target=insist, daemon=True).start()

    def _watch(self, running: _Running) -> None:
        """Read what a process says until it has ended."""
        assert running.process.stderr is not None
        saved = time.monotonic()
        try:
            for line in running.process.stderr:
                self._hear(running, line)
                if time.monotonic() - saved >= _SAVED_EVERY_S:
                    saved = time.monotonic()
                    with suppress(Exception):  # a full disk must not end the watching
                        running.history.keep(running.job)
            running.job = self._ended(running, running.process.wait())
        finally:
            running.process.stderr.close()
            running.output.close()
            with suppress(Exception):
                running.history.keep(running.job)
            self._running = None

    def _hear(self, running: _Running, line: str) -> None:
        heard = _progress(line)
        if heard is None:
            if line.strip():
                running.lines.append(line.rstrip())
            return
        done, total = heard["done"], heard["total"]
        elapsed = time.monotonic() - running.started
        eta_s = round(elapsed * (total - done) / done, 1) if done else None
        running.job = replace(
            running.job, done=done, total=total, people=heard["people"], eta_s=eta_s
        )

    def _ended(self, running: _Running, code: int) -> Job:
        job = replace(running.job, ended=_now(), eta_s=None)
        said = self.roots.hide("\n".join(running.lines)).replace(running.hidden, running.shown)
        if code == 0:
            running.output.seek(0)
            figures = json.loads(running.output.read() or "{}")
            return replace(
                job,
                state="done",
                done=max(job.done, job.total),
                people=figures.get("n_people", job.people),
                added=figures.get("n_added"),
                skipped=len(figures.get("skipped", ())),
                message=said,
            )
        if running.reason:
            return replace(job, state=running.reason)
        return replace(job, state="failed", message=said or f"it ended with status {code}")


def _check_free(folder: Path) -> None:
    """Refuse at once where another process writes; what is said names no folder above it."""
    try:
        with writer_lock(folder):
            pass
    except ArchiveError as error:
        said = str(error).replace(str(folder), folder.name)
        raise JobRunningError(said, hint="wait until it has finished") from error


def _command(target: Target, source: str, options: JobOptions) -> list[str]:
    model = [f"--model={target.model}"] if target.model else []
    return [
        *(sys.executable, "-P", "-c", _INDEX),
        *("index", source, "-o", str(target.folder), "--progress", "json", "--json"),
        *(f"--device={target.device}", *model, *options.words()),
    ]


def _progress(line: str) -> dict[str, int] | None:
    """Read a line of progress; ``None`` for anything else."""
    if not line.startswith("{"):
        return None
    try:
        figures: Any = json.loads(line)
    except ValueError:
        return None
    is_one = isinstance(figures, dict) and all(
        isinstance(figures.get(key), int) for key in ("done", "total", "people")
    )
    return figures if is_one else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
