"""Users, their roles and their passwords: a TOML file with one table for each user.

.. code-block:: toml

    [anna]
    role = "editor"
    password = "$argon2id$..."

The file is read again when it has changed, so that a user who is taken out of it is out at once.
"""

import enum
import secrets
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fdps.durable import write_file
from fdps.errors import MissingDataError, UsageError
from fdps.names import printable

MIN_LETTERS = 12
_MOST_LETTERS = 1000
_MOST_NAME = 64


class Role(enum.IntEnum):
    """What a user may do; each role may do what those before it may."""

    VIEWER = 1
    """Search and browse."""
    EDITOR = 2
    """Cases, jobs and exports."""
    ADMIN = 3
    """Privacy: forget, retention, audit."""


@dataclass(frozen=True, slots=True)
class User:
    """Whoever sends a request.

    Args:
        name: Name of the user; noted in the audit.
        role: What the user may do.
    """

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Known(User):
    """A user of the file.

    Args:
        password: Hash of the password, as argon2 writes it.
    """

    password: str


class UsersFile:
    """The users of a file.

    Args:
        path: The file.

    Raises:
        MissingDataError: There is no such file.
        UsageError: The file is malformed, or names nobody.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._users: Mapping[str, Known] = {}
        self._hasher = PasswordHasher()
        # What is compared for names that nobody has, so that they take as long as others.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())
        if not path.is_file():
            raise MissingDataError(
                f"no users at {path}", hint=f"fdps serve --add-user NAME --users {path}"
            )
        self._users = read_users(path)
        if not self._users:
            raise UsageError(
                f"{path} names nobody", hint=f"fdps serve --add-user NAME --users {path}"
            )

    def find(self, name: str) -> Known | None:
        """Return a user as the file has them at this moment, or ``None``."""
        return self._current().get(name)

    def verify(self, name: str, password: str) -> Known | None:
        """Return the user of a name and a password; ``None`` where they do not fit.

        It takes as long for names that nobody has. One takes some 50 ms of a processor.
        """
        known = self.find(name)
        try:
            self._hasher.verify(known.password if known else self._nobody, password)
        except (VerificationError, InvalidHashError):
            return None
        return known

    def _current(self) -> Mapping[str, Known]:
        """Read the file again if it has changed; one that cannot be read lets nobody in."""
        with self._lock:
            try:
                found = self._path.stat()
                stamp = (found.st_mtime_ns, found.st_size)
                if stamp != self._stamp:
                    self._users, self._stamp = read_users(self._path), stamp
            except (OSError, UsageError):
                self._users, self._stamp = {}, None
            return self._users


def read_users(path: Path) -> dict[str, Known]:
    """Read a file of users.

    Raises:
        UsageError: The file is malformed.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {
            name: Known(name, role_of(table["role"]), str(table["password"]))
            for name, table in tables.items()
        }
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not a file of users: {printable(error)}",
            hint="fdps serve --add-user NAME writes one",
        ) from error


def add_user(path: Path, name: str, role: str, password: str) -> None:
    """Add a user to a file, or give one another password and role.

    Args:
        path: The file; it is begun where there is none, for the eyes of its owner alone.
        name: Name of the user, up to 64 letters.
        role: ``viewer``, ``editor`` or ``admin``.
        password: At least 12 letters.

    Raises:
        UsageError: The name or the role is none, the password is too short, or the file is
            malformed.
    """
    import tomli_w

    if not 1 <= len(name) <= _MOST_NAME or printable(name) != name or name != name.strip():
        raise UsageError(f"a user needs a name of 1 to {_MOST_NAME} letters, got {name!r}")
    if not MIN_LETTERS <= len(password) <= _MOST_LETTERS:
        raise UsageError(
            f"a password has at least {MIN_LETTERS} letters, this one has {len(password)}",
            hint="several words that do not belong together are easy to remember",
        )
    users = read_users(path) if path.is_file() else {}
    users[name] = Known(name, role_of(role), PasswordHasher().hash(password))
    tables = {
        user.name: {"role": user.role.name.lower(), "password": user.password}
        for user in users.values()
    }
    write_file(path, tomli_w.dumps(tables).encode())
    path.chmod(0o600)


def role_of(name: str) -> Role:
    """Return the role of a name.

    Raises:
        UsageError: There is no such role.
    """
    try:
        return Role[name.upper()]
    except (KeyError, AttributeError) as error:
        names = ", ".join(role.name.lower() for role in Role)
        raise UsageError(f"there is no role {name!r}", hint=f"there are: {names}") from error
