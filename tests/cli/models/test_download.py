"""``fdps models download``: from a server on this machine to an archive, by name."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake.file_server import Files, once, serve, status, until, write_certificate
from fake.photos import write_photos
from fake.public_models import CONTENT, list_text
from fdps.bundled import NAMES
from fdps.cli.main import main
from fdps.downloads import catalogue

Capture = pytest.CaptureFixture[str]

HALF_A_SECOND = 0.5
CODE = """
import sys
from pathlib import Path
from fdps.cli.main import main
from fdps.downloads import catalogue
catalogue.CATALOGUE = Path(sys.argv[1])
print("started", file=sys.stderr, flush=True)
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate of the server, and is not installed")
    return write_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models, which is not there yet."""
    for name in ("FDPS_ALLOWED_LICENSES", "FDPS_MIRROR", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FDPS_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture
def server(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Files]:
    """A server of one model, and the list that names it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    with serve(dict(CONTENT), certificate) as files:
        (tmp_path / "list.toml").write_text(list_text(files.address))
        monkeypatch.setattr(catalogue, "CATALOGUE", tmp_path / "list.toml")
        yield files


def found(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def started(*words: str, stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    """The command in a process of its own, with the list of the test."""
    command = [sys.executable, "-c", CODE, "list.toml", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)


def test_a_model_is_brought_and_told(server: Files, folder: Path, capsys: Capture) -> None:
    assert main(["models", "download", "small-people"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "Brought detector.onnx, reid.onnx",
        "Licence Apache-2.0 AND MIT; training data detector: unknown; re-ID: CC-BY-4.0",
        f"Wrote   {folder}/small-people/card.toml",
    ]
    assert lines[-1] == "Next    fdps index FOLDER -o NAME.fdps --model small-people"
    assert main(["models", "download", "small-people"]) == 0
    assert capsys.readouterr().out.startswith("Here    all files are here and whole\n")
    assert main(["models", "list"]) == 0
    assert "small-people" in capsys.readouterr().out


def test_json(server: Files, folder: Path, capsys: Capture) -> None:
    assert main(["models", "download", "small-people", "--json"]) == 0
    result = found(capsys)
    assert result["brought"] == ["detector.onnx", "reid.onnx"]
    assert (result["bytes"], result["licence"]) == (250_000, "Apache-2.0 AND MIT")
    assert result["place"] == str(folder / "small-people/card.toml")
    assert [file["data_licence"] for file in result["files"]] == ["unknown", "CC-BY-4.0"]


def test_what_can_be_brought(server: Files, capsys: Capture) -> None:
    assert main(["models", "list", "--available"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "MB", "here", "licence", "training", "data"]
    assert row.split()[:3] == ["small-people", "0.2", "no"]
    assert main(["models", "list", "--available", "--json"]) == 0
    (model,) = found(capsys)["available"]
    assert (model["installed"], model["files"][0]["size"]) == (False, 200_000)
    assert main(["models", "download", "small-people", "-q"]) == 0
    capsys.readouterr()
    assert main(["models", "list", "--available"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[2] == "yes"
    assert {path for path, _ in server.asked} == set(CONTENT)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["small-peple"], 2, "did you mean small-people?"),
        (["../small-people"], 2, "no public model '../small-people'"),
        (["small-people", "--from", "nowhere"], 3, "no file or folder at nowhere"),
        (["small-people", "--from", "list.toml"], 5, "is no file of small-people"),
        (["small-people"], 7, "it answered 404"),
    ],
)
def test_faults_are_told_in_a_line(
    words: list[str], code: int, message: str, server: Files, folder: Path, capsys: Capture
) -> None:
    server.answers["/detector.onnx"] = status(404)
    assert main(["models", "download", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_licence_that_is_not_allowed(
    server: Files, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("FDPS_ALLOWED_LICENSES", "Apache-2.0")
    assert main(["models", "download", "small-people"]) == 5
    assert "is not allowed here" in capsys.readouterr().err
    assert server.asked == []


@pytest.mark.long
def test_progress_is_seen_within_half_a_second(server: Files) -> None:
    """Counted from the moment at which it asks a server, which says nothing for long."""
    gate = threading.Event()
    server.answers["/detector.onnx"] = until(gate, 0)
    try:
        with started("models", "download", "small-people") as program:
            assert program.stderr is not None
            assert program.stderr.readline() == "started\n"
            begin = time.monotonic()
            while not server.asked and time.monotonic() - begin < 30:
                time.sleep(0.01)
            ready, _, _ = select.select([program.stderr], [], [], HALF_A_SECOND)
            assert ready
            assert program.stderr.readline() == "Bringing small-people\n"
            gate.set()
            assert program.wait(30) == 0
    finally:
        gate.set()


@pytest.mark.long
def test_a_terminal_sees_how_much_has_come(server: Files) -> None:
    gate = threading.Event()
    server.answers["/detector.onnx"] = until(gate, 100_000)
    controller, terminal = pty.openpty()
    shown = ""
    try:
        with started("models", "download", "small-people", stderr=terminal) as program:
            os.close(terminal)
            begin = time.monotonic()
            while "100.0/250.0 kB" not in shown and time.monotonic() - begin < 20:
                if select.select([controller], [], [], 1)[0]:
                    shown += os.read(controller, 10_000).decode()
            gate.set()
            while select.select([controller], [], [], 2)[0]:
                try:
                    shown += os.read(controller, 10_000).decode()
                except OSError:  # the other end is closed
                    break
            assert program.wait(30) == 0
    finally:
        gate.set()
        os.close(controller)
    assert "Bringing small-people" in shown
    assert "100.0/250.0 kB" in shown


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_download_that_is_stopped_goes_on_where_it_ended(
    number: signal.Signals, server: Files, folder: Path, capsys: Capture
) -> None:
    gate = threading.Event()
    server.answers["/detector.onnx"] = once(until(gate, 100_000))
    aside = folder / ".small-people.part"
    try:
        with started("models", "download", "small-people", "-q") as program:
            begin = time.monotonic()
            while sum(path.stat().st_size for path in aside.glob("*")) < 100_000:
                assert time.monotonic() - begin < 30
                time.sleep(0.02)
            program.send_signal(number)
            _, err = program.communicate(timeout=30)
    finally:
        gate.set()
    assert program.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in err
    assert ("the same command goes on" in err) == (number == signal.SIGINT)
    assert [path.name for path in folder.iterdir()] == [aside.name]
    assert main(["models", "list", "--json"]) == 0
    assert [model["name"] for model in found(capsys)["models"]] == [*NAMES]
    server.asked.clear()
    assert main(["models", "download", "small-people"]) == 0
    assert server.asked == [("/detector.onnx", "bytes=100000-"), ("/reid.onnx", None)]
    assert (folder / "small-people/detector.onnx").read_bytes() == CONTENT["/detector.onnx"]


@pytest.fixture
def mirror(
    shared_data: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Files]:
    """A mirror of real networks under the names of the list that ships with fdps."""
    pytest.importorskip("onnxruntime")
    real = {
        "/yolox_nano.onnx": "yolox_nano.onnx",
        "/person-reidentification-retail-0248.onnx": "person_reid_retail_0248.onnx",
    }
    content = {path: (shared_data / "models" / name).read_bytes() for path, name in real.items()}
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    with serve(content, certificate) as files:
        monkeypatch.setenv("FDPS_MIRROR", files.address)
        yield files


@pytest.mark.long
def test_the_list_of_fdps_brings_networks_that_index_by_name(
    mirror: Files, shared_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    name = "yolox-nano-retail-0248"
    assert main(["models", "download", name]) == 0
    assert main(["models", "verify", name]) == 0
    capsys.readouterr()
    assert main(["models", "info", name]) == 0
    assert "\nTerms   detector: pictures under Flickr terms" in capsys.readouterr().out
    (tmp_path / "frames").mkdir()
    for frame in sorted((shared_data / "prw_c6/frames").iterdir())[:2]:
        shutil.copy(frame, tmp_path / "frames")
    assert main(["index", "frames", "-o", "a.fdps", "--model", name, "-q"]) == 0
    capsys.readouterr()
    assert main(["search", "a.fdps", "--item", "1", "--json"]) == 0
    assert found(capsys)["hits"]


def test_a_folder_of_real_networks_is_taken_by_hand(
    shared_data: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Single files have other names there, and are known by their hashes."""
    models = shared_data / "models"
    files = [models / "yolox_nano.onnx", models / "person_reid_retail_0248.onnx"]
    words = [word for file in files for word in ("--from", str(file))]
    name = "yolox-nano-retail-0248"
    assert main(["models", "download", name, *words, "--json"]) == 0
    assert found(capsys)["brought"] == [files[0].name, "person-reidentification-retail-0248.onnx"]
    assert main(["models", "download", name, "--from", str(models), "--force"]) == 0
    capsys.readouterr()
    wrong = ["--from", str(models / "mobilenet_v2_imagenet.safetensors")]
    shutil.rmtree(folder)
    write_photos(tmp_path / "photos", 1)
    assert main(["models", "download", name, *wrong]) == 5
    assert main(["index", "photos", "-o", "a.fdps", "--model", name]) == 3
