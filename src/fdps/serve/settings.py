"""The settings of the web service, fixed when it starts."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from fdps.errors import UsageError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_USUAL_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of everything that a client can make the service hold or do.

    Args:
        upload_bytes: Largest body of a request that uploads a picture.
        body_bytes: Largest body of any other request.
        pixels: Most pixels of an uploaded picture.
        read_s: Time within which a whole body must arrive, in seconds.
        header_s: Time within which the headers of a request must arrive, in seconds.
        connections: Most open connections; further ones are closed at once.
        requests: Most requests that are worked on at one time; beyond them the answer is 429.
        searches: Most searches that wait at one time.
        looks: Most uploaded pictures that wait to be decoded and looked at.
        pictures: Most pictures of scenes that wait to be decoded.
        queries: Most query pictures that are kept.
        query_bytes: Most memory of the query pictures that are kept; the oldest go first.
        query_s: Time for which a query picture is kept, in seconds.
        session_s: Time for which a session lasts, in seconds.
    """

    upload_bytes: int = 25_000_000
    body_bytes: int = 1_000_000
    pixels: int = 50_000_000
    read_s: float = 30.0
    header_s: float = 10.0
    connections: int = 800
    requests: int = 256
    searches: int = 128
    looks: int = 8
    pictures: int = 128
    queries: int = 200
    query_bytes: int = 400_000_000
    query_s: float = 24 * 3600.0
    session_s: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The settings of the web service.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        names: Names, or ``NAME:PORT``, under which browsers reach the service, beside ``host``.
        token: The start token: whoever has it may do everything. Empty with a users file, where
            there is none by default.
        users: File of users, their roles and the hashes of their passwords.
        certificate: Certificate of TLS, PEM.
        key: Its private key, PEM.
        behind_proxy: Whether a proxy in front speaks TLS and tells the addresses of clients.
        proxy: Addresses of that proxy, separated by commas.
        roots: Folders that may be indexed, by name.
        purpose_required: Whether every search must state its purpose.
        cases: File of cases, where not the folder of the archive holds them.
        model: The model of the archives, where it is not where they remember it.
        device: Device that the model runs on.
        limits: Bounds.
    """

    host: str = "127.0.0.1"
    port: int = 8899
    names: tuple[str, ...] = ()
    token: str = ""
    users: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    proxy: str = "127.0.0.1"
    roots: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    purpose_required: bool = False
    cases: Path | None = None
    model: str = ""
    device: str = "cpu"
    limits: Limits = field(default_factory=Limits)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the service by TLS."""
        return self.certificate is not None or self.behind_proxy

    @property
    def scheme(self) -> str:
        """The scheme of the addresses that browsers see."""
        return "https" if self.is_secure else "http"

    @property
    def hosts(self) -> frozenset[str]:
        """Every value that the header ``Host`` may have, in small letters."""
        known = [*self.names]
        if self.is_local:
            known += LOOPBACK_NAMES
        if not is_wildcard(self.host):
            known.append(self.host)
        return frozenset(value.lower() for name in known for value in self._as_sent(name))

    def _as_sent(self, name: str) -> tuple[str, ...]:
        """Return how browsers may write a name: with its port, and without where it is usual."""
        if name.count(":") > 1 and not name.startswith("["):
            name = f"[{name}]"
        if re.search(r":\d+$", name.rpartition("]")[2]):
            return (name,)
        usual = _USUAL_PORTS[self.scheme]
        port = usual if self.behind_proxy else self.port  # the proxy listens elsewhere
        return (f"{name}:{port}", *((name,) if port == usual else ()))

    @property
    def origins(self) -> frozenset[str]:
        """Every value that the header ``Origin`` of our own pages may have."""
        return frozenset(f"{self.scheme}://{host}" for host in self.hosts)

    def check(self) -> None:
        """Refuse settings that would open the archives to others without protection.

        Raises:
            UsageError: The address is not of this machine alone, and there is no file of users, no
                TLS or no name; or the certificate has no key.
        """
        if (self.certificate is None) != (self.key is None):
            raise UsageError("TLS needs both a certificate and its key", hint="--cert and --key")
        if self.is_local:
            return
        if self.users is None:
            raise UsageError(
                f"--host {self.host} opens the archives to other machines",
                hint="name a file of users: --users FILE; fdps serve --add-user NAME makes it",
            )
        if not self.is_secure:
            raise UsageError(
                f"--host {self.host} would send passwords and pictures unencrypted",
                hint="give --cert and --key, or --behind-proxy if a proxy in front speaks TLS",
            )
        if not self.hosts:
            raise UsageError(
                f"--host {self.host} does not say under which name browsers reach the service",
                hint="add it: --name archive.example.org",
            )


def is_loopback(host: str) -> bool:
    """Tell whether an address is of this machine alone.

    Example:
        >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "a.org")]
        [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Tell whether an address stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return not host
