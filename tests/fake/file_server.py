"""A server of files on this machine, over TLS, that misbehaves as it is told."""

import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """A request, and what is sent in answer to it."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        files = self.server.files
        self.close_connection = True
        files.asked.append((self.path, self.headers.get("Range")))
        answer = files.answers.get(self.path, well if self.path in files.content else missing)
        answer(self)

    @property
    def content(self) -> bytes:
        """The file that was asked for."""
        return self.server.files.content[self.path]

    @property
    def start(self) -> int:
        """The first byte that was asked for."""
        range_ = self.headers.get("Range")
        return int(range_.removeprefix("bytes=").rstrip("-")) if range_ else 0

    def head(self, status: int, **headers: object) -> None:
        """Send the status and headers; an underscore in a name is a dash."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def whole(self, body: bytes) -> None:
        """Send a file as the whole that it is."""
        self.head(200, Content_Length=len(body))
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@dataclass
class Files:
    """What a server has, how it answers, and what it was asked for."""

    content: dict[str, bytes]
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and range of every request, in order."""
    address: str = ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    files: Files

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone."""


def well(asked: Asked) -> None:
    """A server that knows ranges."""
    body, start = asked.content, asked.start
    if start >= len(body):
        return asked.head(416, Content_Length=0)
    if not start:
        return asked.whole(body)
    range_ = f"bytes {start}-{len(body) - 1}/{len(body)}"
    asked.head(206, Content_Length=len(body) - start, Content_Range=range_)
    asked.wfile.write(body[start:])
    return None


def missing(asked: Asked) -> None:
    asked.head(404, Content_Length=0)


def without_ranges(asked: Asked) -> None:
    asked.whole(asked.content)


def status(code: int, **headers: object) -> Answer:
    return lambda asked: asked.head(code, Content_Length=0, **headers)


def broken_off(n: int) -> Answer:
    """Promises the rest, and goes away after ``n`` bytes of the file."""

    def answer(asked: Asked) -> None:
        asked.head(200, Content_Length=len(asked.content))
        asked.wfile.write(asked.content[:n])

    return answer


def once(first: Answer, then: Answer = well) -> Answer:
    """Behave in one way at the first request and in another at all later ones."""
    answers = [first]
    return lambda asked: (answers.pop() if answers else then)(asked)


def trickle(asked: Asked, *, pieces: int = 8, pause_s: float = 0.05) -> None:
    """Sends a piece, and waits, and sends the next."""
    body = asked.content
    asked.head(200, Content_Length=len(body))
    step = -(-len(body) // pieces)
    for at in range(0, len(body), step):
        asked.wfile.write(body[at : at + step])
        asked.wfile.flush()
        time.sleep(pause_s)


def until(gate: threading.Event, n: int) -> Answer:
    """Sends some bytes, and the rest when a gate is opened."""

    def answer(asked: Asked) -> None:
        asked.head(200, Content_Length=len(asked.content))
        asked.wfile.write(asked.content[:n])
        asked.wfile.flush()
        gate.wait(20)
        asked.wfile.write(asked.content[n:])

    return answer


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a key and a certificate of ``localhost`` that is its own authority."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    out = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *subject, *out], check=True, capture_output=True)
    return key, certificate


@contextmanager
def serve(content: dict[str, bytes], certificate: tuple[Path, Path]) -> Iterator[Files]:
    """Serve files, by their paths, as long as the context lasts."""
    server = _Server(("localhost", 0), Asked)
    server.files = Files(content, address=f"https://localhost:{server.server_address[1]}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key, chain = certificate
    context.load_cert_chain(chain, key)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
