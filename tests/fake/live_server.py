"""The web service on a port, as ``fdps serve`` runs it, in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import uvicorn

from fake.embedder import ColourEmbedder
from fake.served import TOKEN
from fdps.serve.app import create_app
from fdps.serve.archives import Archives
from fdps.serve.security.patience import PatientProtocol
from fdps.serve.server import listen
from fdps.serve.settings import Limits, ServeSettings


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Signals are those of the tests."""


@contextmanager
def live(place: Path, limits: Limits) -> Iterator[int]:
    """The service on a free port, whose number is given."""
    bound = listen("127.0.0.1", 0)
    port = bound.getsockname()[1]
    settings = replace(ServeSettings(token=TOKEN, port=port), limits=limits)
    app = create_app(settings, Archives([place], lambda _: ColourEmbedder()))
    config = uvicorn.Config(
        app,
        http=partial(PatientProtocol, limits=limits),  # type: ignore[arg-type]
        ws="none",
        log_level="error",
        timeout_keep_alive=5,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        while not server.started:
            pass
        yield port
    finally:
        server.should_exit = True
        thread.join()


def said(port: int, content: bytes, *, timeout_s: float = 20.0) -> bytes:
    """Send bytes, and return everything that comes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(content)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received
