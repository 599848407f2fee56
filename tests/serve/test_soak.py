"""SIGKILL at random moments: the script that also kills fifty times."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "soak_serving.py"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_server_that_is_killed_twenty_times_has_lost_nothing_that_it_acknowledged() -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "20"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads(ended.stdout)
    assert (figures["kills"], figures["faults"]) == (20, [])
    # Nobody is killed before somebody was heard, so on no machine is a kill about nothing.
    assert figures["least_between_kills"] >= 1
    assert figures["jobs"] > 0
