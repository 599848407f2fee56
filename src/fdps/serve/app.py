"""The application: settings and archives in, an ASGI application out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from fdps import __version__
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
from fdps.serve.metrics import Metrics
from fdps.serve.security.door import Door
from fdps.serve.security.guard import Guard
from fdps.serve.settings import ServeSettings

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

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(archives.close)

    app = FastAPI(
        title="fdps",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # these pages take their scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    door, metrics = Door(settings), Metrics()
    app.state.settings, app.state.archives = settings, archives
    app.state.door, app.state.metrics = door, metrics
    app.state.error_page = pages.error_page
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.add_middleware(Guard, settings=settings, door=door, finished=metrics.finished)
    return app
