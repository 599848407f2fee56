"""The log of a run: JSON lines for machines, a status line and a table for people."""

import json
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TextIO, runtime_checkable

import torch

from fdps.devices import peak_process_gib
from fdps.durable import write_file
from fdps.engine.progress import Progress

FILE = "log.jsonl"
EPOCHS_FILE = "epochs.jsonl"

Values = Mapping[str, int | float]

_COLUMNS = (
    *("rpn_score", "rpn_box", "person", "box", "reid", "identity", "triplet"),
    *("recall", "ap", "mAP", "top1"),
)
"""Columns of the table of epochs, where a run has them."""


@runtime_checkable
class Stream(Protocol):
    """The place that a status line is written to: a terminal, a file, a string."""

    def write(self, text: str, /) -> object:
        """Write text."""

    def flush(self) -> object:
        """Show the text written so far."""

    def isatty(self) -> bool:
        """Tell whether a line can be rewritten."""


@runtime_checkable
class Watcher(Protocol):
    """A listener that follows a run beside its log, such as a page or TensorBoard."""

    def begin(self, step: int, total_steps: int) -> None:
        """Learn where the run stands, in steps, and how many it has."""

    def step(self, record: Values) -> None:
        """Take a line of the log."""

    def epoch(self, record: Values) -> None:
        """Take a line of the epochs."""


class RunLog:
    """Appends records to the logs of a run and shows the newest on a stream.

    Leaving the context ends the status line and closes the files.

    Args:
        run: The run folder, whose logs are continued. ``None`` writes nothing, for processes that
            are not the first.
        total_steps: Number of steps of the whole run, for the estimate of the time left.
        done: Position of the run. Later lines are dropped: a session that was killed wrote them
            after its last checkpoint, and those steps are taken again.
        stream: Stream for the status line and the table; without one nothing is shown.
        watchers: Listeners that are told about every record.
    """

    def __init__(
        self,
        run: Path | None,
        total_steps: int,
        done: Progress,
        stream: Stream | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        steps, epochs = (
            Path(os.devnull) if run is None else run / name for name in (FILE, EPOCHS_FILE)
        )
        kept = _keep_lines(steps, "step", done.step)
        # An epoch is written before the checkpoint that closes it, at the step of the one before.
        closed = _keep_lines(epochs, "epoch", done.n_epochs)
        last = closed[-1]["step"] if closed else 0
        self._records = [record for record in kept if record["step"] > last]  # those of this epoch
        self._file = steps.open("a", encoding="utf-8")
        self._epochs = epochs.open("a", encoding="utf-8")
        self._total, self._stream, self._watchers = total_steps, stream, watchers
        self._since, self._images, self._steps, self._waited = time.perf_counter(), 0, 0, 0.0
        self._started = self._since - done.seconds
        self._has_head = self._is_line_open = False
        for watcher in watchers:
            watcher.begin(done.step, total_steps)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *reason: object) -> None:
        if self._stream is not None and self._is_line_open:
            self._stream.write("\n")  # keeps the last status line
        self._file.close()
        self._epochs.close()

    @property
    def seconds(self) -> float:
        """Training time so far in seconds, over all sessions."""
        return time.perf_counter() - self._started

    def count(self, n_images: int, waited_s: float) -> None:
        """Note that a step went through ``n_images`` pictures and waited for them."""
        self._images += n_images
        self._steps += 1
        self._waited += waited_s

    def record(self, step: int, epoch: float, values: Values) -> None:
        """Write the values of a step, with speed and memory since the last record."""
        now = time.perf_counter()
        seconds = max(now - self._since, 1e-9)
        left = (self._total - step) * seconds / max(self._steps, 1)
        # JSON knows no infinity, which the gradients of an fp16 step that is left out can be.
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        record = {"step": step, "epoch": round(epoch, 3), **values}
        record |= {
            "images_per_s": round(self._images / seconds, 3),
            "data_share": round(min(self._waited / seconds, 1.0), 3),
            "memory_gib": round(peak_memory_gib(), 2),
            "seconds": round(self.seconds, 1),
        }
        self._since, self._images, self._steps, self._waited = now, 0, 0, 0.0
        self._records.append(record)
        _append(self._file, record)
        for watcher in self._watchers:
            watcher.step(record)
        shown = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
        self._show_status(
            f"step {step}/{self._total}  epoch {epoch:.2f}  {record['images_per_s']:.1f} images/s  "
            f"left {_clock(left)}  {shown}"
        )

    def epoch(self, number: int, step: int, figures: Values) -> None:
        """Write the means over an epoch, counted from 1, and what a validation found."""
        means = _means(self._records)
        record = {"epoch": number, "step": step, **means, "seconds": round(self.seconds, 1)}
        record |= figures
        self._records = []
        _append(self._epochs, record)
        for watcher in self._watchers:
            watcher.epoch(record)
        self._show_row(record)

    def say(self, *lines: str) -> None:
        """Show lines on the stream."""
        if self._stream is None:
            return
        for text in lines:
            start = "\r\x1b[K" if self._stream.isatty() else ""
            self._stream.write(f"{start}{text}\n")
            self._is_line_open = False
        self._stream.flush()

    def _show_row(self, record: Values) -> None:
        names = [name for name in _COLUMNS if name in record]
        if not self._has_head:
            self.say("  ".join(["epoch", *(f"{name:>9}" for name in names), f"{'time':>8}"]))
            self._has_head = True
        cells = [f"{record[name]:9.4g}" for name in names]
        self.say("  ".join([f"{record['epoch']:5.0f}", *cells, f"{_clock(record['seconds']):>8}"]))

    def _show_status(self, text: str) -> None:
        if self._stream is None:
            return
        if self._stream.isatty():
            width = shutil.get_terminal_size().columns
            self._stream.write(f"\r\x1b[K{text[: width - 1]}")  # a longer line could not be undone
            self._is_line_open = True
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def environment() -> dict[str, str | int]:
    """Return the versions, machine and commit that belong beside every number."""
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


def peak_memory_gib() -> float:
    """Return the most memory held so far, in GiB: by torch on the GPU, else by the process."""
    on_gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return on_gpu / 2**30 if on_gpu else peak_process_gib()


def _means(records: Iterable[Values]) -> dict[str, float]:
    """Return the mean of every value that is about a step, over the records that have it."""
    columns: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.items():
            columns.setdefault(name, []).append(value)
    for name in ("step", "epoch", "seconds"):
        columns.pop(name, None)
    return {name: math.fsum(values) / len(values) for name, values in columns.items()}


def _append(file: TextIO, record: Values) -> None:
    file.write(json.dumps(record) + "\n")
    file.flush()


def _keep_lines(path: Path, name: str, at_most: int) -> list[dict[str, int | float]]:
    """Drop the lines after a step or an epoch, and what a killed session left unfinished."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [
        (line, record)
        for line in lines
        if (record := _parsed(line)) and record.get(name, math.inf) <= at_most
    ]
    if len(kept) < len(lines):
        write_file(path, "".join(line for line, _ in kept).encode())
    return [record for _, record in kept]


def _parsed(line: str) -> dict[str, int | float] | None:
    """Parse a record; ``None`` for a line that a power cut left in pieces."""
    try:
        record: dict[str, int | float] = json.loads(line)
        is_whole = line.endswith("\n") and isinstance(record, dict)
        return record if is_whole else None
    except (TypeError, ValueError):
        return None


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return ""


def _commit() -> str:
    """Return the commit of the checkout this package runs from; empty outside a checkout."""
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
