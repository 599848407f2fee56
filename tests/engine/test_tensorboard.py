import subprocess
import sys
from pathlib import Path

import pytest

from fdps.engine.tensorboard import TensorBoardLog


def record(step: int, **values: float) -> dict[str, float]:
    return {"step": step, "epoch": step / 10, "seconds": 2.0 * step, **values}


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value of all scalars, as TensorBoard itself reads them."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(event.step, round(event.value, 6)) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_every_value_becomes_a_scalar(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with TensorBoardLog(tmp_path / "events") as log:
        log.step(record(1, box=0.5, people=34))
        log.step(record(2, box=0.25))
        log.epoch(record(2, box=0.375, mAP=0.125))
    assert read(tmp_path / "events") == {
        "train/box": [(1, 0.5), (2, 0.25)],
        "train/people": [(1, 34.0)],
        "epoch/box": [(2, 0.375)],
        "epoch/mAP": [(2, 0.125)],
    }


def test_a_continued_run_forgets_the_steps_that_are_taken_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with TensorBoardLog(tmp_path) as log:
        for step in range(1, 6):
            log.step(record(step, box=float(step)))
        log.epoch(record(2, mAP=0.5))
        log.epoch(record(4, mAP=0.25))
    with TensorBoardLog(tmp_path, step=3) as log:
        log.step(record(4, box=40.0))
    assert read(tmp_path) == {
        "train/box": [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)],
        "epoch/mAP": [(2, 0.5)],
    }


def test_a_run_that_begins_anew_forgets_all(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for value in (1.0, 2.0):
        with TensorBoardLog(tmp_path) as log:
            log.step(record(1, box=value))
    assert read(tmp_path) == {"train/box": [(1, 2.0)]}


def test_without_the_package_nothing_happens(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with TensorBoardLog(tmp_path / "events") as log:
        log.step(record(1, box=0.5))
        log.epoch(record(1, mAP=0.5))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_package_is_loaded_only_when_a_log_is_made() -> None:
    code = "import sys, fdps.engine.tensorboard; sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
