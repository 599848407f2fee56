"""``fdps reproduce``: what it refuses, what it tells before it begins, what it writes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fake.reproduced import TINY, tiny_bench
from fdps.cli.main import main


def words(folder: Path, *more: str) -> list[str]:
    changed = [word for setting in TINY for word in ("--set", setting)]
    out = ["-o", str(folder / "out"), "--root", str(folder / "scenes"), "--data", "folder"]
    return ["reproduce", *more, *out, *changed]


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (["table9", "--data", "synthetic-small"], 2, "known: table1, table2"),
        (["table1"], 2, "which data?"),
        (["table1", "--data", "prw"], 2, "needs the folder"),
        (["table1", "--data", "prw", "--root", "nowhere"], 3, "no data at nowhere"),
        (["table1", "--data", "nonsense"], 2, "--data 'nonsense' is not known"),
        (["table1", "--data", "synthetic-small", "--seeds", "0"], 2, "--seeds must be at least 1"),
        (["fig3", "--jobs", "0"], 2, "--jobs must be at least 1"),
        (["fig3", "--budget", "huge"], 2, "--budget must be small or paper"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    given: list[str],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *given, "-q"]) == code
    assert told in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.long
def test_fig_3_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "fig3", "-o", str(tmp_path / "f"), "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"page": str(tmp_path / "f" / "index.html"), "n_runs": 0, "problems": []}
    names = {path.name for path in (tmp_path / "f").iterdir()}
    figures = {f"fig3{letter}.{suffix}" for letter in "ab" for suffix in ("svg", "png")}
    assert names == figures | {"index.html", "figures.json"}


@pytest.mark.slow
def test_a_dry_run_tells_the_cost_and_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_bench(tmp_path)
    given = words(tmp_path, "table2", "--seeds", "2", "--dry-run", "--json", "-q")
    assert main(given) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_runs"], found["n_finished"], found["n_begun"]) == (8, 0, 0)
    assert found["hours"] > 0 < found["gib"]
    assert found["measured"] == {"three steps each": 4}
    assert not (tmp_path / "out" / "runs").exists()
    # The second time nothing is tried, and nothing has changed.
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_table_from_nothing_to_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_bench(tmp_path)
    assert main(words(tmp_path, "table2", "--seeds", "1", "-q")) == 0
    assert "index.html" in capsys.readouterr().out
    assert (tmp_path / "out" / "table2.tex").is_file()
    assert main(words(tmp_path, "table2", "--seeds", "1", "--dry-run")) == 0
    assert "4 finished" in capsys.readouterr().out


@pytest.mark.long
def test_without_scikit_learn_fig_4_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from fdps.cli.main import main\n"
        "sys.exit(main(['reproduce', 'all', '--data', 'synthetic-small', '-q']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "pip install 'fdps[reproduce]'" in ended.stderr
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_whose_parent_is_killed_keeps_its_last_step(tmp_path: Path) -> None:
    tiny_bench(tmp_path)
    given = words(tmp_path, "table1", "--seeds", "1", "-q", "--set", "train.epochs=40")
    parent = subprocess.Popen(
        [sys.executable, "-m", "fdps", *given], stderr=subprocess.PIPE, text=True
    )
    runs = tmp_path / "out" / "runs"
    while not (logs := [*runs.glob("*/log.jsonl")]) or len(steps_of(logs[0])) < 3:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    _, told = parent.communicate()  # until the run is gone as well, which has the same stderr
    assert "Traceback" not in told
    (kept,) = (path for path in runs.glob("*/ckpt/e*") if path.is_dir())
    assert int(kept.name.rpartition("s")[2]) == steps_of(logs[0])[-1]


def steps_of(log: Path) -> list[int]:
    whole = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line)["step"] for line in whole]
