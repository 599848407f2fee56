"""REST of indexing: folders by identifiers, jobs with their progress, files that were skipped."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from fdps.errors import UsageError
from fdps.serve.api.schemas_of_work import FolderOut, JobIn, JobOut, RootOut, SkippedOut
from fdps.serve.archives import ServedArchive
from fdps.serve.dependencies import AllArchives, Archive, Editor, Settings, Viewer
from fdps.serve.jobs.job import Job, JobOptions
from fdps.serve.jobs.runner import Jobs, Target
from fdps.serve.jobs.skipped import skipped_files
from fdps.serve.settings import ServeSettings

router = APIRouter(prefix="/api/v1", tags=["jobs"])

MOST_SKIPPED = 5000
"""Most skipped files in one answer."""

_LOOK_S = 0.25  # how often a stream of events looks for news
_BREATH_S = 15.0  # a line after so long, so that no proxy takes the stream for dead


async def jobs_of(request: Request) -> Jobs:
    """Return the jobs of the service."""
    jobs: Jobs = request.app.state.jobs
    return jobs


AllJobs = Annotated[Jobs, Depends(jobs_of)]


@router.get("/roots")
def roots(user: Editor, jobs: AllJobs) -> list[RootOut]:
    """List the folders that may be indexed."""
    return [
        RootOut(
            id=root.id,
            name=root.name,
            is_there=root.is_there,
            folders=[FolderOut(id=folder.id, name=folder.name) for folder in root.folders],
        )
        for root in jobs.roots.listed()
    ]


@router.get("/jobs")
def all_jobs(user: Viewer, jobs: AllJobs) -> list[JobOut]:
    """List the jobs, the newest first."""
    return [_shown(job) for job in jobs.jobs()]


@router.post("/jobs", status_code=202)
def start(
    body: JobIn, user: Editor, jobs: AllJobs, archives: AllArchives, settings: Settings
) -> JobOut:
    """Index a folder into an archive, in a process of its own; one job runs at a time."""
    target = _target(archives.get(body.archive), settings)
    folder = jobs.roots.folder(body.root, body.folder)
    options = JobOptions(body.every, body.camera, body.again)
    return _shown(jobs.start(target, folder, options=options, by=user.name))


@router.get("/jobs/{job_id}")
def job(job_id: str, user: Viewer, jobs: AllJobs) -> JobOut:
    """Return a job."""
    return _shown(jobs.job(job_id))


@router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
async def events(job_id: str, user: Viewer, jobs: AllJobs) -> StreamingResponse:
    """Stream the progress of a job: ``progress`` events, and ``end`` at the end."""
    await run_in_threadpool(jobs.job, job_id)  # an unknown one is a problem, not a stream
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_events(jobs, job_id), media_type="text/event-stream", headers=headers)


@router.delete("/jobs/{job_id}")
def cancel(job_id: str, user: Editor, jobs: AllJobs) -> JobOut:
    """End a job; what it has added stays in the archive, and another job goes on from there."""
    return _shown(jobs.cancel(job_id))


@router.get("/skipped")
def skipped(user: Viewer, archive: Archive, jobs: AllJobs) -> list[SkippedOut]:
    """List the files that the archive has skipped, with the reasons."""
    found = skipped_files(_folder(archive), jobs.roots)[:MOST_SKIPPED]
    return [SkippedOut(file=f.file, reason=f.reason, may_retry=f.may_retry) for f in found]


@router.post("/skipped/retry", status_code=202)
def retry(user: Editor, archive: Archive, jobs: AllJobs, settings: Settings) -> JobOut:
    """Look once more at the files that were skipped."""
    return _shown(jobs.retry(_target(archive, settings), by=user.name))


async def _events(jobs: Jobs, job_id: str) -> AsyncIterator[str]:
    told, silent_s = None, 0.0
    while True:
        job = await run_in_threadpool(jobs.job, job_id)
        if job != told:
            told, silent_s = job, 0.0
            name = "end" if job.is_over else "progress"
            yield f"event: {name}\ndata: {_shown(job).model_dump_json()}\n\n"
        elif silent_s >= _BREATH_S:
            silent_s = 0.0
            yield ":\n\n"
        if job.is_over:
            return
        await asyncio.sleep(_LOOK_S)
        silent_s += _LOOK_S


def _shown(job: Job) -> JobOut:
    figures = asdict(job)
    return JobOut(**figures.pop("options"), **figures)


def _folder(archive: ServedArchive) -> Path:
    if "://" in archive.place:
        raise UsageError(
            "an archive on a server is indexed from the command line",
            hint="fdps index SOURCE -o ADDRESS",
        )
    return Path(archive.place)


def _target(archive: ServedArchive, settings: ServeSettings) -> Target:
    return Target(archive.key, _folder(archive), settings.model, settings.device)
