"""Read the logs of a run: its numbers, where it stands, and which epoch was best."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

Record = Mapping[str, int | float]
"""The finite numbers of one line of a log, by name."""

N_NEWEST = 100
"""Number of lines at the end of a log that are always read."""

MAX_LINES = 8000
"""Most lines read before them; of more, every k-th: a page must not slow down what it shows."""


def read_records(path: Path) -> list[Record]:
    """Read the finite numbers of JSON lines; lines that are not whole are passed over.

    Args:
        path: ``log.jsonl`` or ``epochs.jsonl`` of a run that may go on, or may have been killed.

    Returns:
        One mapping per line, the oldest first; none where there is no file.
    """
    lines = read_text(path).splitlines()
    older, newest = lines[:-N_NEWEST], lines[-N_NEWEST:]
    records: list[Record] = []
    for line in older[:: len(older) // MAX_LINES + 1] + newest:
        try:
            values = json.loads(line)
        except ValueError:  # it is the last line of a run that was killed
            continue
        if isinstance(values, dict):
            records.append({name: v for name, v in values.items() if _is_finite(v)})
    return records


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def read_text(path: Path) -> str:
    """Read a file as text, whatever bytes are in it; empty where there is no file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The position of a run.

    Args:
        state: ``Running``, ``Finished`` or ``Stopped``.
        step: The newest step of the log.
        total_steps: Number of steps of the whole run.
        epoch: The newest epoch, with its fraction.
        seconds: Training time so far, in seconds.
        seconds_left: Estimated seconds left; ``None`` where the run does not go on, or nobody
            knows.
    """

    state: str
    step: int
    total_steps: int
    epoch: float = 0.0
    seconds: float = 0.0
    seconds_left: float | None = None

    @property
    def total_epochs(self) -> float:
        """Number of epochs of the whole run; 0 where nobody knows."""
        return self.total_steps * self.epoch / self.step if self.step else 0.0

    @property
    def share(self) -> float:
        """Share of the steps that are taken, in [0, 1]."""
        return min(self.step / self.total_steps, 1.0) if self.total_steps else 1.0


def find_standing(steps: Sequence[Record], total_steps: int, *, is_running: bool) -> Standing:
    """Work out where a run stands from the lines of its log.

    The time left follows from the newer half of the run: validations are in it in their due
    share, and a machine that became slower shows.
    """
    timed = [line for line in steps if "step" in line and "seconds" in line]
    if not timed:
        return Standing("Running" if is_running else "Stopped", 0, total_steps)
    newest, middle = timed[-1], timed[len(timed) // 2]
    step, seconds = int(newest["step"]), float(newest["seconds"])
    since = middle if middle["step"] < step else {"step": 0, "seconds": 0.0}
    pace = (seconds - since["seconds"]) / max(step - since["step"], 1)
    left = max(total_steps - step, 0) * float(pace) if is_running else None
    state = "Running" if is_running else "Finished" if step >= total_steps else "Stopped"
    return Standing(state, step, total_steps, float(newest.get("epoch", 0)), seconds, left)


def find_best(epochs: Sequence[Record]) -> Record | None:
    """Return the epoch marked last as the best so far; without marks, that of the highest mAP."""
    marked = [row for row in epochs if row.get("is_best")]
    searched = [row for row in epochs if "mAP" in row]
    return marked[-1] if marked else max(searched, key=lambda row: row["mAP"], default=None)
