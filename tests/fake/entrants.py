"""Entrants whose figures are known beforehand, and such that fail; other processes import them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from fdps.bench.entrants import Opened
from fdps.errors import ModelError
from fdps.export.stages import Look


@dataclass(frozen=True)
class Scripted:
    """Says for every look what it was told to say, and notes each in a diary.

    Args:
        name: Its name in the diary.
        seconds: Those of the stage ``trunk``, look after look; looks before them, too.
        flops: Operations of that stage.
        diary: A file.
    """

    name: str
    seconds: tuple[float, ...]
    flops: float
    diary: Path

    def open(self) -> Opened:
        return _Scripted(self)


class _Scripted:
    def __init__(self, script: Scripted) -> None:
        self._script, self._rest = script, iter(script.seconds)

    def look(self, picture: Path) -> Look:
        with self._script.diary.open("a") as diary:
            diary.write(f"{self._script.name} {picture.name}\n")
        return Look({"decode": 0.0, "trunk": next(self._rest)}, people=3)

    def count(self, picture: Path) -> Look:
        return Look({"decode": 0.0, "trunk": self._script.flops}, people=3)


@dataclass(frozen=True)
class Failing:
    """Does not come to an end, in one of several ways.

    Args:
        how: ``hangs``, ``hangs later``, ``is killed``, ``exits`` or ``refuses``.
    """

    how: str

    def open(self) -> Opened:
        if self.how == "hangs":
            time.sleep(3600)
        if self.how == "refuses":
            raise ModelError("these are no weights", hint="take others")
        return _Failing(self.how)


class _Failing:
    def __init__(self, how: str) -> None:
        self._how = how

    def look(self, picture: Path) -> Look:
        if self._how == "hangs later":
            time.sleep(3600)
        if self._how == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(3)

    def count(self, picture: Path) -> Look:
        raise NotImplementedError


@dataclass(frozen=True)
class Telling:
    """Says by its number of people how many threads it was given."""

    def open(self) -> Opened:
        return _Telling()


class _Telling:
    def look(self, picture: Path) -> Look:
        import torch

        return Look({"trunk": 1.0}, people=torch.get_num_threads())

    def count(self, picture: Path) -> Look:
        return Look({"trunk": 1.0}, people=0)
