"""``fdps export`` and ``--runtime``."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fake.photos import write_photos
from fake.systems import write_system
from fdps.cli.main import main

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, pictures and the folder of models."""
    folder = tmp_path_factory.mktemp("place")
    write_system(folder / "tiny.safetensors", system="fdps")
    write_photos(folder / "photos", 2)
    return folder


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("FDPS_MODELS", str(place / "models"))


def told(capsys: Capture, *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.long
def test_an_export_is_written_and_detects_the_same(place: Path, capsys: Capture) -> None:
    report = told(capsys, "export", "tiny.safetensors", "-o", "out", "--parity", "photos")
    assert report["parity"]["holds"] is True
    assert report["parity"]["pictures"] == 2
    assert report["model_hash"] == report["source_hash"]
    ours = told(capsys, "detect", "photos", "--model", "out")
    theirs = told(capsys, "detect", "photos", "--model", "tiny.safetensors")
    assert ours["n_people"] == theirs["n_people"] > 0
    assert ours["model_hash"] == theirs["model_hash"]
    assert told(capsys, "models", "info", "out")["kind"] == "onnx float32"
    assert main(["export", "tiny.safetensors", "-o", "out"]) == 0  # on drawn scenes
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Parity  ")
    assert lines[1] == "Hash    that of the source: its archives may be continued and searched"


@pytest.mark.long
def test_another_runtime_is_kept_and_continues_an_archive(place: Path, capsys: Capture) -> None:
    model = ["--model", "tiny.safetensors", "--quiet"]
    assert main(["index", "photos", "-o", "a.fdps", *model]) == 0
    Image.fromarray(np.full((60, 80, 3), 99, dtype=np.uint8)).save(place / "more.png")
    assert main(["index", "more.png", "-o", "a.fdps", *model, "--runtime", "onnx"]) == 0
    (kept,) = (place / "models/exported").glob("*/onnx/exported.json")
    written = kept.stat().st_mtime_ns
    capsys.readouterr()
    assert told(capsys, "detect", "more.png", *model[:2], "--runtime", "onnx")
    assert kept.stat().st_mtime_ns == written


@pytest.mark.long
def test_the_quickest_runtime_is_named_and_remembered(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fdps.export import choice

    monkeypatch.setattr(choice, "RUNTIMES", {"onnx": ("onnx", "onnxruntime"), "none": ("no_such",)})
    words = ["detect", "photos", "--model", "tiny.safetensors", "--runtime", "auto"]
    assert main(words) == 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("Runtime")]
    assert line.split()[1] in ("onnx", "pytorch")
    assert "onnx " in line
    assert "pytorch " in line
    (file,) = (place / "models/exported").glob("*/choice.json")
    known = json.loads(file.read_text())
    assert "torch" in known["machine"]
    file.write_text(json.dumps(known | {"runtime": "pytorch", "why": "it was said"}))
    assert main(words) == 0
    assert "Runtime pytorch (it was said)" in capsys.readouterr().err
    file.write_text(json.dumps(known | {"machine": "another", "why": "elsewhere"}))
    assert main(words) == 0
    assert "elsewhere" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("export tiny.safetensors -o new --int8", 2, "belong together"),
        ("export tiny.safetensors -o new --calibrate photos", 2, "belong together"),
        ("export tiny.safetensors -o new --int8 --calibrate empty", 3, "empty"),
        ("export tiny.safetensors -o new --format tensorrt", 2, "tensorrt"),
        ("export nothing -o new", 3, "no model nothing"),
        ("export tiny.safetensors -o photos", 2, "is there already"),
        ("detect photos --model two.toml --runtime onnx", 2, "no network of fdps in PyTorch"),
    ],
)
def test_what_makes_no_sense_is_refused(
    place: Path, capsys: Capture, words: str, code: int, message: str
) -> None:
    (place / "empty").mkdir(exist_ok=True)
    (place / "two.toml").write_text('kind = "two_step"', encoding="utf-8")
    assert main(words.split()) == code
    assert message in capsys.readouterr().err
    assert not (place / "new").exists()
