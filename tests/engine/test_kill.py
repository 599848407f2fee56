"""SIGKILL at random moments: the script that also kills two hundred times."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "soak_training.py"


@pytest.mark.slow
def test_a_run_that_is_killed_twenty_times_ends_as_if_nothing_had_been() -> None:
    # A process of its own, since one that has trained cannot be forked.
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "20", "--seed", "1"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert figures["kills"] == 20
    assert figures["runs"] < 20  # several kills in one run
    assert (figures["unreadable"], figures["differing"]) == (0, 0)
    assert figures["lost_steps"] <= 2
