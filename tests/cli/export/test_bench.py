"""``fdps bench``: its fields, its refusals, and how it is interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fake.photos import write_photos
from fake.public_code import write_seqnet
from fake.systems import write_system
from fdps.cli.main import main

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Capture = pytest.CaptureFixture[str]
STAGES = {"decode", "picture", "trunk", "proposals", "regions", "rest"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, pictures, the folder of models and code of others."""
    folder = tmp_path_factory.mktemp("place")
    write_system(folder / "tiny.safetensors", system="fdps")
    write_photos(folder / "photos", 2)
    (folder / "empty").mkdir()
    write_seqnet(folder / "code")
    return folder


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("FDPS_MODELS", str(place / "models"))


@pytest.mark.slow
def test_every_runtime_and_the_code_of_others_are_measured_side_by_side(
    place: Path, capfd: Capture
) -> None:
    words = "bench tiny.safetensors --pictures photos --runtime pytorch --runtime onnx --threads 1"
    assert main([*words.split(), "--against", "code", "--plot", "plot.svg", "--json"]) == 0
    found: Any = json.loads(capfd.readouterr().out)  # what that code prints is not there
    assert [*found["rows"]] == [
        *("tiny.safetensors, pytorch", "tiny.safetensors, onnx"),
        "code, public code of SeqNet",
    ]
    assert found["left_out"] == {}
    assert (found["threads"], found["n_pictures"], found["rounds"]) == (1, 2, 1)
    assert found["peak_flops"] > 1e8
    for row in found["rows"].values():
        assert {*row["stages"]} == STAGES
        assert 0 < row["p50_s"] <= row["p95_s"]
        assert row["stages"]["trunk"]["flops"] > 0
        assert row["flops"] == pytest.approx(sum(s["flops"] for s in row["stages"].values()))
        assert row["stages"]["decode"]["seconds"] > 0
        assert row["people"] > 0
    ours, theirs, _ = found["rows"].values()
    assert ours["times_first"] == 1
    assert ours["people"] == theirs["people"]
    assert ours["stages"]["trunk"]["flops"] == theirs["stages"]["trunk"]["flops"]
    assert theirs["peak_memory_mib"] < ours["peak_memory_mib"]  # it needs no torch
    assert "public code of SeqNet" in (place / "plot.svg").read_text()


@pytest.mark.long
def test_drawn_scenes_and_a_table_without_options(capsys: Capture) -> None:
    words = ["--most", "1", "--threads", "1", "--runtime", "pytorch"]
    assert main(["bench", "tiny.safetensors", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["model", "per", "s"]
    assert lines[1].split()[:2] == ["tiny.safetensors,", "pytorch"]
    assert lines[-1].startswith("Peak ")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("bench tiny.safetensors --pictures empty", 3, "no pictures found in empty"),
        ("bench tiny.safetensors --pictures nowhere", 3, "nowhere"),
        ("bench tiny.safetensors --runtime tensorrt", 2, "no runtime 'tensorrt'"),
        ("bench never-exported", 3, "no model never-exported"),
        ("bench photos", 3, "--pictures"),
        ("bench tiny.safetensors --plot plot.bmp", 2, "a plot is an SVG"),
        ("bench tiny.safetensors --against-system SeqNet", 2, "--against"),
        ("bench tiny.safetensors --against photos", 2, "not laid out as the public code"),
        ("bench tiny.safetensors --against nowhere", 3, "no folder nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused(
    capsys: Capture, words: str, code: int, message: str
) -> None:
    assert main(words.split()) == code
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_code_of_others_that_fails_is_named(tmp_path: Path, capsys: Capture) -> None:
    broken = write_seqnet(tmp_path / "broken", ("import torch\n", "import no_such_package\n"))
    words = ["bench", "tiny.safetensors", "--runtime", "pytorch", "--pictures", "photos"]
    assert main([*words, "--against", str(broken)]) == 5
    told = capsys.readouterr().err
    assert "broken/models/seqnet.py, line 2: ModuleNotFoundError" in told
    assert "install what that code needs" in told


@pytest.mark.slow
def test_an_interruption_ends_every_process(place: Path, tmp_path: Path) -> None:
    waiting = write_seqnet(
        tmp_path / "waiting",
        (
            "import torch\n",
            f"import time, os\nopen({str(tmp_path / 'pid')!r}, 'w').write("
            "str(os.getpid()))\ntime.sleep(3600)\nimport torch\n",
        ),
    )
    words = ["bench", "tiny.safetensors", "--runtime", "pytorch", "--pictures", "photos"]
    command = [sys.executable, "-m", "fdps", *words, "--quiet", "--against", str(waiting)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=place) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 128 + signal.SIGINT
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    child = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
