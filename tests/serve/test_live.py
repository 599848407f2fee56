"""The service on a port: clients that are slow, and clients that come in crowds."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake.live_server import live, said
from fake.served import TOKEN
from fdps.serve.settings import Limits

LIMITS = Limits(header_s=1.0, read_s=1.0, connections=60)


@pytest.fixture(scope="module")
def port(photos_archive: Path) -> Iterator[int]:
    with live(photos_archive, LIMITS) as port:
        yield port


def head(port: int, *lines: str) -> bytes:
    own = (f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {TOKEN}")
    return "\r\n".join((lines[0], *own, *lines[1:])).encode() + b"\r\n\r\n"


def is_well(port: int) -> bool:
    return b'{"status":"ok"}' in said(
        port, head(port, "GET /healthz HTTP/1.1", "Connection: close")
    )


@pytest.mark.long
def test_headers_that_never_end_cost_the_connection(port: int) -> None:
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        ended = False
        while not ended and time.monotonic() - start < 15:
            try:
                slow.sendall(b"X-a: b\r\n")  # a letter now and then gains no time
                time.sleep(0.1)
            except OSError:
                ended = True
    assert ended


@pytest.mark.long
def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    assert said(port, b"") == b""


@pytest.mark.long
def test_a_body_that_never_comes_is_a_408(port: int) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 100")
    answer = said(port, head(port, "POST /api/v1/search HTTP/1.1", *lines) + b'{"like"')
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()


def test_a_length_beyond_the_limit_is_refused_before_the_body_comes(port: int) -> None:
    answer = said(port, head(port, "POST /api/v1/queries HTTP/1.1", "Content-Length: 1000000000"))
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/queries", "/login"])
def test_what_nobody_wants_to_read_is_not_read(port: int, path: str) -> None:
    lines = ("Content-Type: multipart/form-data; boundary=x", "Transfer-Encoding: chunked")
    chunk = b"186a0\r\n" + b"\0" * 100_000 + b"\r\n"
    answer = said(port, head(port, f"POST {path} HTTP/1.1", *lines) + chunk)
    assert answer.startswith(b"HTTP/1.1 4")
    assert b"connection: close" in answer.lower()


@pytest.mark.long
def test_a_crowd_of_slow_clients_leaves_room_for_others(port: int) -> None:
    crowd = []
    try:
        for _ in range(LIMITS.connections - 10):
            slow = socket.create_connection(("127.0.0.1", port), timeout=20)
            slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
            crowd.append(slow)
        assert is_well(port)
        time.sleep(1.5)
        for slow in crowd:
            slow.settimeout(10)
            assert slow.recv(100) == b""
    finally:
        for slow in crowd:
            slow.close()
    assert is_well(port)


def test_connections_beyond_the_limit_are_closed(port: int) -> None:
    crowd = [
        socket.create_connection(("127.0.0.1", port), timeout=20)
        for _ in range(LIMITS.connections + 20)
    ]
    try:
        crowd[-1].settimeout(10)
        assert crowd[-1].recv(100) == b""
    finally:
        for slow in crowd:
            slow.close()


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(port: int, content: bytes) -> None:
    answer = said(port, content)
    assert not answer or answer.split()[1][:1] == b"4", answer[:100]
    assert is_well(port)
