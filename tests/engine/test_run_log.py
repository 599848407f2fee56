import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import fdps
from fdps.engine.progress import Progress
from fdps.engine.run_log import EPOCHS_FILE, FILE, RunLog, environment, peak_memory_gib


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Notes:
    """A watcher that writes everything down."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def begin(self, step: int, total_steps: int) -> None:
        self.heard.append(("begin", (step, total_steps)))

    def step(self, record: Mapping[str, float]) -> None:
        self.heard.append(("step", dict(record)))

    def epoch(self, record: Mapping[str, float]) -> None:
        self.heard.append(("epoch", dict(record)))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps(path: Path) -> list[int]:
    return [line["step"] for line in lines(path)]


def take(log: RunLog, *numbers: int, **values: float) -> None:
    """Steps of four pictures, with the step itself as a loss."""
    for step in numbers:
        log.count(4, 0.0)
        log.record(step, step / 2, {"box": float(step), **values})


def test_a_record_is_a_line_of_json(tmp_path: Path) -> None:
    with RunLog(tmp_path, 10, Progress()) as log:
        log.count(4, 0.0)
        log.count(3, 0.0)
        log.record(2, 0.66666, {"lr": 0.1, "box": 0.25})
        (record,) = lines(tmp_path / FILE)  # at once, for who looks on
    assert (record["step"], record["epoch"], record["lr"], record["box"]) == (2, 0.667, 0.1, 0.25)
    assert record["images_per_s"] > 0
    assert record["memory_gib"] > 0
    assert record["seconds"] >= 0
    assert record.keys() == {
        *("step", "epoch", "lr", "box"),
        *("images_per_s", "data_share", "memory_gib", "seconds"),
    }


def test_speed_and_waiting_are_those_since_the_last_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 104.0, 104.0, 109.0, 109.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    with RunLog(tmp_path, 10, Progress(seconds=1000.0)) as log:
        log.count(3, 0.5)
        log.count(3, 0.5)
        log.record(2, 0.2, {})
        log.count(10, 7.0)
        log.record(3, 0.3, {})
    monkeypatch.undo()
    first, second = lines(tmp_path / FILE)
    assert (first["images_per_s"], first["data_share"], first["seconds"]) == (1.5, 0.25, 1004.0)
    assert (second["images_per_s"], second["data_share"], second["seconds"]) == (2.0, 1.0, 1009.0)


def test_a_status_line_says_how_fast_how_well_and_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 10.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    stream = io.StringIO()
    with RunLog(tmp_path, 1000, Progress(), stream) as log:
        log.count(4, 0.0)
        log.count(4, 0.0)
        log.record(2, 0.5, {"lr": 0.1, "box": 0.25})
    monkeypatch.undo()
    # 998 steps of 5 seconds are left.
    assert stream.getvalue() == (
        "step 2/1000  epoch 0.50  0.8 images/s  left 1:23:10  lr 0.1  box 0.25\n"
    )


def test_on_a_terminal_one_line_is_rewritten_and_never_wraps(tmp_path: Path) -> None:
    stream = Terminal()  # 100 columns, says conftest.py
    losses = {f"loss_{k}": 1 / 3 for k in range(20)}
    with RunLog(tmp_path, 2, Progress(), stream) as log:
        take(log, 1, 2, **losses)
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    shown = text.rstrip("\n").split("\r\x1b[K")[1:]
    assert [line[:8] for line in shown] == ["step 1/2", "step 2/2"]
    assert [len(line) for line in shown] == [99, 99]


def test_a_terminal_gets_its_line_back_after_an_error(tmp_path: Path) -> None:
    stream = Terminal()

    def fail() -> None:
        with RunLog(tmp_path, 2, Progress(), stream) as log:
            take(log, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stream.getvalue().endswith("box 1\n")


def test_what_is_said_on_a_terminal_takes_the_place_of_the_status_line(tmp_path: Path) -> None:
    stream = Terminal()
    with RunLog(tmp_path, 2, Progress(), stream) as log:
        take(log, 1)
        log.say("one", "two")
    status, said = stream.getvalue().split("box 1")
    assert status.startswith("\r\x1b[Kstep 1/2")
    assert said == "\r\x1b[Kone\n\r\x1b[Ktwo\n"  # and no empty line at the end


def test_what_is_said_elsewhere_is_plain_lines(tmp_path: Path) -> None:
    stream = io.StringIO()
    with RunLog(tmp_path, 2, Progress(), stream) as log:
        log.say("one", "two")
        log.say()
    assert stream.getvalue() == "one\ntwo\n"
    with RunLog(tmp_path, 2, Progress()) as log:
        log.say("to nobody")


def test_an_epoch_is_a_line_of_its_means_and_findings(tmp_path: Path) -> None:
    with RunLog(tmp_path, 9, Progress()) as log:
        take(log, 1, 2, 3, lr=0.5)
        log.epoch(1, 3, {})
        take(log, 4)
        take(log, 6, w=2.0)
        log.epoch(2, 6, {"mAP": 0.25, "is_best": True, "box": -1.0})
    first, second = lines(tmp_path / EPOCHS_FILE)
    assert (first["epoch"], first["step"], first["box"], first["lr"]) == (1, 3, 2.0, 0.5)
    assert first["images_per_s"] > 0
    assert first.keys() == {
        *("epoch", "step", "box", "lr", "images_per_s", "data_share", "memory_gib", "seconds"),
    }
    assert (second["epoch"], second["step"], second["mAP"], second["is_best"]) == (2, 6, 0.25, True)
    assert second["w"] == 2  # over the steps that have it
    assert second["box"] == -1  # a finding is no mean
    assert "lr" not in second


def test_the_means_of_an_epoch_survive_a_resumption(tmp_path: Path) -> None:
    with RunLog(tmp_path, 9, Progress()) as log:
        take(log, 1, 2)
        log.epoch(1, 2, {})
        take(log, 3, 4, 5)
    with RunLog(tmp_path, 9, Progress(step=4, n_epochs=1)) as log:
        take(log, 5, 6)
        log.epoch(2, 6, {})
    assert [line["box"] for line in lines(tmp_path / EPOCHS_FILE)] == [1.5, 4.5]
    assert steps(tmp_path / FILE) == [1, 2, 3, 4, 5, 6]


def test_a_session_that_begins_with_an_epoch_takes_no_mean_of_the_one_before(
    tmp_path: Path,
) -> None:
    with RunLog(tmp_path, 9, Progress()) as log:
        take(log, 1, 2)
        log.epoch(1, 2, {})
    with RunLog(tmp_path, 9, Progress(step=2, n_epochs=1)) as log:
        take(log, 4)
        log.epoch(2, 4, {})
    assert [line["box"] for line in lines(tmp_path / EPOCHS_FILE)] == [1.5, 4.0]


def test_an_epoch_without_a_record_has_no_means(tmp_path: Path) -> None:
    with RunLog(tmp_path, 9, Progress()) as log:
        log.epoch(1, 2, {"mAP": 0.5})
    (epoch,) = lines(tmp_path / EPOCHS_FILE)
    assert epoch == {"epoch": 1, "step": 2, "mAP": 0.5, "seconds": epoch["seconds"]}


def test_epochs_are_rows_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 0.0)
    stream = io.StringIO()
    with RunLog(tmp_path, 9, Progress(seconds=3725.0), stream) as log:
        for number, box in ((1, 0.123456), (2, 1e-6), (10, 12345.678)):
            log.epoch(number, number, {"mAP": 0.5, "box": box, "w": 3.0, "grad_rpn": 7.0})
    assert stream.getvalue().splitlines() == [
        "epoch        box        mAP      time",
        "    1     0.1235        0.5   1:02:05",
        "    2      1e-06        0.5   1:02:05",
        "   10  1.235e+04        0.5   1:02:05",
    ]


def test_watchers_are_told_what_is_written(tmp_path: Path) -> None:
    one, other = Notes(), Notes()
    with RunLog(tmp_path, 9, Progress(step=3), watchers=[one, other]) as log:
        take(log, 4, 5)
        log.epoch(1, 5, {"mAP": 0.5})
    written, (epoch,) = lines(tmp_path / FILE), lines(tmp_path / EPOCHS_FILE)
    expected = [("begin", (3, 9)), *(("step", record) for record in written), ("epoch", epoch)]
    assert one.heard == other.heard == expected


def test_a_process_that_is_not_the_first_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with RunLog(None, 9, Progress(step=3, seconds=50.0)) as log:
        take(log, 4, 5)
        log.epoch(1, 5, {"mAP": 0.5})
        log.say("to nobody")
        assert log.seconds >= 50
    assert list(tmp_path.iterdir()) == []


def test_a_continued_log_forgets_the_steps_that_are_taken_again(tmp_path: Path) -> None:
    path = tmp_path / FILE
    with RunLog(tmp_path, 9, Progress()) as log:
        take(log, 1, 2)
        log.epoch(1, 2, {})
        take(log, 3, 4)
        log.epoch(2, 4, {})
    with path.open("a") as file:
        file.write('{"step": 5, "lo')  # killed while it wrote
    with RunLog(tmp_path, 9, Progress(step=3, n_epochs=1, seconds=100.0)) as log:
        assert steps(path) == [1, 2, 3]
        assert steps(tmp_path / EPOCHS_FILE) == [2]
        take(log, 4)
    assert steps(path) == [1, 2, 3, 4]
    assert lines(path)[-1]["seconds"] >= 100
    assert sorted(file.name for file in tmp_path.iterdir()) == [EPOCHS_FILE, FILE]


@pytest.mark.parametrize(
    "torn",
    [
        b'{"step": 3, "lo',
        b'{"step": 3}',  # without its end, there may have been more
        b"\0" * 50,  # what some file systems leave of a line after a power cut
        b"\0" * 50 + b"\n",
        b'{"step": 3, "box": \xff\xfe}\n',
        b"[1, 2]\n",
        b"3\n",
        b"null\n",
        b"{}\n",
        b"\n",
    ],
)
def test_a_line_in_pieces_is_dropped(torn: bytes, tmp_path: Path) -> None:
    with RunLog(tmp_path, 9, Progress()) as log:
        take(log, 1, 2)
    whole = (tmp_path / FILE).read_bytes()
    with (tmp_path / FILE).open("ab") as file:
        file.write(torn)
    with RunLog(tmp_path, 9, Progress(step=9)) as log:
        assert (tmp_path / FILE).read_bytes() == whole
        log.epoch(1, 9, {})
    assert lines(tmp_path / EPOCHS_FILE)[0]["box"] == 1.5


def test_what_comes_after_a_line_in_pieces_is_kept(tmp_path: Path) -> None:
    with RunLog(tmp_path, 9, Progress()) as log:
        take(log, 1, 2)
    first, second = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(b"\0" * 9 + b"\n" + first + b'{"st\n' + second)
    with RunLog(tmp_path, 9, Progress(step=9)):
        assert (tmp_path / FILE).read_bytes() == first + second


def test_a_log_without_a_torn_line_is_not_written_anew(tmp_path: Path) -> None:
    with RunLog(tmp_path, 9, Progress()) as log:
        take(log, 1, 2)
    before = (tmp_path / FILE).stat()
    with RunLog(tmp_path, 9, Progress(step=2)):
        pass
    after = (tmp_path / FILE).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_values_that_left_the_finite_numbers_are_no_json(tmp_path: Path) -> None:
    with RunLog(tmp_path, 9, Progress()) as log:
        take(log, 1, grad_rpn=float("inf"))  # an fp16 step that was left out
    assert steps(tmp_path / FILE) == [1]
    assert "grad_rpn" not in lines(tmp_path / FILE)[0]


def test_the_environment_names_versions_and_machine() -> None:
    found = environment()
    assert found["fdps"] == fdps.__version__
    assert {"commit", "python", "torch", "torchvision", "numpy", "lightning-fabric"} <= set(found)
    assert {"machine", "cores", "threads", "gpu"} <= set(found)
    json.dumps(found)


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts the memory of the GPU")
def test_memory_is_in_gib() -> None:
    held = bytearray(200 << 20)
    held[::1000] = b"x" * len(held[::1000])  # pages count from the first use
    assert 0.19 < peak_memory_gib() < 100
