"""The peak of this machine: how fast two matrices in float32 are multiplied."""

import time
from pathlib import Path

import torch

from fdps.export.stages import Look

SIDE = 1536
"""Rows and columns: large enough for the peak, small enough for a twentieth of a second."""
_TRIES = 3
STAGE = "product"


class OpenedProduct:
    """Two matrices that are multiplied at every look; the picture is left alone."""

    def __init__(self) -> None:
        self._a, self._b = (torch.rand(SIDE, SIDE) for _ in range(2))

    def look(self, picture: Path) -> Look:
        """Multiply a few times, and return the least seconds of one product."""
        took = []
        for _ in range(_TRIES):
            start = time.perf_counter()
            torch.mm(self._a, self._b)
            took.append(time.perf_counter() - start)
        return Look({STAGE: min(took)}, 0)

    def count(self, picture: Path) -> Look:
        """Return the operations of one product."""
        return Look({STAGE: 2.0 * SIDE**3}, 0)
