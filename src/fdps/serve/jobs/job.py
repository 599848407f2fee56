"""Jobs of indexing as they are kept: what was asked for, how far it is, how it ended."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from fdps.decoding.sampling import DEFAULT_EVERY, Sampling
from fdps.serve.cases.case import checked
from fdps.serve.database import Database

State = Literal["running", "done", "failed", "cancelled", "interrupted"]

JOBS_FILE = "jobs.sqlite"
"""Name of the file of the history in the folder of an archive."""

MOST_KEPT = 500
"""Most jobs in the history of an archive; the oldest go first."""

_MOST_OF_CAMERA = 100
_SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    body TEXT NOT NULL  -- JSON
)
"""
_VERSION = 1


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a client may say about the files.

    Args:
        every: Frames of videos to look at, as for ``fdps index``.
        camera: Name of the camera; empty for none.
        again: Whether known files are looked at again.

    Raises:
        UsageError: ``every`` or ``camera`` is malformed.
    """

    every: str = DEFAULT_EVERY
    camera: str = ""
    again: bool = False

    def __post_init__(self) -> None:
        Sampling.parse(self.every)
        checked(self.camera, "the camera", _MOST_OF_CAMERA)

    def words(self) -> list[str]:
        """Return them as options of the command line."""
        camera = [f"--camera={self.camera.strip()}"] if self.camera.strip() else []
        return [f"--every={self.every}", *camera, *(["--all"] if self.again else [])]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of indexing.

    Args:
        id: Its identifier.
        archive: Identifier of the archive.
        folder: What is indexed, for people: the root, and the path below it.
        options: What the client said about the files.
        state: Whether it runs, or how it ended.
        by: Name of the user.
        created: Time of the start, ISO 8601, UTC.
        ended: Time of the end; empty while it runs.
        done: Number of pictures and frames that were looked at.
        total: Number of all of them, as far as that is known.
        people: Number of people in the archive.
        added: Number of pictures and frames added; known at the end.
        skipped: Number of files skipped; known at the end.
        eta_s: Seconds to go, as far as that is known.
        message: Why it failed, or what else there is to say.
    """

    id: str
    archive: str
    folder: str
    options: JobOptions
    state: State
    by: str
    created: str
    ended: str = ""
    done: int = 0
    total: int = 0
    people: int = 0
    added: int | None = None
    skipped: int | None = None
    eta_s: float | None = None
    message: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state != "running"


class JobHistory:
    """The jobs of an archive, kept in a file.

    Jobs that were running when the server ended are noted as interrupted.

    Args:
        path: The file, made where there is none.

    Raises:
        ArchiveError: The file is damaged, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA, version=_VERSION)
        for job in self.jobs():
            if not job.is_over:
                self.keep(replace(job, state="interrupted", message="the server ended"))

    def jobs(self) -> list[Job]:
        """Return the jobs, the newest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT body FROM jobs ORDER BY number DESC").fetchall()
        return [_read_job(body) for (body,) in rows]

    def keep(self, job: Job) -> None:
        """Keep a job, in place of its earlier state; the oldest beyond the limit are forgotten."""
        body = json.dumps(asdict(job))
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO jobs (id, state, body) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body",
                (job.id, job.state, body),
            )
            connection.execute(
                "DELETE FROM jobs WHERE number <= (SELECT max(number) FROM jobs) - ?", (MOST_KEPT,)
            )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _read_job(body: str) -> Job:
    values = json.loads(body)
    return Job(**{**values, "options": JobOptions(**values["options"])})
