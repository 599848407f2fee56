"""The guard before the application: every request passes it, whatever route it asks for.

It answers by itself what must not reach the application: a strange ``Host`` (DNS rebinding),
requests of other sites' pages (CSRF), strangers, bodies that are too long or too slow, and
requests beyond the capacity. Everything is closed unless it is named in :data:`OPEN`.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fdps.serve.problems import Problem, ProblemError, busy, problem, respond
from fdps.serve.security.door import Door, is_own_page
from fdps.serve.settings import ServeSettings

log = logging.getLogger("fdps.serve")

OPEN = ("/healthz", "/readyz", "/login", "/static/")
"""Paths that strangers may read: they tell nothing about archives."""
UPLOADS = ("/api/v1/queries",)
"""Paths that take pictures, and so larger bodies than others."""
PROBES = ("/healthz", "/readyz")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
MULTIPART_EXTRA = 65_536  # headers of parts and the other fields of an upload

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: a form of ours would then send Origin: null, and be refused as a strange one.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_NO_STORE = "no-store"
_STATIC = "no-cache"  # browsers ask each time, and get 304
_HSTS = "max-age=31536000"


class Guard:
    """An ASGI application around another.

    Args:
        app: The application that is guarded.
        settings: The settings of the service.
        door: Tells who sends a request.
        finished: Called after each response with the route, the method, the status and the
            seconds it took.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        door: Door,
        finished: Callable[[Scope, int, float], None],
    ) -> None:
        self._app, self._settings, self._door = app, settings, door
        self._finished = finished
        self._n_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # there are no websockets
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, status, request = time.perf_counter(), 0, Request(scope)
        most = self._most_bytes(scope["path"])
        body = _Body(receive, request, most, self._settings.limits.read_s)

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                self._add_headers(headers, scope["path"])
                if not body.is_complete:  # what is left of it is not worth reading
                    headers["Connection"] = "close"
            await send(message)

        self._n_requests += 1
        try:
            await self._answer(scope, body.receive, guarded)
        except ClientDisconnect:
            status = status or 499  # as web servers note a client that has gone
        except Exception as error:
            if status:  # the response had begun; the connection is cut, so that nobody trusts it
                raise
            found = _problem_of(error)
            await respond(request, found)(scope, receive, guarded)
        finally:
            self._n_requests -= 1
            self._finished(scope, status, time.perf_counter() - start)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        self._check_host(request)
        path = scope["path"]
        if self._n_requests > self._settings.limits.requests and path not in PROBES:
            raise busy("requests")
        entry = self._door.who(request)
        if scope["method"] not in SAFE_METHODS or _is_api(path):
            self._check_origin(request, is_bearer=entry is not None and entry.is_bearer)
        self._check_length(request)
        if scope["method"] == "GET" and path == "/" and "token" in request.query_params:
            await self._door.by_token(request)(scope, receive, send)
            return
        if entry is None and not is_open(path):
            raise self._closed(request)
        scope.setdefault("state", {})["user"] = entry.user if entry else None
        await self._app(scope, receive, send)

    def _check_host(self, request: Request) -> None:
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._settings.hosts:
            raise problem(
                421,
                "this service does not go by that name",
                hint="open the address that fdps serve printed; --name adds others",
                code="wrong_host",
            )

    def _check_origin(self, request: Request, *, is_bearer: bool) -> None:
        """Refuse what the page of another site makes a browser send."""
        if request.method in SAFE_METHODS:
            is_own = request.headers.get("sec-fetch-site") not in ("cross-site", "same-site")
        else:
            is_own = is_own_page(request, self._settings, is_bearer=is_bearer)
        if not is_own:
            raise problem(
                403,
                "the request does not come from a page of this service",
                hint="programs send Authorization: Bearer TOKEN",
                code="wrong_origin",
            )

    def _most_bytes(self, path: str) -> int:
        limits = self._settings.limits
        return limits.upload_bytes + MULTIPART_EXTRA if path in UPLOADS else limits.body_bytes

    def _check_length(self, request: Request) -> None:
        """Refuse at once a body that announces to be too long."""
        text, most = request.headers.get("content-length"), self._most_bytes(request.url.path)
        if text is not None and (not text.isascii() or not text.isdigit() or int(text) > most):
            raise _too_long(most)

    def _closed(self, request: Request) -> ProblemError:
        headers = {"WWW-Authenticate": 'Bearer realm="fdps"'}
        hint = "open the whole address that fdps serve printed, or send Authorization: Bearer TOKEN"
        if self._door.has_users:
            hint = "log in at /login"
            if "text/html" in request.headers.get("accept", "") and not _is_api(request.url.path):
                return ProblemError(Problem(303, "log in", headers={"Location": "/login"}))
        return ProblemError(
            Problem(401, "this service does not know you", hint=hint, headers=headers)
        )

    def _add_headers(self, headers: MutableHeaders, path: str) -> None:
        for name, value in HEADERS.items():
            headers[name] = value
        if "cache-control" not in headers:
            headers["Cache-Control"] = _STATIC if path.startswith("/static/") else _NO_STORE
        if self._settings.is_secure:
            headers["Strict-Transport-Security"] = _HSTS


class _Body:
    """The body of a request, handed on as long as it is neither too long nor too slow.

    Args:
        receive: Gives its parts.
        request: The request.
        most: Most bytes.
        seconds: Time within which all of it must arrive.

    Attributes:
        is_complete: Whether nothing of it is still to come.
    """

    def __init__(self, receive: Receive, request: Request, most: int, seconds: float) -> None:
        self._receive, self._most, self._n_bytes = receive, most, 0
        self._deadline = time.monotonic() + seconds
        has_length = request.headers.get("content-length", "0") != "0"
        self.is_complete = not has_length and "transfer-encoding" not in request.headers

    async def receive(self) -> Message:
        """Return the next part; after the last, wait until the client has gone."""
        if self.is_complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._deadline - time.monotonic())
        except TimeoutError as error:
            raise HTTPException(408, "the body did not arrive in time") from error
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > self._most:
            raise _too_long(self._most)
        self.is_complete = not message.get("more_body", False)
        return message


def is_open(path: str) -> bool:
    """Tell whether strangers may ask for a path."""
    return any(path == name or (name.endswith("/") and path.startswith(name)) for name in OPEN)


def _is_api(path: str) -> bool:
    return path.startswith("/api/")


def _too_long(most: int) -> HTTPException:
    return HTTPException(413, f"the body has more than {most:,} bytes")


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return Problem(500, "this is a bug in fdps; the log of the service tells more", code="bug")
