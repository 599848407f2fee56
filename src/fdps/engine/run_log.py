"""What a run says about itself: JSON lines for machines, one status line for people."""

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from fdps.engine.checkpoint import Progress

FILE = "log.jsonl"


@runtime_checkable
class Stream(Protocol):
    """Where a status line goes: a terminal, a file, a string."""

    def write(self, text: str, /) -> object:
        """Take text."""

    def flush(self) -> object:
        """Show it."""

    def isatty(self) -> bool:
        """Whether a line can be rewritten."""


class RunLog:
    """Append records to ``log.jsonl`` and show the newest on a stream.

    Leaving the context ends the status line and closes the file.

    Args:
        path: The log; continued if it exists.
        total_steps: Of the whole run, for the estimate of the time left.
        done: Where the run stands. Later lines are dropped: a session that was killed wrote them
            after its last checkpoint, and those steps are taken again.
        stream: Where the status line goes; nothing is shown without.
    """

    def __init__(
        self, path: Path, total_steps: int, done: Progress, stream: Stream | None = None
    ) -> None:
        _keep_lines(path, done.step)
        self._file = path.open("a", encoding="utf-8")
        self._total, self._stream = total_steps, stream
        self._since, self._images, self._steps = time.perf_counter(), 0, 0
        self._started = self._since - done.seconds

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *reason: object) -> None:
        if self._stream is not None and self._stream.isatty():
            self._stream.write("\n")
        self._file.close()

    @property
    def seconds(self) -> float:
        """Training time so far, over all sessions."""
        return time.perf_counter() - self._started

    def count(self, n_images: int) -> None:
        """Note that a step went through ``n_images`` pictures."""
        self._images += n_images
        self._steps += 1

    def record(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Write the values of a step, with the speed since the last record."""
        now = time.perf_counter()
        seconds = max(now - self._since, 1e-9)
        speed = self._images / seconds
        left = (self._total - step) * seconds / max(self._steps, 1)
        self._since, self._images, self._steps = now, 0, 0
        line = {"step": step, "epoch": round(epoch, 3), **values}
        line |= {"images_per_s": round(speed, 3), "seconds": round(self.seconds, 1)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._stream is not None:
            shown = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
            self._show(
                f"step {step}/{self._total}  epoch {epoch:.2f}  {speed:.1f} images/s  "
                f"left {_clock(left)}  {shown}"
            )

    def _show(self, text: str) -> None:
        assert self._stream is not None
        if self._stream.isatty():
            width = shutil.get_terminal_size().columns
            self._stream.write(f"\r\x1b[K{text[: width - 1]}")  # a longer one could not be undone
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def environment() -> dict[str, str | int]:
    """Versions, machine and commit, as they belong beside every number."""
    packages = ("torch", "torchvision", "numpy", "lightning-fabric")
    return {
        "fdps": version("fdps"),
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "machine": platform.machine(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }


def _keep_lines(path: Path, step: int) -> None:
    """Drop the lines after a step, and a last line that a killed session left unfinished."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    if len(kept) < len(lines):
        aside = path.with_name(path.name + ".part")
        aside.write_text("".join(kept), encoding="utf-8")
        aside.replace(path)


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return ""


def _commit() -> str:
    """Commit of the checkout this package runs from; empty if it is installed elsewhere."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
