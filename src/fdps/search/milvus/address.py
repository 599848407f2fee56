"""The address of an archive on Milvus, the connection to it, and the meaning of its errors.

.. code-block:: text

    milvus://HOST:PORT/COLLECTION             a server; ?tls=1 encrypts the connection
    milvus:///FOLDER/FILE.db?collection=NAME  the embedded edition (milvus-lite), for one process

A token or ``user:password`` is taken from the environment variable ``FDPS_MILVUS_TOKEN``, so that
it appears neither in a command nor in an archive.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from fdps.errors import ArchiveError, FdpsError, MissingDataError, ResourceError, UsageError

if TYPE_CHECKING:
    from pymilvus import MilvusClient

SCHEME = "milvus"
TOKEN_VARIABLE = "FDPS_MILVUS_TOKEN"
DEFAULT_COLLECTION = "people"
NEVER_MS = 2**31 - 1  # longest interval that gRPC accepts, which means never
PING_MS = 330_000  # servers allow a ping in five minutes unless they are told otherwise
CONNECT_TIMEOUT_S = 10.0

_users: Counter[str] = Counter()  # number of users of each address in this process

_FORMS = "milvus://HOST:PORT/COLLECTION or milvus:///FOLDER/FILE.db?collection=NAME"
_FULL = ("memory quota", "disk quota", "quota exceeded", "quota exhausted", "no space left")
_AWAY = ("connect", "unavailable", "deadline exceeded", "timeout")


@dataclass(frozen=True, slots=True)
class MilvusAddress:
    """The address of a collection of people, on a server or in a file.

    Args:
        uri: URI for the client: ``http://host:port``, ``https://host:port`` or the path of a file.
        collection: Name of the collection of people.
        given: The address as the user wrote it, for messages.
    """

    uri: str
    collection: str
    given: str

    @property
    def records(self) -> str:
        """Name of the collection that holds everything but people."""
        return f"{self.collection}_records"

    @property
    def is_file(self) -> bool:
        """Whether the address is a file of the embedded edition."""
        return not self.uri.startswith(("http://", "https://"))

    def __str__(self) -> str:
        return self.given


def parse_address(uri: str) -> MilvusAddress:
    """Read an address; the module's docstring shows both forms.

    Raises:
        UsageError: The address has neither form.
    """
    parts = urlsplit(uri)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    try:
        has_port = parts.port is not None
    except ValueError:
        has_port = False
    if parts.username or parts.password:
        raise UsageError(
            "an address must not hold a password",
            hint=f"put user:password or a token into the environment variable {TOKEN_VARIABLE}",
        )
    if not parts.netloc and parts.path.endswith(".db"):
        collection = options.pop("collection", DEFAULT_COLLECTION)
        address = MilvusAddress(unquote(parts.path), collection, uri)
    elif parts.hostname and has_port:
        secure = options.pop("tls", "0") == "1"
        server = f"http{'s' * secure}://{parts.netloc}"
        address = MilvusAddress(server, parts.path.strip("/") or DEFAULT_COLLECTION, uri)
    else:
        raise UsageError(f"an archive on Milvus is {_FORMS}, got {uri}")
    if options:
        raise UsageError(f"unknown in an address: {', '.join(options)}, got {uri}", hint=_FORMS)
    if not re.fullmatch(r"[A-Za-z_]\w{0,199}", address.collection, re.ASCII):
        raise UsageError(
            f"a collection is named by letters, digits and _, got {address.collection!r}"
        )
    return address


def connect(address: MilvusAddress, *, create: bool = False) -> "MilvusClient":
    """Reach the server, or open the file; :func:`disconnect` ends the connection.

    Args:
        address: Address of the archive.
        create: Whether a file that does not exist is made.

    Raises:
        MissingDataError: There is no such file.
        ArchiveError: The server cannot be reached, or another process has the file open.
        UsageError: pymilvus, or milvus-lite for a file, is not installed.
    """
    try:
        from pymilvus import MilvusClient

        if address.is_file:
            import milvus_lite  # noqa: F401 - the client needs it and would say less
    except ImportError as error:
        raise UsageError(
            f"an archive on Milvus needs the package {error.name}",
            hint="pip install 'fdps[milvus]'",
        ) from error
    # The client would print errors, with a traceback, before they reach the user in our words.
    # The last logger is of the embedded edition: it lacks a call that the client can do without.
    for name in ("pymilvus", "milvus_lite", "grpc._server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if address.is_file and not create and not Path(address.uri).exists():
        raise MissingDataError(
            f"no archive at {address}", hint=f"build one: fdps index SOURCE -o '{address}'"
        )
    token = os.environ.get(TOKEN_VARIABLE, "")
    with milvus_errors(address):
        client = MilvusClient(
            address.uri,
            token=token,
            timeout=CONNECT_TIMEOUT_S,
            # A server may take a client that asks every few seconds whether it is still there for
            # an attack, and hang up ("Too many pings") while requests take their time.
            grpc_options={"grpc.keepalive_time_ms": NEVER_MS if address.is_file else PING_MS},
        )
    _users[address.uri] += 1
    return client


def disconnect(client: "MilvusClient", address: MilvusAddress) -> None:
    """Let go of the server; the last user of a file in this process also closes the file."""
    client.close()
    _users[address.uri] -= 1
    if address.is_file and not _users[address.uri]:
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(address.uri)


@contextmanager
def milvus_errors(address: MilvusAddress) -> Iterator[None]:
    """Turn what Milvus reports about an archive into what the user can do about it."""
    from grpc import RpcError
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, RpcError) as error:
        raise _readable(error, address) from error


def _readable(error: Exception, address: MilvusAddress) -> FdpsError:
    text = str(getattr(error, "message", "") or error)
    if any(word in text.lower() for word in _FULL):
        return ResourceError(
            f"cannot write {address}: {text}; what was indexed before is safe",
            hint="give Milvus more room, then run the same command again: it continues",
        )
    if address.is_file and "local milvus" in text.lower():
        return ArchiveError(
            f"cannot open {address}: another process has it open, or it is damaged ({text})",
            hint="the embedded edition serves one process at a time; run a server for more",
        )
    if any(word in text.lower() for word in _AWAY):
        return ArchiveError(
            f"no answer from {address}: {text}; what was indexed before is safe",
            hint="check that Milvus runs and can be reached, then run the same command again",
        )
    return ArchiveError(f"Milvus refuses, at {address}: {text}")
