"""The application: settings and archives in, an ASGI application out."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from fdps import __version__
from fdps.errors import FdpsError
from fdps.serve import pages, problems
from fdps.serve.api import (
    cameras,
    cases,
    jobs,
    login,
    model,
    people,
    privacy,
    probes,
    queries,
    scenes,
    search,
    timeline,
)
from fdps.serve.archives import Archives
from fdps.serve.cases.book import CaseBook
from fdps.serve.jobs.roots import Roots
from fdps.serve.jobs.runner import Jobs
from fdps.serve.looking.queries import Queries
from fdps.serve.looking.scenes import ScenePictures
from fdps.serve.looking.uploads import Uploads
from fdps.serve.metrics import Metrics
from fdps.serve.problems import ProblemError
from fdps.serve.security.door import Door
from fdps.serve.security.guard import Guard
from fdps.serve.settings import ServeSettings

log = logging.getLogger("fdps.serve")

_EXPORTS = 2  # at one time; each decodes pictures in a process of its own
ROUTERS = (
    *(probes.router, login.router, queries.router, search.router, people.router, scenes.router),
    *(cameras.router, timeline.router, model.router, cases.router, jobs.router, privacy.router),
    pages.router,
)


def create_app(settings: ServeSettings, archives: Archives) -> FastAPI:
    """Make the application.

    Args:
        settings: The settings of the service.
        archives: The archives that are served; the application closes them when it ends.

    Raises:
        UsageError: The settings would open the archives to others without protection.
        MissingDataError: The file of users is not there.
    """
    settings.check()

    folders = {one.key: Path(one.place) for one in archives if "://" not in one.place}
    jobs, book = Jobs(Roots(settings.roots), folders), CaseBook(archives, settings.cases)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(_warm(app, archives))
        yield
        warming.cancel()
        for part in (jobs, book, app.state.uploads, app.state.scene_pictures, archives):
            await run_in_threadpool(part.close)

    app = FastAPI(
        title="fdps",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # these pages take their scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,  # an address is right or wrong; none leads elsewhere
    )
    door, metrics = Door(settings), Metrics()
    app.state.settings, app.state.archives = settings, archives
    app.state.door, app.state.metrics = door, metrics
    app.state.queries = Queries(settings.limits)
    app.state.uploads = Uploads(settings.limits)
    app.state.scene_pictures = ScenePictures(settings.limits)
    app.state.is_ready = False
    app.state.jobs, app.state.cases = jobs, book
    app.state.exports = CapacityLimiter(_EXPORTS)
    app.state.error_page = pages.error_page
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.add_middleware(Guard, settings=settings, door=door, finished=metrics.finished)
    return app


async def _warm(app: FastAPI, archives: Archives) -> None:
    """Read the archives and load their models; whoever asks meanwhile waits for what they need."""
    for archive in archives:
        try:
            await archive.warm()
        except (
            FdpsError,
            ProblemError,
        ) as error:  # it is served all the same, and says so to whoever asks
            log.warning("%s: %s", archive.name, error)
    app.state.is_ready = True
