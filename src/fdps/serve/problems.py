"""Every error as ``application/problem+json`` (RFC 9457), or as a page for people.

What a problem says is meant for the client: it names no file of this machine, and never a
traceback. What happened inside is written to the log.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from fdps.errors import (
    ArchiveError,
    DataError,
    FdpsError,
    MissingDataError,
    ModelError,
    ResourceError,
    UsageError,
)
from fdps.names import printable

log = logging.getLogger("fdps.serve")

MEDIA_TYPE = "application/problem+json"
_STATUS: tuple[tuple[type[FdpsError], int], ...] = (
    (MissingDataError, 404),
    (UsageError, 422),
    (DataError, 422),
    (ModelError, 409),
    (ArchiveError, 409),
    (ResourceError, 503),
)
_MOST_SAID = 500  # letters of a message; what a client sent may be quoted in it


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem, as RFC 9457 describes it.

    Args:
        status: Status of HTTP.
        detail: What happened, which value, what was expected.
        hint: What to do about it; may be empty.
        code: A word for programs, such as ``busy`` or ``not_found``.
        headers: Further headers of the response.
    """

    status: int
    detail: str
    hint: str = ""
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the members of the JSON object."""
        values = asdict(self)
        del values["headers"]
        values["detail"] = _shortened(self.detail)
        values["hint"] = _shortened(self.hint)
        title = HTTPStatus(self.status).phrase
        code = self.code or title.lower().replace(" ", "_").replace("-", "_")
        return {"type": "about:blank", "title": title, **values, "code": code}

    def response(self) -> JSONResponse:
        """Return the problem as a response for programs."""
        return JSONResponse(
            self.body(), self.status, headers=dict(self.headers), media_type=MEDIA_TYPE
        )


class ProblemError(Exception):
    """A request cannot be answered, for the reason that the problem tells."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem(status: int, detail: str, *, hint: str = "", code: str = "") -> ProblemError:
    """Make an error to raise."""
    return ProblemError(Problem(status, detail, hint=hint, code=code))


def not_found(what: str) -> ProblemError:
    """Make the error for an id that names nothing."""
    return problem(404, f"there is no such {what}", hint="it may have been removed or have expired")


def busy(what: str, *, retry_s: int = 1) -> ProblemError:
    """Make the error for work beyond what can wait."""
    return ProblemError(
        Problem(
            429,
            f"too many {what} are waiting",
            hint="try again in a moment",
            code="busy",
            headers={"Retry-After": str(retry_s)},
        )
    )


def of_error(error: FdpsError) -> Problem:
    """Describe an error of the tree in :mod:`fdps.errors`."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    name = type(error).__name__.removesuffix("Error")
    code = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
    return Problem(status, printable(error), hint=printable(error.hint), code=code)


ErrorPage = Callable[[Request, Problem], str]
"""Writes the page of a problem for people; empty where there is none."""


def wants_page(request: Request) -> bool:
    """Tell whether a person with a browser asks, and not a program."""
    is_api = request.url.path.startswith(("/api/", "/healthz", "/readyz", "/metrics", "/static/"))
    return not is_api and "text/html" in request.headers.get("accept", "")


def respond(request: Request, found: Problem) -> Response:
    """Return a problem in the form that fits whoever asks."""
    page: ErrorPage | None = getattr(request.app.state, "error_page", None)
    if page is not None and wants_page(request):
        text = page(request, found)
        if text:
            return HTMLResponse(text, found.status, headers=dict(found.headers))
    return found.response()


def install(app: FastAPI) -> None:
    """Let an application answer every error by a problem."""

    async def own(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return respond(request, error.problem)

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, FdpsError)
        return respond(request, of_error(error))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        return respond(request, Problem(error.status_code, str(error.detail), headers=headers))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(request, Problem(422, _first_fault(error), code="invalid"))

    app.add_exception_handler(ProblemError, own)
    app.add_exception_handler(FdpsError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _first_fault(error: RequestValidationError) -> str:
    """Say which field is wrong and why; never its value, which may be anything."""
    faults = error.errors()
    if not faults:
        return "the request does not fit"
    place = ".".join(str(part) for part in faults[0].get("loc", ()))
    return printable(f"{place}: {faults[0].get('msg', 'it does not fit')}")


def _shortened(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _MOST_SAID else f"{text[: _MOST_SAID - 1]}…"
