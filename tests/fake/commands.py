"""Training by the command line: whole, cut short, killed; and what it leaves."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch

from fake.runs import SignalAt, last_state
from fdps.cli.main import main

ELSEWHERE = [sys.executable, "-m", "fdps"]
"""The command in a process of its own."""


class CallAt(io.StringIO):
    """A stream that calls a function as soon as a step is shown.

    Args:
        step: The step.
        call: The function.
    """

    def __init__(self, step: int, call: Callable[[], object]) -> None:
        super().__init__()
        self.step, self.call = step, call

    def write(self, text: str) -> int:
        if text.startswith(f"step {self.step}/"):
            self.call()
        return super().write(text)


def train(recipe: Path, run: Path, *options: str) -> int:
    return main(["train", str(recipe), "--out", str(run), *options])


def interrupt(recipe: Path, run: Path, *options: str, at: int) -> str:
    """Train until a step is shown, then press Ctrl-C; what was shown."""
    with redirect_stderr(SignalAt(at)) as shown:
        assert train(recipe, run, *options) == 130
    return shown.getvalue()


def kill(*words: str, at: int, number: signal.Signals) -> int:
    """Run the command in a process of its own, signal it when a step is shown; how it ended."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*ELSEWHERE, *words], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"step {at}/"):
                process.send_signal(number)
                break
        if number != signal.SIGKILL:  # whose reading processes hold the pipe a while longer
            process.stderr.read()
        return process.wait()


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The records of a log."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def read_all(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path from there."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_same_end(run: Path, other: Path) -> None:
    """Two runs ended alike, bit by bit: all that a checkpoint holds, and the weights."""
    ours, theirs = last_state(run), last_state(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (run, other)]
    assert weights[0] == weights[1]
