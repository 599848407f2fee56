"""Every way a command can end has its exit code, and only bugs leave a traceback, in a file."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import fdps
from fdps.cli.main import main, run
from fdps.errors import ArchiveError, ConfigError, MissingDataError, ModelError
from fdps.names import printable


def app_that(body: Callable[[], None]) -> typer.Typer:
    """An application with one verb, ``go``."""
    command = typer.Typer(pretty_exceptions_enable=False)
    command.callback()(lambda: None)
    command.command("go")(body)
    return command


def raising(error: BaseException) -> typer.Typer:
    def go() -> None:
        raise error

    return app_that(go)


def test_a_verb_that_returns_is_done() -> None:
    assert run(app_that(lambda: None), ["go"]) == 0


def test_version_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fdps {fdps.__version__}\n"


def test_python_dash_m_is_the_same_program() -> None:
    ended = subprocess.run([sys.executable, "-m", "fdps", "--version"], capture_output=True)
    assert (ended.returncode, ended.stdout.decode()) == (0, f"fdps {fdps.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],  # no such verb
        ["--fast"],  # no such option
        ["go", "--fast"],
        ["go", "now"],  # too many arguments
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app_that(lambda: None), arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "Usage: fdps" in err


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("unknown key train.lrr", hint="did you mean train.lr?"),
        MissingDataError("no folder prw", hint="first line\nsecond line"),
        ModelError("weights.pth is a pickle"),
        ArchiveError("built with another model"),
    ],
)
def test_a_mistake_of_the_user_is_one_line_and_its_code(
    error: fdps.FdpsError, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(error), ["go"]) == error.exit_code
    out, err = capsys.readouterr()
    hint = [f"  {line}" for line in error.hint.splitlines()]
    assert (out, err.splitlines()) == ("", [f"error: {error}", *hint])


def test_names_in_a_message_leave_the_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(MissingDataError("no a\x1b[2Jb\rc", hint="first\n\x07d")), ["go"]) == 3
    assert capsys.readouterr().err == "error: no a\\x1b[2Jb\\rc\n  first\n  \\x07d\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/a"), "No space left"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "denied: /root/x"),
        (MemoryError(), "out of memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA: 3 GiB"), "CUDA: 3 GiB"),
    ],
)
def test_what_the_machine_refuses_is_7(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(error), ["go"]) == 7
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("interruption", "code"),
    [
        (KeyboardInterrupt(), 130),
        (KeyboardInterrupt(signal.SIGINT), 130),
        (KeyboardInterrupt(signal.SIGTERM), 143),
    ],
)
def test_an_interrupted_verb_tells_the_signal(interruption: BaseException, code: int) -> None:
    assert run(raising(interruption), ["go"]) == code


def test_a_verb_chooses_its_own_code() -> None:
    assert run(raising(typer.Exit(4)), ["go"]) == 4


def test_a_bug_is_1_and_its_traceback_is_in_the_named_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(raising(ZeroDivisionError("by 0")), ["go"]) == 1
    err = capsys.readouterr().err
    (report,) = tmp_path.iterdir()
    assert str(report) in err
    assert "unexpected ZeroDivisionError: by 0" in err
    assert "Traceback" not in err
    assert "Traceback" in report.read_text()
    assert "fdps go" in report.read_text()


def test_a_place_where_nothing_can_be_made_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/x.json")
    assert run(raising(missing), ["go"]) == 7
    assert capsys.readouterr().err.startswith("error: No such file or directory: /proc/x.json\n")


def test_a_bug_without_a_place_for_its_report_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert run(raising(ZeroDivisionError("by 0")), ["go"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_verbose_shows_where_an_error_happened() -> None:
    code = "import sys; from fdps.cli import main; from fdps.errors import DataError\n"
    code += "def go(): raise DataError('no pictures')\n"
    code += "main.app.command('go')(go); sys.exit(main.main())"
    ended = subprocess.run([sys.executable, "-c", code, "-v", "go"], capture_output=True, text=True)
    assert ended.returncode == 3
    assert "Traceback" in ended.stderr
    assert ended.stderr.endswith("error: no pictures\n")


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m fdps --help | true; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (ended.stdout.strip() in {"0", "1"}, ended.stderr) == (True, "")


HARD = "m\u00fcller \u00d7 \udcff"
"""A letter that ASCII lacks, a sign that Latin-1 has, and a byte of a name that is not UTF-8."""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
@pytest.mark.parametrize("end", ["return", "error", "bug", "usage"])
def test_every_text_is_printed_in_every_encoding(encoding: str, end: str, tmp_path: Path) -> None:
    ends = {
        "return": "print(name)",
        "error": "raise DataError(f'no {name}', hint=name)",
        "bug": "raise ZeroDivisionError(name)",
        "usage": "raise typer.BadParameter(name)",
    }
    code = f"""
import sys, typer
from fdps.cli import main
from fdps.errors import DataError
def go(name: str):
    {ends[end]}
main.app.command('go')(go)
sys.exit(main.main())"""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", code, "go", os.fsencode(HARD)], capture_output=True, env=environment
    )
    assert ended.returncode == {"return": 0, "error": 3, "bug": 1, "usage": 2}[end]
    assert b"Traceback" not in ended.stderr
    if end == "return":
        assert HARD.encode(encoding, errors="backslashreplace") in ended.stdout
    elif end != "usage":  # click prints these, in an encoding that it chooses
        assert printable(HARD).encode(encoding, errors="backslashreplace") in ended.stderr
    for report in tmp_path.iterdir():
        assert "m\u00fcller" in report.read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("arguments", "code"), [("--version", 0), ("--help", 0), ("models info none", 3), ("fly", 2)]
)
def test_streams_that_are_closed_change_no_exit_code(
    closed: str, arguments: str, code: int, tmp_path: Path
) -> None:
    command = f"{sys.executable} -m fdps {arguments} {closed}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """A file that got number 1 would be filled with what a library prints."""
    code = f"""
import os, sys
from fdps.cli import main
def go():
    with open({str(tmp_path / "kept")!r}, "w") as file:
        os.write(1, b"noise"), os.write(2, b"noise")
        file.write("mine")
main.app.command('go')(go)
sys.exit(main.main())"""
    command = f"{sys.executable} -c '{code.replace(chr(39), chr(34))}' go >&- 2>&-"
    assert subprocess.run(["bash", "-c", command]).returncode == 0
    assert (tmp_path / "kept").read_text() == "mine"


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("stream", "code"), [("stdout", 7), ("stderr", 0)])
def test_a_stream_that_takes_nothing_is_no_bug(stream: str, code: int) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "fdps", "models", "list"],
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: full},
        )
    assert ended.returncode == code
    if stream == "stdout":
        assert ended.stderr.startswith("error: No space left on device")


def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    """More lines than a pipe holds: the verb is still printing when nobody reads any more."""
    code = "import sys; from fdps.cli import main\n"
    code += "def go():\n    for n in range(100_000): print('line', n)\n"
    code += "main.app.command('go')(go); sys.exit(main.main())"
    command = f'{sys.executable} -c "{code}" go | head -1; echo ${{PIPESTATUS[0]}}'
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("line 0\n1\n", "")


VERBS = [
    "doctor",
    "demo",
    "train",
    "resume",
    "predict",
    "evaluate",
    "compare",
    "reproduce",
    "detect",
    "index",
    "search",
    "serve",
    "export",
    "bench",
    "data",
    "archive",
    "models",
]


def test_help_lists_every_verb_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed if line.strip()] == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"Usage: fdps {verb}" in capsys.readouterr().out
