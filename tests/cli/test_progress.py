"""Signs of life: at once before a slow import, soon for slow work, never for quick work."""

import json
import os
import pty
import select
import subprocess
import sys
import threading
import time

import pytest

from fdps.cli.progress import progress_bar, progress_lines, working

HALF_A_SECOND = 0.5


def test_quick_work_shows_nothing(capsys):
    with working("Loading the model"):
        pass
    assert capsys.readouterr() == ("", "")


def test_slow_work_is_named_once_on_stderr(capsys):
    with working("Loading the model"):
        time.sleep(0.5)
    assert capsys.readouterr() == ("", "Loading the model\n")


def test_hidden_work_shows_nothing_however_slow(capsys):
    with working("Loading the model", hidden=True):
        time.sleep(0.4)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_passes_through_and_leaves_nothing_behind(error):
    finders, threads = list(sys.meta_path), threading.active_count()
    with pytest.raises(error), working("Loading the model"):
        raise error
    assert sys.meta_path == finders
    assert threading.active_count() == threads


def test_an_import_that_blocks_all_threads_is_announced_before_it_begins(tmp_path):
    """A stand-in for torch waits for its reader: it can only go on if the text came first."""
    (tmp_path / "torch.py").write_text("import sys; assert sys.stdin.readline() == 'seen\\n'")
    code = "from fdps.cli.progress import working\nwith working('Loading torch'): import torch"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{_source()}"}
    with subprocess.Popen(
        [sys.executable, "-c", f"import sys\nsys.setswitchinterval(60)\n{code}"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as program:
        assert program.stderr.readline() == "Loading torch\n"
        _, rest = program.communicate("seen\n", timeout=30)
    assert program.returncode == 0
    assert rest == ""


def test_torch_itself_is_announced_within_half_a_second():
    """Counted from the moment at which the program says that it starts to work."""
    code = (
        "from fdps.cli.progress import working\nprint('start', flush=True)\n"
        "with working('Loading torch'): import torch"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "start\n"
        ready, _, _ = select.select([program.stderr], [], [], HALF_A_SECOND)
        assert ready
        assert program.stderr.readline() == "Loading torch\n"
        program.kill()


def test_a_terminal_gets_a_spinner_that_is_wiped_away():
    controller, terminal = pty.openpty()
    code = (
        "import time\nfrom fdps.cli.progress import working\n"
        "with working('Loading the model'): time.sleep(0.6)"
    )
    subprocess.run([sys.executable, "-c", code], stderr=terminal, check=True)
    os.close(terminal)
    shown = os.read(controller, 10_000).decode()
    os.close(controller)
    assert shown.startswith("\r| Loading the model\r")
    assert "\r/ Loading the model" in shown
    assert shown.endswith("\r\033[K")


def test_a_stderr_that_is_closed_or_missing_ends_no_work():
    code = (
        "import sys, time\nfrom fdps.cli.progress import working\n"
        "for close in (sys.stderr.close, lambda: setattr(sys, 'stderr', None)):\n"
        "    close()\n    with working('Loading'): time.sleep(0.3)\n"
        "print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"


def test_a_bar_shows_its_title_as_it_stands(capsys):
    with progress_bar("Index [red]hall", hidden=False) as progress:
        progress(1, 2)
    assert "Index [red]hall" in capsys.readouterr().err


def _source() -> str:
    import fdps

    return os.path.dirname(os.path.dirname(fdps.__file__))  # noqa: PTH120 - as PYTHONPATH wants it


def test_lines_for_programs_say_the_last_state_and_come_seldom(capsys):
    with progress_lines(lambda: 7) as tell:
        for done in range(1, 101):
            tell(done, 100)
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.err.splitlines()]
    assert printed.out == ""
    assert lines[0] == {"done": 1, "total": 100, "people": 7}
    assert lines[-1] == {"done": 100, "total": 100, "people": 7}
    assert len(lines) < 20


def test_work_that_tells_nothing_writes_no_line(capsys):
    with progress_lines(lambda: 7):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_has_gone_ends_the_work():
    code = (
        "from fdps.cli.progress import progress_lines\n"
        "with progress_lines(lambda: 1) as tell:\n"
        "    while True:\n"
        "        tell(1, 2)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()
    process.stderr.close()
    assert process.wait(60) != 0
