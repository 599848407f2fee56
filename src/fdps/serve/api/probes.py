"""Probes: whether the service lives, whether it is ready, its version and its figures."""

from fastapi import APIRouter, Request, Response

from fdps import __version__
from fdps.serve.dependencies import Viewer
from fdps.serve.metrics import Metrics
from fdps.serve.problems import problem

router = APIRouter(tags=["probes"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Tell that the service lives; it needs no archive and no thread."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> dict[str, str]:
    """Tell that the archives are read and their models are loaded."""
    if not request.app.state.is_ready:
        raise problem(503, "the archives are being read", code="not_ready")
    return {"status": "ok"}


@router.get("/api/v1/version")
async def version(user: Viewer) -> dict[str, str]:
    """Return the version of fdps, and who is asking."""
    return {"version": __version__, "user": user.name, "role": user.role.name.lower()}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, user: Viewer) -> Response:
    """Return the figures of the service in the text format of Prometheus."""
    figures: Metrics = request.app.state.metrics
    return figures.response()
