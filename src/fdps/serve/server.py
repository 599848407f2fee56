"""Listen on a socket and serve an application there, until a signal ends it."""

import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn

from fdps.errors import ResourceError
from fdps.serve.garbage import look_for_cycles_less_often
from fdps.serve.security.patience import PatientProtocol
from fdps.serve.settings import ServeSettings

_BACKLOG = 128
_HEADER_BYTES = 32_768
_IDLE_S, _END_S = 5, 10


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free.

    Raises:
        ResourceError: The port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host.strip("[]"), port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise ResourceError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="another program may hold the port: --port 0 takes any that is free",
        ) from error
    return bound


class _Server(uvicorn.Server):
    """A server that tells when it takes requests."""

    started_by: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.started_by is not None:
            self.started_by()


def serve(
    app: Any, settings: ServeSettings, bound: socket.socket, started: Callable[[], None]
) -> None:
    """Serve an application until SIGINT or SIGTERM, which are raised again at the end.

    Args:
        app: The application.
        settings: Its settings.
        bound: The socket, from :func:`listen`.
        started: Called when requests are taken.
    """
    protocol: Any = partial(PatientProtocol, limits=settings.limits)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_level="error",  # what clients do wrong is no matter for the log
        access_log=False,
        server_header=False,
        proxy_headers=settings.behind_proxy,
        forwarded_allow_ips=settings.proxy,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_END_S,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        ssl_certfile=settings.certificate,
        ssl_keyfile=str(settings.key) if settings.key else None,
    )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    look_for_cycles_less_often()
    server = _Server(config)
    server.started_by = started
    server.run(sockets=[bound])
