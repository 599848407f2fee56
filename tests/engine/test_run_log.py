import io
import json
from pathlib import Path

import pytest

import fdps
from fdps.engine.checkpoint import Progress
from fdps.engine.run_log import RunLog, environment


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_record_is_a_line_of_json(tmp_path: Path) -> None:
    with RunLog(tmp_path / "log.jsonl", 10, Progress()) as log:
        log.count(4)
        log.count(3)
        log.record(2, 0.66666, {"lr": 0.1, "box": 0.25})
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert (record["step"], record["epoch"], record["lr"], record["box"]) == (2, 0.667, 0.1, 0.25)
    assert record["images_per_s"] > 0
    assert record["seconds"] >= 0


def test_a_status_line_says_how_fast_how_well_and_how_long(tmp_path: Path) -> None:
    stream = io.StringIO()
    with RunLog(tmp_path / "log.jsonl", 2, Progress(), stream) as log:
        log.count(4)
        log.record(2, 0.5, {"lr": 0.1, "box": 0.25})
    (line,) = stream.getvalue().splitlines()
    speed = json.loads((tmp_path / "log.jsonl").read_text())["images_per_s"]
    assert line == (f"step 2/2  epoch 0.50  {speed:.1f} images/s  left 0:00  lr 0.1  box 0.25")


def test_on_a_terminal_one_line_is_rewritten_and_never_wraps(tmp_path: Path) -> None:
    stream = Terminal()  # 100 columns, says conftest.py
    losses = {f"loss_{k}": 1 / 3 for k in range(20)}
    with RunLog(tmp_path / "log.jsonl", 2, Progress(), stream) as log:
        for step in (1, 2):
            log.count(1)
            log.record(step, step / 2, losses)
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    shown = text.rstrip("\n").split("\r\x1b[K")[1:]
    assert [line[:8] for line in shown] == ["step 1/2", "step 2/2"]
    assert [len(line) for line in shown] == [99, 99]


def test_a_terminal_gets_its_line_back_after_an_error(tmp_path: Path) -> None:
    stream = Terminal()
    with pytest.raises(ZeroDivisionError), RunLog(tmp_path / "l", 2, Progress(), stream):
        raise ZeroDivisionError
    assert stream.getvalue().endswith("\n")


def test_a_continued_log_forgets_the_steps_that_are_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog(path, 9, Progress()) as log:
        for step in (1, 2, 3, 4):
            log.record(step, 0.0, {})
    with path.open("a") as file:
        file.write('{"step": 5, "lo')  # killed while it wrote
    with RunLog(path, 9, Progress(step=3, seconds=100.0)) as log:
        assert steps(path) == [1, 2, 3]
        log.record(4, 0.0, {})
    assert steps(path) == [1, 2, 3, 4]
    assert json.loads(path.read_text().splitlines()[-1])["seconds"] >= 100
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_the_environment_names_versions_and_machine() -> None:
    found = environment()
    assert found["fdps"] == fdps.__version__
    assert {"commit", "python", "torch", "torchvision", "machine", "cores", "gpu"} <= set(found)
    json.dumps(found)
