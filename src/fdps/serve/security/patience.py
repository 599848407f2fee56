"""HTTP for clients that are in no hurry: none of them may hold a connection for nothing.

uvicorn bounds how long a connection may be idle between requests, but not how long the headers of
a request may take. A client that sends one letter now and then (a slow loris) would keep its
connection for ever.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from fdps.serve.settings import Limits


class PatientProtocol(H11Protocol):
    """One connection, closed when the headers of a request do not arrive in time.

    Args:
        limits: The time, and the number of connections beyond which further ones are closed.
        given: The arguments of uvicorn's own protocol.
    """

    def __init__(self, *, limits: Limits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the headers of the first request."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            transport.close()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting while headers are incomplete; what has arrived of them gains no time."""
        super().data_received(data)
        if self._is_at_headers():
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_at_headers(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self._limits.header_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self._is_at_headers() and not self.transport.is_closing():
            self.transport.close()
