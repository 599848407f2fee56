"""``fdps serve``: what it prints, whom it lets in, what it refuses, how it ends."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fake.commands import ELSEWHERE
from fake.served import write_archive
from fdps.cli.main import main

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("served"), n_scenes=2)


def get(address: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(archive: Path, number: signal.Signals) -> None:
    token = "k" * 40
    environment = os.environ | {"FDPS_SERVE_TOKEN": token}
    command = [*ELSEWHERE, "serve", str(archive), "--port", "0", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        base = f"http://127.0.0.1:{told['port']}"
        assert told["address"] == f"{base}/?token={token}"
        assert told["local"] is True
        assert get(f"{base}/healthz") == (200, '{"status":"ok"}')
        assert get(f"{base}/api/v1/archives")[0] == 401
        code, text = get(f"{base}/api/v1/archives", Authorization=f"Bearer {token}")
        (one,) = json.loads(text)
        assert (code, one["id"], one["n_scenes"]) == (200, "event", 2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (128 + number, -number)
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "no archive to serve"),
        (("nothing.fdps",), 3, "no archive at nothing.fdps"),
        (("ARCHIVE", "--host", "0.0.0.0"), 2, "opens the archives to other machines"),
        (("ARCHIVE", "--cert", "no.pem", "--key", "no.pem"), 3, "there is no file no.pem"),
        (("ARCHIVE", "--root", "x"), 2, "a root is NAME=DIR"),
        (("ARCHIVE", "--root", "x=nothing"), 3, "there is no folder nothing"),
        (("ARCHIVE", "ARCHIVE"), 2, "named twice"),
        (("ARCHIVE", "--users", "no.toml"), 3, "no users at no.toml"),
        (("--add-user", "anna"), 2, "needs the file of users"),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_listens(
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(archive) if word == "ARCHIVE" else word for word in words]
    assert main(["serve", "--port", "0", *given]) == code
    assert message in capsys.readouterr().err


def test_a_short_token_is_refused(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FDPS_SERVE_TOKEN", "secret")
    assert main(["serve", str(archive)]) == 2
    said = capsys.readouterr().err
    assert "has 6 letters" in said
    assert "secret" not in said


@pytest.mark.long
def test_users_are_added_with_a_password_that_is_read(tmp_path: Path) -> None:
    users = tmp_path / "users.toml"
    command = [*ELSEWHERE, "serve", "--add-user", "anna", "--role", "editor", "--users", str(users)]
    ended = subprocess.run(command, input=f"{PASSWORD}\n", capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "anna is editor" in ended.stdout
    assert PASSWORD not in users.read_text()
    ended = subprocess.run(command, input="short\n", capture_output=True, text=True)
    assert (ended.returncode, "at least 12 letters" in ended.stderr) == (2, True)


def test_a_port_that_is_taken_is_named(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fdps.serve.server import listen

    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(archive), "--port", str(port)]) == 7
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
