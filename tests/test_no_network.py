"""Nothing leaves the machine: no telemetry, no look for updates, no download behind one's back."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fake.network import write_network
from fake.photos import write_photos
from fake.videos import people_frames, write_video

COMMANDS = (
    "index in -o a.fdps --model weights.safetensors --quiet",
    "index in -o a.fdps --quiet",
    "search a.fdps --query in/000.png --person 1 --json",
    "search a.fdps --item 1 --appearances --save case --json",
    "archive info a.fdps",
    "archive verify a.fdps",
    "archive forget a.fdps --item 1 --yes --reason test -o gone",
    "archive compact a.fdps",
    "archive audit a.fdps",
    "detect in --model weights.safetensors --every 1s --quiet",
    "models list",
    "models list --available",
    "models info drawn-people",
    "models verify drawn-people",
    "models verify weights.safetensors",
)
"""What practitioners run, in a folder of pictures and a video."""
CODE = """
import sys
from fdps.cli.main import main
for command in sys.argv[1:]:
    status = main(command.split())
    assert status == 0, f"fdps {command} ended with {status}"
"""
CALL = """
import socket
for family, address in ((socket.AF_INET, "192.0.2.7"), (socket.AF_INET6, "2001:db8::1")):
    with socket.socket(family, socket.SOCK_DGRAM) as call:
        call.connect_ex((address, 53))
"""
CLIENTS = re.compile(
    r"^\s*(?:from|import) (?:urllib\.request|http\.client|httpx|requests|urllib3|aiohttp|ftplib)\b",
    re.M,
)
"""What asks a server for a file."""
SOURCE = Path(__file__).resolve().parents[1] / "src" / "fdps"
ADDRESS = re.compile(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
HERE = re.compile(r"127\..*|::1|::ffff:127\..*")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_photos(tmp_path / "in", 2)
    write_video(tmp_path / "in/clip.mp4", people_frames(12))
    write_network(tmp_path / "weights.safetensors", n_people=2)
    return tmp_path


def run(folder: Path, *prefix: str, code: str = CODE) -> "subprocess.CompletedProcess[str]":
    command = [*prefix, sys.executable, "-c", code, *COMMANDS]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def strangers(trace: str) -> set[str]:
    """Addresses of other machines in a trace of system calls."""
    return {found for found in ADDRESS.findall(trace) if not HERE.fullmatch(found)}


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_no_command_speaks_to_another_machine(folder: Path) -> None:
    trace = folder / "trace.txt"
    tracer = ("strace", "-f", "--seccomp-bpf", "-o", str(trace), "-e", "trace=%network")
    done = run(folder, *tracer)
    assert done.returncode == 0, done.stderr
    assert "exited with 0" in trace.read_text()
    assert strangers(trace.read_text()) == set()
    assert run(folder, *tracer, code=CALL).returncode == 0
    assert strangers(trace.read_text()) == {"192.0.2.7", "2001:db8::1"}, "it would not be seen"


def test_one_module_asks_servers_and_one_verb_uses_it() -> None:
    """``fdps models download``; everything else works on a machine without a network."""
    texts = {
        str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8")
        for path in SOURCE.rglob("*.py")
    }
    assert [name for name, text in texts.items() if CLIENTS.search(text)] == [
        "downloads/transfer.py"
    ]
    fetching = re.compile(
        r"from fdps\.downloads\.(?:transfer|install) import .*\b(?:fetch|install)\b"
    )
    users = {name for name, text in texts.items() if fetching.search(text)}
    assert users == {"downloads/install.py", "cli/models/download.py"}
