"""Processes share out the scenes in which people are found."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fake.runs import write_scenes
from fdps.engine.processes import Processes
from fdps.engine.tasks import detected
from fdps.engine.tasks.detected import detected_boxes
from fdps.structures import Boxes, Picture


class Finder:
    """Finds one person at the brightness of the picture, and remembers how often it looked."""

    model_hash = "finder"

    def __init__(self) -> None:
        self.n = 0

    def find(self, image: Picture) -> tuple[Boxes, np.ndarray]:
        self.n += 1
        x = float(image.mean())
        return np.array([[x, 0, x + 1, 9]], np.float32), np.ones(1, np.float32)


class OneOf(Processes):
    """One of several processes, of which the others do their share when this one waits."""

    def __init__(self, rank: int, n: int, others: Callable[[], None] = lambda: None) -> None:
        self.rank, self.n, self.others = rank, n, others

    def wait(self) -> None:
        self.others()


@pytest.mark.parametrize("rank", [0, 1])
def test_every_process_finds_its_share_and_reads_the_others(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detected, "SCENES_PER_FILE", 2)
    scenes = write_scenes(tmp_path / "data", n_scenes=7).scenes
    alone = Finder()
    wanted = detected_boxes(alone, scenes, tmp_path / "alone", print, OneOf(0, 1))
    assert (alone.n, len(wanted)) == (7, 7)
    other, own = Finder(), Finder()
    seen_before_waiting = []

    def others() -> None:
        seen_before_waiting.append(own.n)
        with pytest.raises(InterruptedError):  # it stops where it would wait
            detected_boxes(other, scenes, tmp_path / "cache", print, OneOf(1 - rank, 2, _stop))

    found = detected_boxes(own, scenes, tmp_path / "cache", print, OneOf(rank, 2, others))
    # Files of two scenes: the first and third are those of the first process.
    assert (own.n, other.n) == ((4, 3) if rank == 0 else (3, 4))
    assert seen_before_waiting == [own.n]
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def _stop() -> None:
    raise InterruptedError
