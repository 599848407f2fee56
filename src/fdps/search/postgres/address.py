"""The address of an archive on PostgreSQL, the connection to it, and the meaning of its errors.

.. code-block:: text

    postgresql://[USER@]HOST[:PORT]/DATABASE[?archive=NAME]
    postgresql:///DATABASE?host=/run/postgresql           a socket of this machine

The archive is a schema of that name in the database; by default ``fdps``. ``sslmode``,
``sslrootcert``, ``sslcert`` and ``sslkey`` may follow, as libpq takes them. A password never stands
in an address: libpq takes it from ``~/.pgpass`` or the environment variable ``PGPASSWORD``, so that
it appears neither in a command nor in an audit.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from fdps.errors import ArchiveError, FdpsError, ResourceError, UsageError

if TYPE_CHECKING:
    import psycopg

    from fdps.search.postgres.database import PostgresDatabase

SCHEMES = ("postgresql", "postgres")
DEFAULT_ARCHIVE = "fdps"
CONNECT_TIMEOUT_S = 10
GONE_AFTER_S = 25  # a machine that went away without a word no longer counts as connected
_KNOWN = ("host", "port", "user", "sslmode", "sslrootcert", "sslcert", "sslkey")
_FORM = "postgresql://HOST/DATABASE, where it is needed with USER@, :PORT and ?archive=NAME"


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """The address of an archive on a server.

    Args:
        uri: URI for libpq, without a password.
        archive: Name of the schema that holds the archive.
        given: The address as the user wrote it, for messages.
    """

    uri: str
    archive: str
    given: str

    def named(self, archive: str) -> "PostgresAddress":
        """Return the address of another archive in the same database."""
        separator = "" if self.uri.endswith("?") else "&"
        return PostgresAddress(self.uri, archive, f"{self.uri}{separator}archive={archive}")

    def __str__(self) -> str:
        return self.given


def parse_address(uri: str) -> PostgresAddress:
    """Read an address; the module's docstring shows its form.

    Raises:
        UsageError: The address has another form, or holds a password.
    """
    parts = urlsplit(uri)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    # With several hosts, urlsplit would not find the password, so the text is looked at.
    if ":" in parts.netloc.rpartition("@")[0] or "password" in options:
        raise UsageError(
            "an address must not hold a password",
            hint="put it into ~/.pgpass, or into the environment variable PGPASSWORD",
        )
    archive, database = options.pop("archive", DEFAULT_ARCHIVE), parts.path.strip("/")
    if not database or "/" in database or not (parts.netloc or "host" in options):
        raise UsageError(f"an archive on a server is {_FORM}, got {uri}")
    if unknown := sorted(options.keys() - {*_KNOWN}):
        raise UsageError(f"unknown in an address: {', '.join(unknown)}, got {uri}", hint=_FORM)
    if not re.fullmatch(r"(?!pg_)[a-z_][a-z0-9_]{0,62}", archive):
        raise UsageError(f"an archive is named by small letters, digits and _, got {archive!r}")
    plain = f"postgresql://{parts.netloc}/{database}?{urlencode(options)}"
    return PostgresAddress(plain, archive, uri)


def check_client() -> None:
    """Refuse to go on without the package that talks to the server.

    Raises:
        UsageError: psycopg is not installed.
    """
    try:
        import psycopg  # noqa: F401 - only asked for
    except ImportError as error:
        raise UsageError(
            "an archive on a server needs the package psycopg",
            hint="pip install 'fdps[postgres]'",
        ) from error


def connect(address: PostgresAddress) -> "PostgresDatabase":
    """Reach the server.

    Raises:
        ArchiveError: The server cannot be reached, refuses, or its texts are not UTF-8.
    """
    import psycopg

    from fdps.search.postgres.database import PostgresDatabase

    with postgres_errors(address):
        connection = psycopg.connect(
            address.uri, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, client_encoding="utf8"
        )
        try:
            _settle(connection, address)
            return PostgresDatabase(connection, address.archive)
        except BaseException:
            connection.close()
            raise


def _settle(connection: "psycopg.Connection", address: PostgresAddress) -> None:
    settings = {
        "search_path": f'"{address.archive}", public',
        "application_name": "fdps",
        "jit": "off",  # compiling takes longer than most of our statements
        "tcp_keepalives_idle": str(GONE_AFTER_S // 5),
        "tcp_keepalives_interval": str(GONE_AFTER_S // 5),
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": str(GONE_AFTER_S * 1000),
    }
    columns = ", ".join("set_config(%s, %s, false)" for _ in settings)
    values = [text for setting in settings.items() for text in setting]
    connection.execute(f"SELECT {columns}", values)
    (encoding,) = connection.execute("SHOW server_encoding").fetchone() or ("",)
    if encoding != "UTF8":
        raise ArchiveError(
            f"the database of {address} keeps texts as {encoding}, not as UTF8",
            hint="createdb --encoding UTF8 --template template0 NAME",
        )


@contextmanager
def postgres_errors(address: PostgresAddress) -> Iterator[None]:
    """Turn what PostgreSQL reports about an archive into what the user can do about it."""
    import psycopg

    try:
        yield
    except psycopg.ProgrammingError as error:
        if error.sqlstate is None:  # a bug of ours, not the user's server
            raise
        raise _readable(error, address) from error
    except psycopg.Error as error:
        raise _readable(error, address) from error


def _readable(error: "psycopg.Error", address: PostgresAddress) -> FdpsError:
    state = error.sqlstate or ""
    text = (error.diag.message_primary or str(error)).strip().splitlines()[0]
    if state.startswith("53"):  # out of disk, memory or connections
        return ResourceError(
            f"cannot write {address}: {text}; what was indexed before is safe",
            hint="give the server more room, then run the same command again: it continues",
        )
    if state == "23505":
        return ArchiveError(f"{address} holds another scene of this name or content: {text}")
    if state in ("25006", "42501"):
        return ArchiveError(
            f"cannot use {address}: {text}", hint="ask whoever runs the server for the right to"
        )
    if state == "3D000":
        return ArchiveError(f"cannot open {address}: {text}", hint="createdb makes a database")
    if state.startswith("XX"):
        return ArchiveError(f"{address} is damaged: {text}", hint="restore it from a backup")
    if not state or state.startswith(("08", "28", "57P")):
        return ArchiveError(
            f"no answer from {address}: {text}; what was indexed before is safe",
            hint="check that the server runs and lets you in, then run the same command again",
        )
    return ArchiveError(f"PostgreSQL refuses, at {address}: {text}")
