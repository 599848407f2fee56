"""Without the extras: a verb that needs one says which, before it does anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from fake.network import write_network
from fake.photos import write_photos

CODE = """
import sys
blocked, *words = sys.argv[1:]
sys.modules |= dict.fromkeys(blocked.split(","))  # as if they were not installed
from fdps.cli.main import main
sys.exit(main(words))
"""
CARD = """kind = "two_step"
[detector]
file = "detector.onnx"
[reid]
file = "reid.onnx"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 1)
    write_network(tmp_path / "weights.safetensors", n_people=1)
    (tmp_path / "two.toml").write_text(CARD)
    for name in ("detector.onnx", "reid.onnx"):
        (tmp_path / name).touch()
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize(
    ("extra", "blocked", "code", "words"),
    [
        ("runtime", "onnxruntime", 2, "detect photos --model two.toml"),
        ("runtime", "onnxruntime", 2, "index photos -o new.fdps --model two.toml"),
        ("runtime", "onnxruntime", 2, "models verify two.toml"),
        ("export", "onnx", 2, "export weights.safetensors -o new"),
        ("ray", "ray", 2, "index photos -o new.fdps --model weights.safetensors --ray local"),
        ("postgres", "psycopg", 2, "archive info postgresql://localhost:1/new"),
        ("postgres", "psycopg", 2, "search postgresql://localhost:1/new --item 1"),
        (
            "postgres",
            "psycopg",
            2,
            "index photos -o postgresql://localhost:1/new --model weights.safetensors",
        ),
        ("serve", "fastapi", 2, "serve event.fdps"),
        ("serve", "argon2", 2, "serve --add-user anna --users users.toml"),
        ("video", "av", 3, "detect clips --model weights.safetensors"),
        ("heic", "pillow_heif", 3, "detect phone --model weights.safetensors"),
    ],
)
def test_a_missing_extra_is_named_and_nothing_is_begun(
    extra: str, blocked: str, code: int, words: str, folder: Path
) -> None:
    before = sorted(folder.rglob("*"))
    command = [sys.executable, "-c", CODE, blocked, *words.split()]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    assert f"pip install 'fdps[{extra}]'" in ended.stderr
    assert ended.stdout == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "models list",
        "models info drawn-people",
        "detect photos --model weights.safetensors --quiet",
        "index photos -o new.fdps --model weights.safetensors --quiet",
    ],
)
def test_verbs_run_without_any_extra(words: str, folder: Path) -> None:
    blocked = "simplejpeg,av,pillow_heif,tensorboard,onnxruntime,psycopg,ray"
    command = [sys.executable, "-c", CODE, blocked, *words.split()]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
