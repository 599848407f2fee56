"""Machines of a Ray cluster: real nodes of this machine, each with an object store of its own.

A node is what ``ray start`` makes of a machine. Folders can be hidden from a node, as they are from
another machine: it runs in a mount name space of its own, in which they are empty.
"""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

RAY = Path(sys.executable).with_name("ray")
NODE = "FDPS_TEST_NODE"
"""Environment variable in which the processes of a node find its name."""

_START_S, _STARTED = 180.0, "Ray runtime started"


def hiding_words() -> list[str]:
    """Return the words that run a program in a mount name space; none where that is not allowed."""
    words = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*words, "true"], capture_output=True).returncode
    ):
        return []
    return words


class RayNodes:
    """A cluster of one machine or more, which lets in who has its token.

    Args:
        folder: Folder for the files of Ray; its path has to be short.
        environment: Environment of the nodes beside that of this process.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment, "RAY_worker_niceness": "0"}
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]

    @property
    def address(self) -> str:
        """Where the cluster is."""
        return f"127.0.0.1:{self._port}"

    def start(self, name: str, *, hidden: Sequence[Path] = ()) -> None:
        """Start a node, the first one as the head, and wait until it takes part."""
        words = [str(RAY), "start", "--block", "--disable-usage-stats", "--num-cpus=1"]
        words += ["--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0"]
        if self._nodes:
            words += [f"--address={self.address}"]
        else:
            words += ["--head", f"--port={self._port}", "--include-dashboard=false"]
            words += ["--node-ip-address=127.0.0.1", f"--temp-dir={self._folder}"]
        if hidden:
            mounts = [f"mount -t tmpfs none {shlex.quote(str(path))}" for path in hidden]
            words = [
                *hiding_words(),
                "sh",
                "-c",
                " && ".join([*mounts, f"exec {shlex.join(words)}"]),
            ]
        log = self._folder / f"{name}.log"
        with log.open("wb") as file:
            self._nodes[name] = subprocess.Popen(
                words, env={**self._environment, NODE: name}, stdout=file, stderr=file
            )
        end = time.monotonic() + _START_S
        while _STARTED not in log.read_text():
            assert self._nodes[name].poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        """End all processes of a node at once, as when its machine loses power."""
        process = self._nodes[name]
        process.send_signal(signal.SIGSTOP)  # it must not tidy up
        for pid in [process.pid, *_below(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End all nodes."""
        for name, process in self._nodes.items():
            if process.poll() is None:
                self.kill(name)


@contextlib.contextmanager
def ray_nodes(environment: dict[str, str]) -> Iterator[RayNodes]:
    """A cluster without nodes yet; at the end its nodes are killed and its files removed."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # paths of sockets are short
    nodes = RayNodes(folder, environment)
    try:
        yield nodes
    finally:
        nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _below(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *_below(child)]
    return found
